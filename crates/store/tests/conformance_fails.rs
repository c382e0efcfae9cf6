//! The suite can fail: a store with one fault, and the one case that finds it.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use claviger_store::{
    Batch, Entry, Expectation, MemoryStore, Operations, Outcome, Replacement, Store, StoreError, Table, conformance,
};

/// Looks at what a commit expects and applies it in two steps. No other commit comes between them, but `replace_each` may.
#[derive(Default)]
struct TwoStepCommit {
    records: MemoryStore,
    committing: Mutex<()>,
}

/// Applies the batch whatever it expects.
fn apply(records: &MemoryStore, Operations { changes, .. }: Operations) -> Result<(), StoreError> {
    let batch = changes.iter().fold(Batch::new(), |batch, change| match (change.place(), change.value()) {
        ((table, key), Some(value)) => batch.put(table, key, value),
        ((table, key), None) => batch.delete(table, key),
    });
    records.commit(batch)
}

fn holds(records: &MemoryStore, Expectation { table, key, expect }: &Expectation) -> Result<bool, StoreError> {
    Ok(expect.holds(records.get(*table, key)?.as_deref()))
}

impl Store for TwoStepCommit {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.records.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.records.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let operations = batch.into_operations()?;
        let _no_other_commit = self.committing.lock().unwrap();
        for expectation in &operations.expectations {
            if !holds(&self.records, expectation)? {
                return Err(StoreError::Conflict { table: expectation.table, key: expectation.key.clone() });
            }
        }
        thread::yield_now();
        apply(&self.records, operations)
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.records.replace_each(table, items, guard)
    }
}

/// The cases that a store does not pass.
fn failed(make: &dyn Fn() -> Box<dyn Store>) -> Vec<&'static str> {
    let fails = |case: &&conformance::Case| catch_unwind(AssertUnwindSafe(|| case.check(&*make()))).is_err();
    conformance::CASES.iter().filter(fails).map(conformance::Case::name).collect()
}

#[test]
fn commits_and_replacements_must_exclude_one_another() {
    let found = failed(&|| Box::new(TwoStepCommit::default()));
    assert_eq!(found, ["increments_by_both_are_not_lost"]);
}
