//! A store over a store that holds chosen writes back until the test lets them go.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claviger::store::{Batch, Change, Entry, Expectation, Outcome, Replacement};
use claviger::{Store, StoreError, Table};

/// What a store is asked to do.
pub(crate) enum Write<'a> {
    Get { table: Table, key: &'a [u8] },
    Scan { table: Table },
    Commit { changes: &'a [Change] },
    ReplaceEach { items: &'a [Replacement] },
}

impl Write<'_> {
    /// Whether it is a commit that puts the record.
    pub(crate) fn puts(&self, in_table: Table, under: &[u8]) -> bool {
        let is_put = |change: &Change| change.value().is_some() && change.place() == (in_table, under);
        matches!(self, Self::Commit { changes } if changes.iter().any(is_put))
    }

    /// Whether it is a commit that deletes the record.
    pub(crate) fn deletes(&self, in_table: Table, under: &[u8]) -> bool {
        let is_delete = |change: &Change| change.value().is_none() && change.place() == (in_table, under);
        matches!(self, Self::Commit { changes } if changes.iter().any(is_delete))
    }

    pub(crate) fn gets(&self, in_table: Table, under: &[u8]) -> bool {
        matches!(self, Self::Get { table, key } if (*table, *key) == (in_table, under))
    }

    pub(crate) fn replaces(&self) -> bool {
        matches!(self, Self::ReplaceEach { .. })
    }
}

/// Holds back what a test chooses: each trap once, before or after the store does what it is asked to.
pub(crate) struct HoldingStore<S> {
    pub(crate) inner: Arc<S>,
    traps: Mutex<Vec<Trap>>,
}

struct Trap {
    after: bool,
    matches: Box<dyn Fn(&Write<'_>) -> bool + Send>,
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

impl<S: Store> HoldingStore<S> {
    pub(crate) fn over(inner: Arc<S>) -> Arc<Self> {
        Arc::new(Self { inner, traps: Mutex::default() })
    }

    /// Holds the first call that matches back, before it is done.
    pub(crate) fn hold_before(&self, matches: impl Fn(&Write<'_>) -> bool + Send + 'static) -> Held {
        self.hold(false, Box::new(matches))
    }

    /// Holds the answer of the first call that matches back, when it is done.
    pub(crate) fn hold_after(&self, matches: impl Fn(&Write<'_>) -> bool + Send + 'static) -> Held {
        self.hold(true, Box::new(matches))
    }

    fn hold(&self, after: bool, matches: Box<dyn Fn(&Write<'_>) -> bool + Send>) -> Held {
        let (reached, is_reached) = channel();
        let (let_go, go) = channel();
        self.traps.lock().unwrap().push(Trap { after, matches, reached, go });
        Held { reached: is_reached, _go: let_go }
    }

    fn pass<T>(&self, write: &Write<'_>, run: impl FnOnce() -> T) -> T {
        let trap = {
            let mut traps = self.traps.lock().unwrap();
            let found = traps.iter().position(|trap| (trap.matches)(write));
            found.map(|found| traps.remove(found))
        };
        let Some(trap) = trap else { return run() };
        let wait = || {
            // An error means that the test has let go, which is what is waited for.
            trap.reached.send(()).ok();
            trap.go.recv().ok();
        };
        if trap.after {
            let done = run();
            wait();
            done
        } else {
            wait();
            run()
        }
    }
}

impl<S: Store> Store for HoldingStore<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass(&Write::Get { table, key }, || self.inner.get(table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.pass(&Write::Scan { table }, || self.inner.scan(table, prefix, after, limit))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let changes = batch.clone().into_operations()?.changes;
        self.pass(&Write::Commit { changes: &changes }, || self.inner.commit(batch))
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.pass(&Write::ReplaceEach { items }, || self.inner.replace_each(table, items, guard))
    }
}

/// Panics where anybody writes.
pub(crate) struct UnwritableStore<S>(pub(crate) Arc<S>);

impl<S: Store> Store for UnwritableStore<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.0.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        panic!("a commit where nothing may be written: {batch:?}");
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        _guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        panic!("{} records of table {table} replaced where nothing may be written", items.len());
    }
}
