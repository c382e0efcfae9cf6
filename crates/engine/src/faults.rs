//! Faults of keepers on purpose, on the same clock as those of the store: see [`claviger_store::faults`].
//!
//! Put a [`KeeperFaults`] into [`Options::keeper_faults`](crate::Options::keeper_faults), and a
//! [`FaultyStore`](claviger_store::faults::FaultyStore) on the same [`FaultClock`] below the engine. Each call to a keeper
//! is then an event that can be struck. Between the calls, it keeps account of what the keeper holds, and a KEK that was
//! discarded is gone: the engine must not ask for it again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use claviger_store::faults::{FaultClock, Struck};
use claviger_wrap::{KekVersion, Key256, SvmId};

use crate::check::Hop;
use crate::keeper::{Keeper, KeeperError, KekPlace, KeptKek};

/// What befalls the calls to keepers, and what the keepers hold.
#[derive(Clone)]
pub struct KeeperFaults {
    clock: FaultClock,
    account: Arc<Mutex<Account>>,
    answers: Arc<Mutex<Answers>>,
    vault: Option<Vault>,
}

/// How keepers answer that are asked and are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// As they should.
    #[default]
    Rightly,
    /// What nobody can read.
    Unreadably,
    /// With another KEK than the one that was asked for, where they hold another.
    WithAnotherKek,
}

/// What has become of each KEK, by the keeper's own bytes for it.
type Account = BTreeMap<Vec<u8>, Holding>;

struct Holding {
    place: KekPlace,
    discarded: bool,
}

impl KeeperFaults {
    /// Keepers whose calls are events of this clock.
    #[must_use]
    pub fn on(clock: FaultClock) -> Self {
        Self { clock, account: Arc::default(), answers: Arc::default(), vault: None }
    }

    /// The same, where keystores at a Barbican find their secrets in this vault instead.
    #[must_use]
    pub fn with_vault(self, vault: Vault) -> Self {
        Self { vault: Some(vault), ..self }
    }

    /// The same keepers after a restart of the process: on another clock, with what they hold.
    #[must_use]
    pub fn after_restart(&self, clock: FaultClock) -> Self {
        Self { clock, ..self.clone() }
    }

    /// Has the keepers answer so from now on.
    pub fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// The KEKs that keepers hold as far as the engine was told: those that they answered to have kept or have given back,
    /// and were not made to forget since. In order; a version is there more than once where more than one KEK was kept for it.
    #[must_use]
    pub fn held(&self) -> Vec<(SvmId, KekVersion)> {
        let account = self.account();
        let held = account.values().filter(|holding| !holding.discarded);
        let mut held: Vec<_> = held.map(|holding| (holding.place.svm, holding.place.version)).collect();
        held.sort_unstable();
        held
    }

    #[cfg(feature = "barbican")]
    pub(crate) fn vault(&self) -> Option<Vault> {
        self.vault.clone()
    }

    pub(crate) fn between(&self, keeper: Arc<dyn Keeper>) -> Arc<dyn Keeper> {
        Arc::new(FaultyKeeper { faults: self.clone(), keeper })
    }

