//! Exit codes, and which one an error of the engine has.

use std::process::ExitCode;

use claviger::store::OpenError as StoreOpenError;
use claviger::{
    Advice, BackupError, BackupTextError, Blame, CopyError, Fault, JobError, KeyError, KeystoreError, OpenEngineError,
    RekeyError, SvmError, SvmKeystoreError,
};
use claviger_server::{AccountsError, AuditError};

/// How a command ends. The numbers are an interface: scripts tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked is done.
    Done = 0,
    /// A job failed or was cancelled, or claviger is at fault.
    Failed = 1,
    /// The request cannot be read, or not be done as asked.
    Request = 2,
    /// What the request names or needs is not there.
    NotFound = 3,
    /// It exists already, or another operation has it to itself.
    Taken = 4,
    /// The passphrase is wrong, missing, or comes too soon after a wrong one; or the account of a service is refused.
    Passphrase = 5,
    /// Something stored is damaged, moved or lost.
    Damage = 6,
    /// The node: its disk, its key memory, or another process that has the store open.
    Node = 7,
    /// The keeper outside the node is not to be reached, or refuses.
    Keeper = 8,
    /// The service that was to do it is not to be reached, or cannot.
    Service = 9,
}

/// The table for the binary's help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  a job failed or was cancelled, or claviger is at fault
  2  the request cannot be read, or not be done as asked
  3  what the request names or needs is not there
  4  it exists already, or another operation has it to itself
  5  the passphrase is wrong, missing, or comes too soon after a wrong one; or the service's account or password
  6  something stored is damaged, moved or lost
  7  the node: its disk, its key memory, or another process that has the store open
  8  the keeper outside the node: it is not to be reached, or refuses
  9  the service of --url: it is not to be reached, does not prove who it is, or cannot answer";

impl Exit {
    const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::Request,
        Self::NotFound,
        Self::Taken,
        Self::Passphrase,
        Self::Damage,
        Self::Node,
        Self::Keeper,
        Self::Service,
    ];

    /// The one with this number.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Where an error has no code of its own, its two answers decide: what to do, and whose fault it is.
pub(crate) fn by_blame(error: &dyn Blame) -> Exit {
    match error.blame() {
        (Fault::Keeper, _) => Exit::Keeper,
        (_, Advice::GiveCredentials) => Exit::Passphrase,
        (Fault::Caller, Advice::Retry) => Exit::Taken,
        (Fault::Caller, _) => Exit::Request,
        (Fault::Data, _) => Exit::Damage,
        (Fault::Node, _) => Exit::Node,
        // Our own faults, and what a later engine may add.
        _ => Exit::Failed,
    }
}

pub(crate) fn of_open(error: &OpenEngineError) -> Exit {
    match error {
        OpenEngineError::Exists { .. } => Exit::Taken,
        OpenEngineError::Unfinished { .. } => Exit::NotFound,
        OpenEngineError::Store(error) => of_store(error),
        error => by_blame(error),
    }
}

pub(crate) fn of_store(error: &StoreOpenError) -> Exit {
    match error {
        StoreOpenError::Missing { .. } => Exit::NotFound,
        StoreOpenError::Exists { .. } | StoreOpenError::OtherKind { .. } => Exit::Taken,
        StoreOpenError::Locked { .. } | StoreOpenError::Io { .. } => Exit::Node,
        _ => Exit::Damage,
    }
}

pub(crate) fn of_svm(error: &SvmError) -> Exit {
    match error {
        SvmError::Unknown { .. } | SvmError::UnknownName { .. } => Exit::NotFound,
        SvmError::NameTaken { .. } => Exit::Taken,
        error => by_blame(error),
    }
}

pub(crate) fn of_key(error: &KeyError) -> Exit {
    match error {
        KeyError::UnknownSvm { .. } | KeyError::Missing { .. } | KeyError::NoKeystore => Exit::NotFound,
        KeyError::Exists { .. } | KeyError::Rotating { .. } | KeyError::SvmBeingDeleted { .. } => Exit::Taken,
        error => by_blame(error),
    }
}

pub(crate) fn of_keystore(error: &KeystoreError) -> Exit {
    match error {
        KeystoreError::Exists => Exit::Taken,
        KeystoreError::None => Exit::NotFound,
        KeystoreError::TooSoon { .. } => Exit::Passphrase,
        error => by_blame(error),
    }
}

pub(crate) fn of_svm_keystore(error: &SvmKeystoreError) -> Exit {
    match error {
        SvmKeystoreError::UnknownSvm { .. }
        | SvmKeystoreError::Unknown { .. }
        | SvmKeystoreError::NoneEnabled { .. } => Exit::NotFound,
        SvmKeystoreError::NameTaken { .. } | SvmKeystoreError::SvmBeingDeleted { .. } => Exit::Taken,
        SvmKeystoreError::Key(error) => of_key(error),
        error => by_blame(error),
    }
}

pub(crate) fn of_rekey(error: &RekeyError) -> Exit {
    match error {
        RekeyError::Key(error) => of_key(error),
        error => by_blame(error),
    }
}

pub(crate) fn of_job(error: &JobError) -> Exit {
    match error {
        JobError::Unknown { .. } => Exit::NotFound,
        JobError::Failed { fault: Fault::Keeper, .. } => Exit::Keeper,
        JobError::Cancelled { .. } | JobError::Failed { .. } => Exit::Failed,
        error => by_blame(error),
    }
}

pub(crate) fn of_backup(error: &BackupError) -> Exit {
    match error {
        BackupError::Text(BackupTextError::WrongPassphrase) => Exit::Passphrase,
        BackupError::Keystore(error) => of_keystore(error),
        BackupError::Open(error) => of_open(error),
        BackupError::Key(error) => of_key(error),
        error => by_blame(error),
    }
}

pub(crate) fn of_accounts(error: &AccountsError) -> Exit {
    match error {
        AccountsError::Exists { .. } => Exit::Taken,
        AccountsError::Unknown { .. } => Exit::NotFound,
        AccountsError::Password => Exit::Request,
        AccountsError::Format { .. } => Exit::Damage,
        _ => Exit::Node,
    }
}

pub(crate) fn of_audit(error: &AuditError) -> Exit {
    match error {
        AuditError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NotFound,
        AuditError::Damaged { .. } => Exit::Damage,
        _ => Exit::Node,
    }
}

pub(crate) fn of_copy(error: &CopyError) -> Exit {
    match error {
        CopyError::Open(error) => of_open(error),
        error => by_blame(error),
    }
}
