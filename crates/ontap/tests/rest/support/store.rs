//! A store in memory that holds chosen calls back, or refuses them, as a full or broken disk would.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claviger::store::{Batch, Change, Entry, Expectation, MemoryStore, Outcome, Replacement};
use claviger::{Store, StoreError, Table};

/// What a store is asked to do.
pub(crate) enum Asked<'a> {
    Get { table: Table },
    Scan { table: Table },
    Commit { changes: &'a [Change] },
    Replace,
}

impl Asked<'_> {
    /// Whether it is a commit that puts a record into the table.
    pub(crate) fn puts(&self, into: Table) -> bool {
        self.commits(|change| change.value().is_some() && change.place().0 == into)
    }

    /// Whether it is a commit that deletes a record of the table.
    pub(crate) fn deletes(&self, from: Table) -> bool {
        self.commits(|change| change.value().is_none() && change.place().0 == from)
    }

    fn commits(&self, is_it: impl Fn(&Change) -> bool) -> bool {
        matches!(self, Self::Commit { changes } if changes.iter().any(is_it))
    }
}

type Matches = Box<dyn Fn(&Asked<'_>) -> bool + Send>;

/// A store that does what a test wants.
#[derive(Default)]
pub(crate) struct RiggedStore {
    pub(crate) inner: MemoryStore,
    traps: Mutex<Vec<Trap>>,
    refused: Mutex<Option<Matches>>,
}

struct Trap {
    matches: Matches,
    reached: Sender<()>,
    go: Receiver<()>,
}

/// The test's end of a trap. Dropping it lets the caller go.
pub(crate) struct Held {
    reached: Receiver<()>,
    _go: Sender<()>,
}

impl Held {
    /// Waits until somebody is in the trap.
    pub(crate) fn reached(&self) {
        self.reached.recv_timeout(Duration::from_secs(20)).expect("nobody came into the trap");
    }

    pub(crate) fn release(self) {}
}

impl RiggedStore {
    pub(crate) fn over(inner: MemoryStore) -> Arc<Self> {
        Arc::new(Self { inner, ..Self::default() })
    }

    /// Holds the first call that matches back, before it is done.
    pub(crate) fn hold(&self, matches: impl Fn(&Asked<'_>) -> bool + Send + 'static) -> Held {
        let (reached, is_reached) = channel();
        let (let_go, go) = channel();
        self.traps.lock().unwrap().push(Trap { matches: Box::new(matches), reached, go });
        Held { reached: is_reached, _go: let_go }
    }

    /// Refuses every call that matches, from now on.
    pub(crate) fn refuse(&self, matches: impl Fn(&Asked<'_>) -> bool + Send + 'static) {
        *self.refused.lock().unwrap() = Some(Box::new(matches));
    }

    fn pass<T>(&self, asked: &Asked<'_>, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let trap = {
            let mut traps = self.traps.lock().unwrap();
            let found = traps.iter().position(|trap| (trap.matches)(asked));
            found.map(|found| traps.remove(found))
        };
        if let Some(trap) = trap {
            // An error means that the test has let go, which is what is waited for.
            trap.reached.send(()).ok();
            trap.go.recv().ok();
        }
        match self.refused.lock().unwrap().as_ref().is_some_and(|matches| matches(asked)) {
            true => Err(StoreError::Io(io::Error::other("the disk is broken, as the test wants it"))),
            false => run(),
        }
    }
}

impl Store for RiggedStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass(&Asked::Get { table }, || self.inner.get(table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.pass(&Asked::Scan { table }, || self.inner.scan(table, prefix, after, limit))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let changes = batch.clone().into_operations()?.changes;
        self.pass(&Asked::Commit { changes: &changes }, || self.inner.commit(batch))
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.pass(&Asked::Replace, || self.inner.replace_each(table, items, guard))
    }
}

const TABLES: [Table; 7] =
    [Table::Node, Table::Svms, Table::Keystores, Table::Keks, Table::Keys, Table::Jobs, Table::Certificates];

pub(crate) fn copy_of(store: &dyn Store) -> MemoryStore {
    let copy = MemoryStore::default();
    for table in TABLES {
        for Entry { key, value } in store.scan(table, &[], None, usize::MAX).unwrap() {
            put(&copy, table, &key, &value);
        }
    }
    copy
}

pub(crate) fn put(store: &dyn Store, table: Table, key: &[u8], value: &[u8]) {
    store.commit(Batch::new().put(table, key, value)).unwrap();
}

pub(crate) fn delete(store: &dyn Store, table: Table, key: &[u8]) {
    store.commit(Batch::new().delete(table, key)).unwrap();
}