    fn answers(&self) -> Answers {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of a KEK that is not this one.
    fn another(&self, kept: &KeptKek) -> Option<KeptKek> {
        let account = self.account();
        let mut held = account.iter().filter(|(bytes, holding)| **bytes != kept.bytes && !holding.discarded);
        held.next().map(|(bytes, _)| KeptKek { bytes: bytes.clone() })
    }

    fn call<T>(&self, name: &'static str, call: impl FnOnce() -> Result<T, KeeperError>) -> Result<T, KeeperError> {
        if self.answers() == Answers::Unreadably {
            return Err(KeeperError::Misbehaving { source: "unreadable, as the test wants it".into() });
        }
        self.clock.call(name, call).map_err(|struck| match struck {
            Struck::Refused => KeeperError::CredentialRefused { source: struck.into() },
            Struck::Dead | Struck::Unreachable => KeeperError::Unreachable { source: struck.into() },
        })?
    }

    /// What was kept is held, also where the keeper had forgotten the same bytes before: wrapping is deterministic.
    fn kept(&self, kept: &KeptKek, place: KekPlace) {
        self.account().insert(kept.bytes.clone(), Holding { place, discarded: false });
    }

    fn fetched(&self, kept: &KeptKek, place: KekPlace) {
        // A KEK that was fetched by one thread while another had it discarded is not held again.
        self.account().entry(kept.bytes.clone()).or_insert(Holding { place, discarded: false });
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeeperFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeeperFaults").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Stands in for a Barbican where its answers are not the point: secrets by URL, and who may have them. A test fills it, and takes
/// things away.
#[derive(Clone, Default)]
pub struct Vault {
    inner: Arc<(Mutex<VaultInner>, Condvar)>,
}

#[derive(Default)]
struct VaultInner {
    secrets: BTreeMap<String, Vec<u8>>,
    credentials: BTreeMap<String, Vec<u8>>,
    is_away: bool,
    is_silent: bool,
    asked: u64,
}

impl Vault {
    /// Puts a secret under its URL, in place of what is there.
    pub fn put(&self, url: &str, secret: &[u8]) {
        self.inner().secrets.insert(url.to_owned(), secret.to_vec());
    }

    /// Deletes a secret.
    pub fn delete(&self, url: &str) {
        self.inner().secrets.remove(url);
    }

    /// Lets a credential in.
    pub fn allow(&self, id: &str, secret: &[u8]) {
        self.inner().credentials.insert(id.to_owned(), secret.to_vec());
    }

    /// Lets a credential in no longer.
    pub fn revoke(&self, id: &str) {
        self.inner().credentials.remove(id);
    }

    /// Answers nobody, or everybody again.
    pub fn set_away(&self, is_away: bool) {
        self.inner().is_away = is_away;
    }

    /// Has whoever asks wait for an answer, or answers them all.
    pub fn set_silent(&self, is_silent: bool) {
        self.inner().is_silent = is_silent;
        self.inner.1.notify_all();
    }

    /// How often it was asked for a secret.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.inner().asked
    }

    #[cfg(feature = "barbican")]
    pub(crate) fn key(
        &self,
        arena: &claviger_secret::Arena,
        url: &str,
        credential: &claviger_barbican::Credential,
    ) -> Result<claviger_secret::SecretBytes, KeeperError> {
        let mut inner = self.inner();
        inner.asked += 1;
        while inner.is_silent {
            inner = self.inner.1.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.is_away {
            return Err(KeeperError::Unreachable { source: "the vault is away".into() });
        }
        if !inner.credentials.get(&credential.id).is_some_and(|secret| credential.secret.ct_eq(secret)) {
            return Err(KeeperError::CredentialRefused { source: "the vault does not know the credential".into() });
        }
        let secret = inner.secrets.get(url);
        let secret = secret.ok_or_else(|| KeeperError::KeyMissing { source: "the vault has no such secret".into() })?;
        let mut bytes = arena.bytes(secret.len())?;
        bytes.expose_mut().copy_from_slice(secret);
        Ok(bytes)
    }

    fn inner(&self) -> MutexGuard<'_, VaultInner> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("asked", &self.asked()).finish_non_exhaustive()
    }
}

struct FaultyKeeper {
    faults: KeeperFaults,
    keeper: Arc<dyn Keeper>,
}

impl Keeper for FaultyKeeper {
    fn keep(&self, kek: &Key256, place: KekPlace) -> Result<KeptKek, KeeperError> {
        let kept = self.faults.call("keep", || self.keeper.keep(kek, place))?;
        self.faults.kept(&kept, place);
        Ok(kept)
    }

    fn fetch(&self, kept: &KeptKek, place: KekPlace) -> Result<Key256, KeeperError> {
        if self.faults.answers() == Answers::WithAnotherKek
            && let Some(another) = self.faults.another(kept)
        {
            return self.faults.call("fetch", || self.keeper.fetch(&another, place));
        }
        let key = self.faults.call("fetch", || {
            match self.faults.account().get(&kept.bytes).is_some_and(|holding| holding.discarded) {
                true => Err(KeeperError::Damaged),
                false => self.keeper.fetch(kept, place),
            }
        })?;
        self.faults.fetched(kept, place);
        Ok(key)
    }

    fn probe(&self, each: &mut dyn FnMut(Hop)) -> Result<(), KeeperError> {
        self.faults.call("probe", || self.keeper.probe(each))
    }

    fn discard(&self, kept: &KeptKek) -> Result<(), KeeperError> {
        // Also where nobody is told of it.
        self.faults.call("discard", || {
            self.keeper.discard(kept)?;
            if let Some(holding) = self.faults.account().get_mut(&kept.bytes) {
                holding.discarded = true;
            }
            Ok(())
        })
    }
}
