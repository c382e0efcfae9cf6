//! One process at a time: an advisory lock (flock(2)) on a file of its own, which also says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Held until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    exclusive: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("the lock is held")]
    Held { pid: Option<u32> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lock {
    /// The one lock for writing. Makes the file if there is none.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, LockError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let held = file.try_lock();
        let lock = Self { file: unless_held(file, held)?, exclusive: true };
        // Only for the message to others. It is missing where the disk is full, when a store must open above all: deleting
        // makes room.
        let text = std::process::id().to_string();
        if let Err(error) = lock.file.set_len(0).and_then(|()| (&lock.file).write_all(text.as_bytes())) {
            tracing::debug!(%error, "the lock file does not say which process holds it");
        }
        Ok(lock)
    }

    /// A lock for reading, which excludes the one for writing. Writes nothing, and needs the file to be there.
    pub(crate) fn shared(path: &Path) -> Result<Self, LockError> {
        let file = File::open(path)?;
        let held = file.try_lock_shared();
        Ok(Self { file: unless_held(file, held)?, exclusive: false })
    }
}

impl Drop for Lock {
    /// Lets go of the lock rather than leaving that to the closing of the file, which a process that is being forked
    /// from this one may delay. The number goes first, so that nobody is told of a process that has ended in good order.
    fn drop(&mut self) {
        let nobody = if self.exclusive { self.file.set_len(0) } else { Ok(()) };
        if let Err(error) = nobody.and(self.file.unlock()) {
            tracing::debug!(%error, "the lock file was not cleared");
        }
    }
}

/// The file, unless somebody else has it locked.
fn unless_held(file: File, held: Result<(), TryLockError>) -> Result<File, LockError> {
    match held {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error.into()),
        Err(TryLockError::WouldBlock) => {
            // Only for the message: whatever stands there is a hint.
            let mut text = String::new();
            let read = file.take(16).read_to_string(&mut text);
            Err(LockError::Held { pid: read.ok().and_then(|_| text.parse().ok()) })
        }
    }
}
