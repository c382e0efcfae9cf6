use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Batch, Change, Entry, Expectation, Operations, Outcome, Replacement, Store, StoreError, Table};

/// A store that lives and dies with its value. Durable only as far as memory is.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: RwLock<Records>,
}

type Records = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let first = match after {
            Some(after) if after >= prefix => Bound::Excluded((table, after.to_vec())),
            _ => Bound::Included((table, prefix.to_vec())),
        };
        let records = self.read();
        let range = records.range((first, Bound::Unbounded));
        let matching = range.take_while(|((in_table, key), _)| *in_table == table && key.starts_with(prefix));
        Ok(matching.take(limit).map(|((_, key), value)| Entry { key: key.clone(), value: value.clone() }).collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let Operations { expectations, changes } = batch.into_operations()?;
        let mut records = self.write();
        if let Some(unmet) = expectations.iter().find(|expectation| !holds(&records, expectation)) {
            return Err(StoreError::Conflict { table: unmet.table, key: unmet.key.clone() });
        }
        for change in changes {
            match change {
                Change::Put { table, key, value } => records.insert((table, key), value),
                Change::Delete { table, key } => records.remove(&(table, key)),
            };
        }
        Ok(())
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        items.iter().try_for_each(|item| item.fits(table))?;
        let mut records = self.write();
        let replace = |item: &Replacement| {
            if !guard.iter().all(|expectation| holds(&records, expectation)) {
                return Outcome::Refused;
            }
            let place = (table, item.key.clone());
            if !item.expect.holds(records.get(&place).map(Vec::as_slice)) {
                return Outcome::Changed;
            }
            records.insert(place, item.value.clone());
            Outcome::Replaced
        };
        Ok(items.iter().map(replace).collect())
    }
}

impl MemoryStore {
    // No code that holds the lock can panic between two changes that belong together.
    fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn holds(records: &Records, Expectation { table, key, expect }: &Expectation) -> bool {
    expect.holds(records.get(&(*table, key.clone())).map(Vec::as_slice))
}
