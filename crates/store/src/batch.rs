use std::collections::BTreeSet;

use crate::{Expect, Expectation, Replacement, StoreError, Table};

/// The most operations that a batch may have: puts, deletes and expectations together. It is what etcd accepts in one
/// transaction by default (`--max-txn-ops`), so that every operation of the engine fits a replicated store.
pub const MAX_OPERATIONS: usize = 128;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// The largest value, in bytes.
pub const MAX_RECORD_BYTES: usize = 32 * 1024;

/// Changes that are applied together or not at all, and what must be true for that.
///
/// ```
/// # use claviger_store::{Batch, Expect, Table};
/// let read = b"what was read".to_vec();
/// Batch::new()
///     .require(Table::Svms, *b"vs0", Expect::Exactly(read))
///     .put(Table::Svms, *b"vs0", *b"what it becomes")
///     .delete(Table::Jobs, *b"17");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    expectations: Vec<Expectation>,
    changes: Vec<Change>,
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The record becomes `value`, whether it was there or not.
    Put {
        /// The record's table.
        table: Table,
        /// The record's key.
        key: Vec<u8>,
        /// The record's new bytes.
        value: Vec<u8>,
    },
    /// The record goes, if it is there.
    Delete {
        /// The record's table.
        table: Table,
        /// The record's key.
        key: Vec<u8>,
    },
}

/// What a [`Batch`] asks for, known to be within all limits and to name each key in at most one change: what an
/// implementation of [`Store::commit`](crate::Store::commit) works on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operations {
    /// All of these must hold. A key may occur more than once.
    pub expectations: Vec<Expectation>,
    /// All of these are then applied. Their order does not matter.
    pub changes: Vec<Change>,
}

impl Batch {
    /// A batch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: the record becomes `value`.
    pub fn put(mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.changes.push(Change::Put { table, key: key.into(), value: value.into() });
        self
    }

    /// Adds: the record goes, if it is there.
    pub fn delete(mut self, table: Table, key: impl Into<Vec<u8>>) -> Self {
        self.changes.push(Change::Delete { table, key: key.into() });
        self
    }

    /// Adds a condition on the state before the batch. It need not be about a record that the batch changes.
    pub fn require(mut self, table: Table, key: impl Into<Vec<u8>>, expect: Expect) -> Self {
        self.expectations.push(Expectation { table, key: key.into(), expect });
        self
    }

    /// The operations, if a store may take them.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::KeyTooLong`], [`StoreError::RecordTooLarge`],
    /// [`StoreError::ChangedTwice`].
    pub fn into_operations(self) -> Result<Operations, StoreError> {
        let Self { expectations, changes } = self;
        let operations = expectations.len() + changes.len();
        if operations > MAX_OPERATIONS {
            return Err(StoreError::TooLarge { operations });
        }
        let mut changed = BTreeSet::new();
        for change in &changes {
            let (table, key) = change.place();
            fits(table, key, change.value().unwrap_or_default())?;
            if !changed.insert((table, key)) {
                return Err(StoreError::ChangedTwice { table, key: key.to_vec() });
            }
        }
        for Expectation { table, key, expect: _ } in &expectations {
            fits(*table, key, &[])?;
        }
        Ok(Operations { expectations, changes })
    }
}

impl Change {
    /// The record's table and key.
    #[must_use]
    pub fn place(&self) -> (Table, &[u8]) {
        match self {
            Self::Put { table, key, value: _ } | Self::Delete { table, key } => (*table, key),
        }
    }

    /// What the record becomes, or `None` if it goes.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}

impl Replacement {
    /// Whether a store may take this replacement: an implementation of
    /// [`Store::replace_each`](crate::Store::replace_each) asks before it applies the first one.
    ///
    /// # Errors
    /// [`StoreError::KeyTooLong`], [`StoreError::RecordTooLarge`].
    pub fn fits(&self, table: Table) -> Result<(), StoreError> {
        fits(table, &self.key, &self.value)
    }
}

fn fits(table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(StoreError::KeyTooLong { table, bytes: key.len() });
    }
    if value.len() > MAX_RECORD_BYTES {
        return Err(StoreError::RecordTooLarge { table, key: key.to_vec(), bytes: value.len() });
    }
    Ok(())
}
