//! Faults of keepers on purpose, on the same clock as those of the store: see [`claviger_store::faults`].
//!
//! Put a [`KeeperFaults`] into [`Options::keeper_faults`](crate::Options::keeper_faults), and a
//! [`FaultyStore`](claviger_store::faults::FaultyStore) on the same [`FaultClock`] below the engine. Each call to a keeper
//! is then an event that can be struck. Between the calls, it keeps account of what the keeper holds, and a KEK that was
//! discarded is gone: the engine must not ask for it again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_store::faults::{FaultClock, Struck};
use claviger_wrap::{KekVersion, Key256, SvmId};

use crate::keeper::{Keeper, KeeperError, KekPlace, KeptKek};

/// What befalls the calls to keepers, and what the keepers hold.
#[derive(Clone)]
pub struct KeeperFaults {
    clock: FaultClock,
    account: Arc<Mutex<Account>>,
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
        Self { clock, account: Arc::default() }
    }

    /// The same keepers after a restart of the process: on another clock, with what they hold.
    #[must_use]
    pub fn after_restart(&self, clock: FaultClock) -> Self {
        Self { clock, account: self.account.clone() }
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

    pub(crate) fn between(&self, keeper: Arc<dyn Keeper>) -> Arc<dyn Keeper> {
        Arc::new(FaultyKeeper { faults: self.clone(), keeper })
    }

    fn call<T>(&self, name: &'static str, call: impl FnOnce() -> Result<T, KeeperError>) -> Result<T, KeeperError> {
        self.clock.call(name, call).map_err(|struck| match struck {
            Struck::Refused => KeeperError::Refused { source: struck.into() },
            Struck::Dead | Struck::Unreachable => KeeperError::Unreachable { source: struck.into() },
        })?
    }

    fn told(&self, kept: &KeptKek, place: KekPlace) {
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

struct FaultyKeeper {
    faults: KeeperFaults,
    keeper: Arc<dyn Keeper>,
}

impl Keeper for FaultyKeeper {
    fn keep(&self, kek: &Key256, place: KekPlace) -> Result<KeptKek, KeeperError> {
        let kept = self.faults.call("keep", || self.keeper.keep(kek, place))?;
        self.faults.told(&kept, place);
        Ok(kept)
    }

    fn fetch(&self, kept: &KeptKek, place: KekPlace) -> Result<Key256, KeeperError> {
        let key = self.faults.call("fetch", || {
            match self.faults.account().get(&kept.bytes).is_some_and(|holding| holding.discarded) {
                true => Err(KeeperError::Damaged),
                false => self.keeper.fetch(kept, place),
            }
        })?;
        self.faults.told(kept, place);
        Ok(key)
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
