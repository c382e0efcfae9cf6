//! The processes that run a hierarchy, one after the other, on one disk and with one keeper.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use claviger::faults::KeeperFaults;
use claviger::store::faults::{FaultClock, FaultyStore, Strike};
use claviger::store::{Batch, Entry, MemoryStore};
use claviger::{
    Anchor, AnchorError, AnchorSource, Engine, KeyMemory, OnboardMode, OpenEngineError, Options, SealingSource, Store,
    Table,
};
use uuid::Uuid;

use crate::secrets::{arena, key256};

type Epochs = BTreeMap<Uuid, u64>;

/// A hierarchy with an unattended keystore, and how far it has come. Deriving keys from its passphrase takes long, so it is
/// made once and copied.
static MADE: LazyLock<(Vec<(Table, Entry)>, Epochs)> = LazyLock::new(|| {
    let store = Arc::new(MemoryStore::default());
    let clock = FaultClock::counting();
    let anchor = Remembered { clock: clock.clone(), epochs: Arc::default() };
    let epochs = anchor.epochs.clone();
    let options = options(true, KeeperFaults::on(clock), anchor);
    let engine = Engine::create_on(store.clone(), &"cluster1".parse().unwrap(), options).unwrap();
    let passphrase = engine.passphrase(b"a passphrase of more than thirty-two characters").unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase).unwrap();
    let tables = [Table::Node, Table::Svms, Table::Keystores].into_iter();
    let entries = |table| store.scan(table, &[], None, usize::MAX).unwrap().into_iter();
    let records = tables.flat_map(|table| entries(table).map(move |entry| (table, entry))).collect();
    let epochs = epochs.lock().unwrap().clone();
    (records, epochs)
});

pub(super) struct Process {
    disk: Arc<MemoryStore>,
    clock: FaultClock,
    pub(super) keepers: KeeperFaults,
    anchored: Arc<Mutex<Epochs>>,
    strike: Option<(usize, Strike)>,
}

impl Process {
    /// The first one, which meets nothing.
    pub(super) fn first() -> (Self, Engine) {
        let disk = Arc::new(MemoryStore::default());
        for (table, Entry { key, value }) in &MADE.0 {
            disk.commit(Batch::new().put(*table, key.clone(), value.clone())).unwrap();
        }
        let clock = FaultClock::counting();
        let anchored = Arc::new(Mutex::new(MADE.1.clone()));
        let process = Self { disk, keepers: KeeperFaults::on(clock.clone()), clock, anchored, strike: None };
        let engine = process.open(true).unwrap();
        (process, engine)
    }

    /// The next one. The engine of the one before must be closed.
    pub(super) fn next(
        &mut self,
        strike: Option<(usize, Strike)>,
        resume_jobs: bool,
    ) -> Result<Engine, OpenEngineError> {
        self.clock = FaultClock::striking(strike);
        self.keepers = self.keepers.after_restart(self.clock.clone());
        self.strike = strike;
        self.open(resume_jobs)
    }

    fn open(&self, resume_jobs: bool) -> Result<Engine, OpenEngineError> {
        let store = FaultyStore::over(self.disk.clone(), self.clock.clone());
        let anchor = Remembered { clock: self.clock.clone(), epochs: self.anchored.clone() };
        Engine::open_on(Arc::new(store), options(resume_jobs, self.keepers.clone(), anchor))
    }

    pub(super) fn is_dead(&self) -> bool {
        self.clock.is_dead()
    }

    /// How many events there were.
    pub(super) fn events(&self) -> usize {
        self.clock.events().len()
    }

    /// Whether what this one was to meet has come, after so many events.
    pub(super) fn was_struck_since(&self, events: usize) -> bool {
        self.strike.is_some_and(|(at, _)| (events..self.events()).contains(&at))
    }

    pub(super) fn was_struck(&self) -> bool {
        self.was_struck_since(0)
    }
}

/// An anchor whose calls are events of the process's clock, and which outlives it.
struct Remembered {
    clock: FaultClock,
    epochs: Arc<Mutex<Epochs>>,
}

impl Anchor for Remembered {
    fn epoch(&self, hierarchy: Uuid) -> Result<Option<u64>, AnchorError> {
        let epoch = || self.epochs.lock().unwrap().get(&hierarchy).copied();
        self.clock.call("epoch", epoch).map_err(|struck| AnchorError::Other(struck.into()))
    }

    fn raise(&self, hierarchy: Uuid, epoch: u64) -> Result<(), AnchorError> {
        let raise = || {
            let before = self.epochs.lock().unwrap().insert(hierarchy, epoch);
            // The same once more where the answer was lost.
            assert!(before.is_none_or(|before| before <= epoch), "the anchor was to be set back");
        };
        self.clock.call("raise", raise).map_err(|struck| AnchorError::Other(struck.into()))
    }
}

fn options(resume_jobs: bool, keepers: KeeperFaults, anchor: Remembered) -> Options {
    Options {
        memory: KeyMemory::Shared(arena().clone()),
        sealing: SealingSource::Provided(key256(0x5e)),
        anchor: AnchorSource::Provided(Arc::new(anchor)),
        resume_jobs,
        keeper_faults: Some(keepers),
        ..Options::default()
    }
}
