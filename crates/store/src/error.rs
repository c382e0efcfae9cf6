use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{MAX_KEY_BYTES, MAX_OPERATIONS, MAX_RECORD_BYTES, StoreKind, Table};

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A record was not as the batch expects. Nothing was changed.
    #[error("the record {} of table {table} is not as expected; read it again and decide anew", Hex(key))]
    Conflict {
        /// The record's table.
        table: Table,
        /// The record's key.
        key: Vec<u8>,
    },
    /// The batch has more than [`MAX_OPERATIONS`] operations. Nothing was changed.
    #[error("a batch of {operations} operations is more than the {MAX_OPERATIONS} allowed; divide it")]
    TooLarge {
        /// How many it has.
        operations: usize,
    },
    /// A key is longer than [`MAX_KEY_BYTES`]. Nothing was changed.
    #[error("a key of {bytes} bytes for table {table} is longer than the {MAX_KEY_BYTES} allowed; use a shorter one")]
    KeyTooLong {
        /// The table that it is for.
        table: Table,
        /// Its length.
        bytes: usize,
    },
    /// A value is larger than [`MAX_RECORD_BYTES`]. Nothing was changed.
    #[error(
        "a record of {bytes} bytes under {} of table {table} is larger than the {MAX_RECORD_BYTES} allowed; divide it",
        Hex(key)
    )]
    RecordTooLarge {
        /// The table that it is for.
        table: Table,
        /// The key that it is for.
        key: Vec<u8>,
        /// The value's length.
        bytes: usize,
    },
    /// The batch changes one record twice, which has no order to decide by. Nothing was changed.
    #[error("the batch changes the record {} of table {table} twice; change each record once", Hex(key))]
    ChangedTwice {
        /// The record's table.
        table: Table,
        /// The record's key.
        key: Vec<u8>,
    },
    /// The store was opened for reading only. Nothing was changed.
    #[error("the store was opened for reading only; open it for writing")]
    ReadOnly,
    /// The store was opened by another process, of which this one was forked. Nothing was read or changed.
    #[error(
        "the store belongs to process {process}, which opened it before it forked this one; open it after the fork"
    )]
    Forked {
        /// The process that opened it.
        process: u32,
    },
    /// There is too little space. Nothing was changed, unless the next call answers [`StoreError::Failed`]: then the
    /// disk ran full in the middle of a write. Commits that only delete are still taken in the first case.
    #[error("the store's disk has {free} bytes free and keeps {reserve} in reserve; make room, then try again")]
    DiskFull {
        /// Bytes free for this process.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// What the store read cannot be what it once wrote.
    #[error("the store is damaged; stop using it and restore it from a backup")]
    Damaged {
        /// What was found.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Reading or writing failed.
    #[error("the store's disk failed; see to the disk, then reopen the store")]
    Io(#[source] io::Error),
    /// An earlier failure left it unknown what is durable, so that nothing is read or written any more.
    #[error("the store failed earlier and it is unknown what is durable; see to the cause, then reopen the store")]
    Failed {
        /// The failure.
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Why a store could not be created or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store, or only the remains of a creation that was interrupted.
    #[error("there is no store in {}; create one, or name the right directory", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// There is a store already.
    #[error("there is a store in {} already; open it, or name another directory", dir.display())]
    Exists {
        /// The directory.
        dir: PathBuf,
    },
    /// Someone else has the store open.
    #[error("the store in {} is open elsewhere{}; stop that process, or wait for it", dir.display(), Process(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that opened it last for writing, as it wrote into the lock file. It may have ended by now if
        /// the store is being copied.
        pid: Option<u32>,
    },
    /// The store is on another database than the one that was asked for.
    #[error("the store in {} is of the kind {kind}; ask for that kind, or name another directory", dir.display())]
    OtherKind {
        /// The directory.
        dir: PathBuf,
        /// What it is.
        kind: StoreKind,
    },
    /// The store cannot be what it once was. It may have been changed by the attempt to open it.
    #[error("the store in {} is damaged; keep it as it is and restore a backup into another directory", dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store's header has a field, or a value of it, that this version does not know.
    #[error(
        "the header of the store in {} has an unknown field or value: {field}; open it with the version that wrote it",
        dir.display()
    )]
    UnknownFormat {
        /// The directory.
        dir: PathBuf,
        /// The field.
        field: String,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}; {}, then try again", path.display(), Remedy(source))]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

struct Remedy<'a>(&'a io::Error);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if is_disk_full(self.0) { "make room on its disk" } else { "see to the disk or its permissions" })
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct Process(Option<u32>);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(f, " by process {pid}"))
    }
}
