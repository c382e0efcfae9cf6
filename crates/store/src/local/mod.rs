//! The stores on a node's own disk: what is common to their kinds, and opening one without knowing its kind.
//!
//! The kinds differ in the database, below [`layout::Layout::database`], and in nothing else: lock, header, mark, reserve
//! and the way in which a store comes into being are the same.

mod fault;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod header;
mod health;
mod layout;
mod lock;
mod mark;
mod open;
mod opened;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

pub(crate) use self::fault::{Damage, Fault, guarded};
pub(crate) use self::health::{Access, FirstFailure, Health, NotDurable};
pub(crate) use self::layout::{Layout, entries, failed, remove_file, rename, sync_dir};
pub(crate) use self::lock::Lock;
pub(crate) use self::mark::Mark;
pub(crate) use self::open::{Copied, check, copy, create, damaged, lock, mark};
pub(crate) use self::opened::Opened;
use crate::{OpenError, RedbStore, SledStore, Store};

/// Which database a store on disk is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// [`SledStore`].
    #[default]
    Sled,
    /// [`RedbStore`].
    Redb,
}

/// What a store on disk is opened with, of whichever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for the database's cache, in bytes: by default 64 MiB; 16 to 64 MiB are typical. sled takes less than 1 MiB
    /// for 1 MiB.
    pub cache_bytes: u64,
    /// Bytes of the file system that must stay free, by default 64 MiB. Where fewer are, commits that put something, and
    /// `replace_each`, are refused with [`StoreError::DiskFull`](crate::StoreError::DiskFull); commits that only delete
    /// are not.
    pub reserve_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 * 1024 * 1024, reserve_bytes: 64 * 1024 * 1024 }
    }
}

impl StoreKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// The kind of the store in `dir`, as its header says.
    ///
    /// # Errors
    /// [`OpenError::Missing`], [`OpenError::Damaged`], [`OpenError::UnknownFormat`], [`OpenError::Io`].
    pub fn of(dir: &Path) -> Result<Self, OpenError> {
        open::kind_of(Layout::of(dir))
    }

    /// As it is written in headers and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }

    /// Creates a store of this kind in `dir`. The directory is made if it is not there, for its owner alone; its parent
    /// must be there. A creation that was interrupted can be repeated.
    ///
    /// # Errors
    /// [`OpenError`], as each of its variants says. [`OpenError::Exists`] where there is a store, of whichever kind.
    pub fn create(self, dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>, OpenError> {
        Ok(match self {
            Self::Sled => Box::new(SledStore::create(dir, options)?),
            Self::Redb => Box::new(RedbStore::create(dir, options)?),
        })
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StoreKind {
    type Err = UnknownStoreKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownStoreKind { name: name.to_owned() })
    }
}

/// There is no store of a kind of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no store of the kind {name:?}; the kinds are sled and redb")]
pub struct UnknownStoreKind {
    name: String,
}

/// Opens the store in `dir`, of whichever kind it is.
///
/// # Errors
/// [`OpenError`], as each of its variants says. [`OpenError::Missing`] where there is no store.
pub fn open_store(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>, OpenError> {
    Ok(match StoreKind::of(dir)? {
        StoreKind::Sled => Box::new(SledStore::open(dir, options)?),
        StoreKind::Redb => Box::new(RedbStore::open(dir, options)?),
    })
}

/// Opens a copy of the store in `dir`, of whichever kind it is, for reading only; see [`SledStore::open_copy`].
///
/// # Errors
/// [`OpenError`], as each of its variants says.
pub fn open_store_copy(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>, OpenError> {
    Ok(match StoreKind::of(dir)? {
        StoreKind::Sled => Box::new(SledStore::open_copy(dir, options)?),
        StoreKind::Redb => Box::new(RedbStore::open_copy(dir, options)?),
    })
}

/// Opens a copy of the store in `dir`, of whichever kind it is, for reading only, and keeps others from writing to the store
/// itself until the copy is dropped.
///
/// # Errors
/// [`OpenError`], as each of its variants says.
pub fn open_store_copy_locked(dir: &Path, options: &StoreOptions) -> Result<Box<dyn Store>, OpenError> {
    Ok(match StoreKind::of(dir)? {
        StoreKind::Sled => Box::new(SledStore::open_copy_and(dir, options, CopiedStore::StaysLocked)?),
        StoreKind::Redb => Box::new(RedbStore::open_copy_and(dir, options, CopiedStore::StaysLocked)?),
    })
}

/// What becomes of a store when it has been copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopiedStore {
    IsFree,
    StaysLocked,
}

impl CopiedStore {
    pub(crate) fn keep(self, lock: Option<Lock>) -> Option<Lock> {
        match self {
            Self::IsFree => None,
            Self::StaysLocked => lock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_names() {
        for kind in StoreKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for other in ["", "Sled", "redb ", "lmdb"] {
            assert!(other.parse::<StoreKind>().unwrap_err().to_string().contains("sled and redb"), "{other}");
        }
        assert_eq!(StoreKind::default(), StoreKind::Sled);
    }
}
