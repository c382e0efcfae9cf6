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
        new.as_file().sync_all()?;
        new.persist(path).map_err(|error| error.error)?;
        File::open(parent)?.sync_all()
    };
    replace().map_err(failed("write", path))
}

/// Held by whoever changes accounts; it ends with the process at the latest.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock is held as long as the file is open")] File);

impl Lock {
    pub(super) fn take(accounts: &Path) -> Result<Self, AccountsError> {
        let path = accounts.with_extension("lock");
        let take = || -> io::Result<File> {
            let file = OpenOptions::new().create(true).append(true).mode(MODE).open(&path)?;
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
        let (stamp, accounts) = (Stamp::of(&path), load(&path));
        Self { path, last: Mutex::new(Last { stamp, accounts, generation: 0 }) }
    }

    /// One system call where nothing has changed.
    pub(crate) fn now(&self) -> Snapshot {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp != last.stamp {
            *last = Last { stamp, accounts: load(&self.path), generation: last.generation + 1 };
            tracing::info!("the accounts were read again");
        }
        Snapshot { accounts: last.accounts.clone(), generation: last.generation }
    }
}

fn load(path: &Path) -> Option<Arc<Known>> {
    match read(path) {
        Ok(accounts) => Some(Arc::new(accounts.unwrap_or_default())),
        Err(error) => {
            tracing::error!(error = crate::chain(&error), "nobody can log in: the accounts cannot be read");
            None
        }
    }
}
