use crate::{Batch, StoreError, Table};

/// Keeps the records of a hierarchy.
///
/// Every method may be called from any thread at any time. All methods are linearizable with one another: what a
/// `commit` or `replace_each` wrote is seen by every `get` and `scan` that begins after it returned, and a `scan` sees
/// all of a commit or nothing of it. A reader may see a write a little before it is durable; whoever wrote it has then
/// not been told so yet.
///
/// Keys are at most [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES) long, values at most
/// [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES); both may be empty. Keys are ordered as unsigned bytes.
pub trait Store: Send + Sync {
    /// The record under `key`, or `None`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`], [`StoreError::Failed`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` records whose keys begin with `prefix` and lie strictly behind `after`, in ascending order of
    /// their keys. Fewer than `limit` means that there are no more.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Applies the whole batch if all its expectations hold, and nothing otherwise. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] names the first expectation that did not hold; [`StoreError::TooLarge`],
    /// [`StoreError::KeyTooLong`], [`StoreError::RecordTooLarge`] and [`StoreError::ChangedTwice`] say what no batch may
    /// ask for; [`StoreError::ReadOnly`]; [`StoreError::DiskFull`]. All these leave everything as it was, `DiskFull`
    /// unless the next call answers [`StoreError::Failed`]. After any other error, see [`Store::get`], the batch has
    /// been applied as a whole or not at all, and which of the two is only known once the store has been reopened.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// The bulk path: each record is replaced on its own, if it is as its [`Replacement::expect`] says and while every
    /// expectation of `guard` holds. One [`Outcome`] per item, in their order; durable when it returns; not atomic as a
    /// whole: after a crash or an error any subset may have been replaced.
    ///
    /// # Errors
    /// As [`Store::commit`], without `Conflict`, `TooLarge` and `ChangedTwice`.
    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError>;
}

/// A record with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key within the table.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// What a record must be for a change to happen. "Unchanged since read" is [`Expect::Exactly`] what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no record under the key.
    Absent,
    /// There is one, with exactly these bytes.
    Exactly(Vec<u8>),
}

impl Expect {
    /// Whether `current`, what is now under the key, is as expected.
    #[must_use]
    pub fn holds(&self, current: Option<&[u8]>) -> bool {
        self.value() == current
    }

    /// The bytes that must be there, or `None` if there must be none.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Absent => None,
            Self::Exactly(value) => Some(value),
        }
    }
}

/// An [`Expect`] and the record that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The record's table.
    pub table: Table,
    /// The record's key.
    pub key: Vec<u8>,
    /// What it must be.
    pub expect: Expect,
}

/// One item of [`Store::replace_each`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The record's key.
    pub key: Vec<u8>,
    /// What it must be to be replaced.
    pub expect: Expect,
    /// What it becomes.
    pub value: Vec<u8>,
}

/// What became of one [`Replacement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The record was as expected and has been replaced.
    Replaced,
    /// The record was not as expected, and is left as it was.
    Changed,
    /// A guard did not hold when this item's turn came. The record was not looked at.
    Refused,
}
