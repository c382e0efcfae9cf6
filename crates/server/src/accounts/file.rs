//! The file: read, written so that a crash leaves the old one or the new one, and looked after while it is in use.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use claviger_ontap::Role;
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::password::PasswordHash;
use super::{AccountName, AccountsError, FILE_NAME, Known, Stored};
use crate::stamp::Stamp;

const MODE: u32 = 0o600;

/// The file's contents.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: Version,
    accounts: Vec<Entry>,
}

/// The one there is.
#[derive(Serialize, Deserialize)]
enum Version {
    #[serde(rename = "1")]
    One,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: AccountName,
    role: RoleName,
    created: Timestamp,
    password: PasswordHash,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    Admin,
    ReadOnly,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::ReadOnly => Self::ReadOnly,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Admin => Self::Admin,
            RoleName::ReadOnly => Self::ReadOnly,
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AccountsError {
    move |source| AccountsError::File { action, path: path.to_owned(), source }
}

/// `None` where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Known>, AccountsError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mode = file.metadata().map_err(failed("read", path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(AccountsError::Exposed { path: path.to_owned(), mode });
    }
    let text = io::read_to_string(file).map_err(failed("read", path))?;
    let contents: Contents =
        serde_json::from_str(&text).map_err(|source| AccountsError::Format { path: path.to_owned(), source })?;
    let Contents { version: Version::One, accounts } = contents;
    let stored = |entry: Entry| {
        let Entry { name, role, created, password } = entry;
        (name, Stored { role: role.into(), created, password })
    };
    Ok(Some(accounts.into_iter().map(stored).collect()))
}

pub(super) fn write(path: &Path, known: &Known) -> Result<(), AccountsError> {
    let entry = |(name, stored): (&AccountName, &Stored)| {
        let Stored { role, created, password } = stored.clone();
        Entry { name: name.clone(), role: role.into(), created, password }
    };
    let contents = Contents { version: Version::One, accounts: known.iter().map(entry).collect() };
    let replace = || -> io::Result<()> {
        let parent = path.parent().unwrap_or_else(|| Path::new("."));
        // Its mode is 0600.
        let mut new = tempfile::Builder::new().prefix(FILE_NAME).suffix(".new").tempfile_in(parent)?;
        serde_json::to_writer_pretty(&mut new, &contents)?;
        writeln!(new)?;
        give_to_owner(new.as_file(), parent)?;
        new.as_file().sync_all()?;
        new.persist(path).map_err(|error| error.error)?;
        File::open(parent)?.sync_all()
    };
    replace().map_err(failed("write", path))
}

/// What root writes would be unreadable to the service, which is somebody else: it belongs to whom the directory belongs to.
fn give_to_owner(file: &File, dir: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let owner = dir.metadata()?;
        std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Held by whoever changes accounts; it ends with the process at the latest.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock is held as long as the file is open")] File);

impl Lock {
    pub(super) fn take(accounts: &Path) -> Result<Self, AccountsError> {
        let path = accounts.with_extension("lock");
        let take = || -> io::Result<File> {
            let file = OpenOptions::new().create(true).append(true).mode(MODE).open(&path)?;
            give_to_owner(&file, path.parent().unwrap_or_else(|| Path::new(".")))?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        take().map(Self).map_err(failed("lock", &path))
    }
}

/// The accounts as they are at each moment: the file is read again when it is another one.
pub(crate) struct Watched {
    path: PathBuf,
    last: Mutex<Last>,
}

#[derive(Clone)]
struct Last {
    stamp: Option<Stamp>,
    /// Whether the file could not be read. The next look may succeed, though the file stays as it is.
    is_unread: bool,
    /// `None` where they cannot be read: nobody can log in then.
    accounts: Option<Arc<Known>>,
    generation: u64,
}

/// The accounts, and a number that grows with each change of them.
pub(crate) struct Snapshot {
    pub(crate) accounts: Option<Arc<Known>>,
    pub(crate) generation: u64,
}

impl Watched {
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join(FILE_NAME);
        let last = Last { stamp: None, is_unread: false, accounts: None, generation: 0 };
        let last = last.read(&path, Stamp::of(&path)).into();
        Self { path, last }
    }

    /// One system call where nothing has changed.
    pub(crate) fn now(&self) -> Snapshot {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp != last.stamp || last.is_unread {
            *last = last.read(&self.path, stamp);
            if last.accounts.is_some() {
                tracing::info!("the accounts were read again");
            }
        }
        Snapshot { accounts: last.accounts.clone(), generation: last.generation }
    }
}

impl Last {
    /// What follows it, of a file that had this stamp before it was read.
    fn read(&self, path: &Path, stamp: Option<Stamp>) -> Self {
        let read = read(path);
        // Of those that are of the file itself, the next look finds the same.
        let is_unread = matches!(read, Err(AccountsError::File { .. }));
        let accounts = match read {
            Ok(accounts) => Some(Arc::new(accounts.unwrap_or_default())),
            Err(error) => {
                if !self.is_unread {
                    tracing::error!(error = crate::chain(&error), "nobody can log in: the accounts cannot be read");
                }
                None
            }
        };
        Self { stamp, is_unread, accounts, generation: self.generation + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_could_not_be_read_are_looked_at_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        write(&path, &Known::new()).unwrap();
        let watched = Watched::new(dir.path());
        // As an error that passes leaves it: the file is the same.
        let unread = Last { stamp: Stamp::of(&path), is_unread: true, accounts: None, generation: 1 };
        *watched.last.lock().unwrap() = unread;
        assert!(watched.now().accounts.is_some());
    }

    #[test]
    fn what_root_writes_belongs_to_the_owner_of_the_directory() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root gives files to others");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(4_711), Some(4_712)).unwrap();
        let path = dir.path().join(FILE_NAME);
        let lock = path.with_extension("lock");
        drop(Lock::take(&path).unwrap());
        write(&path, &Known::new()).unwrap();
        for file in [path, lock] {
            let metadata = file.metadata().unwrap();
            assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (4_711, 4_712, MODE));
        }
    }
}
