//! Whether a store on disk can be read and written, and what its failures are called.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;

use super::StoreOptions;
use super::fault::{Fault, shared};
use super::layout::failed;
use super::lock::Lock;
use crate::error::is_disk_full;
use crate::{OpenError, StoreError};

/// The first failure of a write. It ends all use of a store: what is durable is unknown from then on, and the kernel does
/// not report it again.
#[derive(Debug)]
pub(crate) struct FirstFailure<E>(OnceLock<E>);

impl<E> Default for FirstFailure<E> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<E> FirstFailure<E> {
    pub(crate) fn get(&self) -> Option<&E> {
        self.0.get()
    }

    /// Returns the first failure, which need not be this one.
    pub(crate) fn set(&self, failure: E) -> &E {
        self.0.get_or_init(|| failure)
    }
}

/// Why a change is not known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDurable<E> {
    /// What the caller waited for failed.
    Now(E),
    /// Something failed before.
    Before(E),
}

/// How a store is open. Declared behind the database, so that the lock is let go, or the copy removed, when that is closed.
#[derive(Debug)]
pub(crate) enum Access {
    ReadWrite { dir: File, reserve_bytes: u64, _lock: Lock },
    ReadOnly { _copy: TempDir, _lock: Option<Lock> },
}

impl Access {
    pub(crate) fn read_write(dir: &Path, options: &StoreOptions, lock: Lock) -> Result<Self, OpenError> {
        let reserve_bytes = options.reserve_bytes;
        let dir = File::open(dir).map_err(failed("open", dir))?;
        Ok(Self::ReadWrite { dir, reserve_bytes, _lock: lock })
    }
}

#[derive(Debug)]
pub(crate) struct Health {
    access: Access,
    failure: FirstFailure<Fault>,
}

impl Health {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, failure: FirstFailure::default() }
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn failure(&self) -> &FirstFailure<Fault> {
        &self.failure
    }

    pub(crate) fn may_read(&self) -> Result<(), StoreError> {
        self.failure.get().map_or(Ok(()), |fault| Err(failed_before(fault.clone())))
    }

    pub(crate) fn may_write(&self) -> Result<(), StoreError> {
        self.may_read()?;
        match self.access {
            Access::ReadWrite { .. } => Ok(()),
            Access::ReadOnly { .. } => Err(StoreError::ReadOnly),
        }
    }

    pub(crate) fn has_room(&self) -> Result<(), StoreError> {
        match self.room() {
            Some((free, reserve)) if free < reserve => Err(StoreError::DiskFull { free, reserve }),
            _ => Ok(()),
        }
    }

    /// Ends all use of the store: a change was begun, and it is not known what has become of it.
    pub(crate) fn fail(&self, fault: Fault) -> StoreError {
        let fault = self.failure.set(fault).clone();
        tracing::error!(error = %fault.clone().cause(), "the store failed in a change and must be reopened");
        self.error(fault)
    }

    pub(crate) fn not_durable(&self, error: NotDurable<Fault>) -> StoreError {
        match error {
            NotDurable::Now(fault) => self.fail(fault),
            NotDurable::Before(fault) => failed_before(fault),
        }
    }

    pub(crate) fn error(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Damaged(cause) => StoreError::Damaged { source: Box::new(cause) },
            Fault::Io(error) => match self.room() {
                Some((free, reserve)) if is_disk_full(&error) => StoreError::DiskFull { free, reserve },
                _ => StoreError::Io(Arc::try_unwrap(error).unwrap_or_else(shared)),
            },
        }
    }

    /// Free bytes, and how many must stay free. `None` if it cannot be told.
    fn room(&self) -> Option<(u64, u64)> {
        let Access::ReadWrite { dir, reserve_bytes, _lock } = &self.access else { return None };
        let space = rustix::fs::fstatvfs(dir).ok()?;
        Some((space.f_bavail.saturating_mul(space.f_frsize), *reserve_bytes))
    }
}

fn failed_before(fault: Fault) -> StoreError {
    StoreError::Failed { source: fault.cause() }
}
