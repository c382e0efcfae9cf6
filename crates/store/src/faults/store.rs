//! The store that fails.

use std::io;
use std::sync::Arc;

use super::{Event, FaultClock, Struck, Tear};
use crate::{Batch, Entry, Expectation, Outcome, Replacement, Store, StoreError, Table};

/// A store whose writes are events of a [`FaultClock`]. What it wraps survives the process's death.
#[derive(Debug)]
pub struct FaultyStore<S: ?Sized> {
    clock: FaultClock,
    inner: Arc<S>,
}

impl<S: Store + ?Sized> FaultyStore<S> {
    /// Over `inner`, on this clock.
    #[must_use]
    pub fn over(inner: Arc<S>, clock: FaultClock) -> Self {
        Self { clock, inner }
    }
}

impl<S: Store + ?Sized> Store for FaultyStore<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.clock.read(|| self.inner.get(table, key)).map_err(failed)?
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.clock.read(|| self.inner.scan(table, prefix, after, limit)).map_err(failed)?
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let changes = batch.clone().into_operations()?.changes;
        let only_deletes = changes.iter().all(|change| change.value().is_none());
        self.clock.event(Event::Commit { only_deletes }, |_| self.inner.commit(batch)).map_err(failed)?
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        let taken = |tear: Tear| -> Vec<Replacement> {
            let indexed = items.iter().enumerate();
            indexed.filter(|(index, _)| tear.takes(*index, items.len())).map(|(_, item)| item.clone()).collect()
        };
        let run = |tear| match tear {
            None => self.inner.replace_each(table, items, guard),
            Some(tear) => self.inner.replace_each(table, &taken(tear), guard),
        };
        self.clock.event(Event::ReplaceEach { items: items.len() }, run).map_err(failed)?
    }
}

fn failed(struck: Struck) -> StoreError {
    match struck {
        Struck::Refused => StoreError::DiskFull { free: 0, reserve: 0 },
        Struck::Dead | Struck::Unreachable => StoreError::Io(io::Error::other(struck)),
    }
}
