//! The keystores of an SVM in memory, and how the last contact with each keeper went.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use claviger_wrap::Key256;
use jiff::Timestamp;
use uuid::Uuid;

use crate::check::Hop;
use crate::clock::Clock;
use crate::keeper::{Keeper, KeeperError, KekPlace, KeptKek, Trouble};
use crate::records::{Configuration, Read, SvmKeystores};

/// The keystores of an SVM.
pub(crate) enum Keystores {
    /// None was ever made.
    None,
    /// The record does not open.
    Damaged,
    There(LiveKeystores),
}

/// Those of an SVM that has some, or had.
pub(crate) struct LiveKeystores {
    pub(crate) list: Read<SvmKeystores>,
    by_id: BTreeMap<Uuid, Arc<LiveKeystore>>,
}

impl LiveKeystores {
    pub(crate) fn new(list: Read<SvmKeystores>) -> Self {
        Self::after(&Keystores::None, list)
    }

    /// The same keystores with another record. Those that it does not change go on with their keepers, and with what is known of
    /// these. What it changes was tried before.
    pub(crate) fn after(old: &Keystores, list: Read<SvmKeystores>) -> Self {
        let live = |configuration: &Configuration| match old.get(configuration.keystore) {
            Some(old) if old.configuration == *configuration => old,
            Some(_) | None => Arc::new(LiveKeystore::new(configuration.clone())),
        };
        let by_id = list.body.keystores.iter().map(|one| (one.keystore, live(one))).collect();
        Self { list, by_id }
    }

    /// Has each keeper be made anew when it is needed next.
    #[cfg(feature = "certificates")]
    pub(crate) fn forget_keepers(&self) {
        for live in self.by_id.values() {
            *live.keeper.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Keystores {
    pub(crate) fn get(&self, keystore: Uuid) -> Option<Arc<LiveKeystore>> {
        match self {
            Self::None | Self::Damaged => None,
            Self::There(there) => there.by_id.get(&keystore).cloned(),
        }
    }
}

/// A keystore of an SVM.
pub(crate) struct LiveKeystore {
    pub(crate) configuration: Configuration,
    /// Made when it is first needed.
    keeper: Mutex<Option<Arc<dyn Keeper>>>,
    pub(crate) contact: Arc<Contact>,
}

impl LiveKeystore {
    fn new(configuration: Configuration) -> Self {
        Self { configuration, keeper: Mutex::default(), contact: Arc::default() }
    }

    /// Its keeper, made by `make` where there is none yet. No I/O is done meanwhile.
    pub(crate) fn keeper<E>(&self, make: impl FnOnce() -> Result<Arc<dyn Keeper>, E>) -> Result<Arc<dyn Keeper>, E> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        match keeper.as_ref() {
            Some(keeper) => Ok(keeper.clone()),
            None => Ok(keeper.insert(make()?).clone()),
        }
    }
}

/// How this node's last contact with a keeper went. Never written to the store: another node may reach it.
#[derive(Default)]
pub(crate) struct Contact {
    trouble: Mutex<Option<KeeperTrouble>>,
}

/// What is the matter with a keeper, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperTrouble {
    /// The kind of trouble.
    pub what: Trouble,
    /// What was met, with its causes.
    pub message: String,
    /// The first of the contacts in a row that met this kind of trouble.
    pub since: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

impl Contact {
    pub(crate) fn trouble(&self) -> Option<KeeperTrouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn went_well(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&self, error: &KeeperError, now: Timestamp) {
        // Damaged bytes and full memory say nothing of the keeper.
        let Some(what) = error.trouble() else { return };
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.as_ref().filter(|old| old.what == what).map_or(now, |old| old.since);
        *trouble = Some(KeeperTrouble { what, message: crate::error::chain(error), since, last: now });
    }
}

/// A keeper all of whose contacts are noted.
pub(crate) struct Watched {
    keystore: Uuid,
    keeper: Arc<dyn Keeper>,
    contact: Arc<Contact>,
    clock: Arc<Clock>,
}

impl Watched {
    pub(crate) fn new(live: &LiveKeystore, keeper: Arc<dyn Keeper>, clock: Arc<Clock>) -> Self {
        Self { keystore: live.configuration.keystore, keeper, contact: live.contact.clone(), clock }
    }

    fn noted<T>(
        &self,
        call: &'static str,
        ask: impl FnOnce(&dyn Keeper) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        let span = tracing::debug_span!("keeper", keystore = %self.keystore, call);
        let _entered = span.enter();
        let began = Instant::now();
        let outcome = ask(self.keeper.as_ref());
        tracing::debug!(took = ?began.elapsed(), is_ok = outcome.is_ok(), "the keeper was asked");
        match &outcome {
            Ok(_) => self.contact.went_well(),
            Err(error) => self.contact.failed(error, self.clock.now()),
        }
        outcome
    }
}

impl Keeper for Watched {
    fn keep(&self, kek: &Key256, place: KekPlace) -> Result<KeptKek, KeeperError> {
        self.noted("keep", |keeper| keeper.keep(kek, place))
    }

    fn fetch(&self, kept: &KeptKek, place: KekPlace) -> Result<Key256, KeeperError> {
        self.noted("fetch", |keeper| keeper.fetch(kept, place))
    }

    fn discard(&self, kept: &KeptKek) -> Result<(), KeeperError> {
        // A keeper that has nothing to forget is not asked: this is no contact where it succeeds.
        self.keeper.discard(kept).inspect_err(|error| self.contact.failed(error, self.clock.now()))
    }

    fn probe(&self, each: &mut dyn FnMut(Hop)) -> Result<(), KeeperError> {
        self.noted("probe", |keeper| keeper.probe(each))
    }
}

/// The trouble that a keystore of an SVM has with its keeper.
pub(crate) fn trouble_of(keystores: &Keystores, keystore: Uuid) -> Option<KeeperTrouble> {
    keystores.get(keystore).and_then(|live| live.contact.trouble())
}
