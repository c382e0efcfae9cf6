//! Accounts: who may log in, and as what. One small file in the hierarchy's directory, replaced as a whole
//! (`docs/service.md`, accounts).

mod file;
mod password;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use claviger::{ArenaError, SecretBytes};
use claviger_ontap::Role;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::file::Lock;

pub(crate) use self::file::Watched;
pub(crate) use self::password::{PasswordHash, spellings};

/// The accounts in a hierarchy's directory, to be changed. A service that runs notices.
#[derive(Debug)]
pub struct Accounts {
    path: PathBuf,
    known: Known,
    /// Nobody else changes them meanwhile.
    _lock: Lock,
}

/// An account, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
}

/// By name.
pub(crate) type Known = BTreeMap<AccountName, Stored>;

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) role: Role,
    pub(crate) created: Timestamp,
    pub(crate) password: PasswordHash,
}

/// The file in a hierarchy's directory.
const FILE_NAME: &str = "accounts.json";

impl Accounts {
    /// Reads the accounts of the hierarchy in `dir`; there are none where there is no file.
    ///
    /// # Errors
    /// [`AccountsError::File`], [`AccountsError::Exposed`], [`AccountsError::Format`].
    pub fn load(dir: &Path) -> Result<Self, AccountsError> {
        let path = dir.join(FILE_NAME);
        let lock = Lock::take(&path)?;
        let known = file::read(&path)?.unwrap_or_default();
        Ok(Self { path, known, _lock: lock })
    }

    /// The accounts by name.
    #[must_use]
    pub fn list(&self) -> Vec<Account> {
        let account = |(name, stored): (&AccountName, &Stored)| Account {
            name: name.clone(),
            role: stored.role,
            created: stored.created,
        };
        self.known.iter().map(account).collect()
    }

    /// Makes an account; durable when it returns.
    ///
    /// # Errors
    /// [`AccountsError::Exists`], and as [`Accounts::set_password`].
    pub fn create(&mut self, name: AccountName, role: Role, password: &SecretBytes) -> Result<(), AccountsError> {
        if self.known.contains_key(&name) {
            return Err(AccountsError::Exists { name });
        }
        let stored = Stored { role, created: Timestamp::now(), password: PasswordHash::of(password)? };
        self.replace(|known| {
            known.insert(name, stored);
        })
    }

    /// Gives an account another password; durable when it returns.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`]; [`AccountsError::Password`] where the password is too short or too long, or no text;
    /// [`AccountsError::File`].
    pub fn set_password(&mut self, name: &AccountName, password: &SecretBytes) -> Result<(), AccountsError> {
        let mut stored = self.known.get(name).ok_or_else(|| AccountsError::Unknown { name: name.clone() })?.clone();
        stored.password = PasswordHash::of(password)?;
        self.replace(|known| {
            known.insert(name.clone(), stored);
        })
    }

    /// Deletes an account; durable when it returns. Whoever is logged in with it is so no longer.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], [`AccountsError::File`].
    pub fn delete(&mut self, name: &AccountName) -> Result<(), AccountsError> {
        if !self.known.contains_key(name) {
            return Err(AccountsError::Unknown { name: name.clone() });
        }
        self.replace(|known| {
            known.remove(name);
        })
    }

    fn replace(&mut self, change: impl FnOnce(&mut Known)) -> Result<(), AccountsError> {
        let mut known = self.known.clone();
        change(&mut known);
        file::write(&self.path, &known)?;
        self.known = known;
        Ok(())
    }
}

/// The name of an account: 1 to 64 printable ASCII characters without `:`, which ends a name in HTTP basic authentication
/// (RFC 7617, section 2), and without spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

impl AccountName {
    const MOST: usize = 64;

    pub(crate) fn admin() -> Self {
        Self("admin".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = InvalidAccountName;

    fn from_str(name: &str) -> Result<Self, InvalidAccountName> {
        name.to_owned().try_into()
    }
}

impl TryFrom<String> for AccountName {
    type Error = InvalidAccountName;

    fn try_from(name: String) -> Result<Self, InvalidAccountName> {
        let is_right = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        match (1..=Self::MOST).contains(&name.len()) && name.bytes().all(is_right) {
            true => Ok(Self(name)),
            false => Err(InvalidAccountName),
        }
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not a name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account's name has 1 to 64 printable ASCII characters, and no ':' or space among them")]
pub struct InvalidAccountName;

/// Accounts were not read or not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// There is one of this name.
    #[error("there is an account {name} already; give it a new password, or delete it first")]
    Exists {
        /// The name.
        name: AccountName,
    },
    /// There is none of this name.
    #[error("there is no account {name}")]
    Unknown {
        /// The name.
        name: AccountName,
    },
    /// It cannot be a password.
    #[error(
        "a password has {} to {} bytes of UTF-8, and no control characters among them",
        password::LEAST,
        password::MOST
    )]
    Password,
    /// The file cannot be read or written.
    #[error("cannot {action} the accounts in {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can read or write the file.
    #[error("{} has the mode {mode:o}: others can read or change accounts; look at them, then make it 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is damaged, or of a newer claviger.
    #[error("{} is damaged; put it back from a copy, or remove it and make the accounts again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The random source failed.
    #[error("the system's random source failed")]
    Random(#[from] getrandom::Error),
    /// The password could not be hashed.
    #[error("the password could not be hashed: {why}")]
    Hash {
        /// Why.
        why: String,
    },
    /// There was no key memory for a password.
    #[error(transparent)]
    Memory(#[from] ArenaError),
}
