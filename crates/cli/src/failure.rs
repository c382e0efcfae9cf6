//! What ends a command before it is done.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::PathBuf;

use claviger::store::OpenError as StoreOpenError;
use claviger::{
    ArenaError, BackupError, Blame, CopyError, JobError, KeyError, KeystoreError, OpenEngineError, PassphraseError,
    RecordError, RekeyError, SvmError,
};
use serde::Serialize;

use crate::exit::{self, Exit};

/// Why a command ended before it was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{message}")]
    Usage { message: String },
    #[error("the value of CLAVIGER_LOG is no filter of the log")]
    Log,
    #[error("the keystore is locked, and no passphrase was given")]
    Locked,
    #[error("no passphrase was given")]
    NoPassphrase,
    #[error("the two passphrases differ")]
    PassphrasesDiffer,
    #[error("the passphrase has more than 256 bytes")]
    PassphraseTooLong,
    #[error("the terminal does not serve to ask for a passphrase")]
    Terminal(#[source] io::Error),
    #[error("there is no keystore whose record opens")]
    NoKeystore,
    #[error("{} exists already", path.display())]
    FileExists { path: PathBuf },
    #[error("cannot {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("no directory could be made for the hierarchy")]
    Scratch(#[source] io::Error),
    #[error("the result could not be printed")]
    Stdout(#[source] io::Error),
    #[error("the backup was not taken to its end")]
    HalfBackup(#[source] io::Error),
    #[error("the passphrase could not be shown on standard error")]
    Unshown(#[source] io::Error),
    #[error("the system's random source failed")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Open(#[from] OpenEngineError),
    #[error(transparent)]
    Store(#[from] StoreOpenError),
    #[error(transparent)]
    Svm(#[from] SvmError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error(transparent)]
    Rekey(#[from] RekeyError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Records(#[from] RecordError),
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    #[error(transparent)]
    Memory(#[from] ArenaError),
}

/// A failure as JSON.
#[derive(Serialize)]
pub(crate) struct FailureView {
    message: String,
    advice: Cow<'static, str>,
    exit_code: u8,
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Log | Self::PassphrasesDiffer | Self::PassphraseTooLong => Exit::Request,
            Self::Passphrase(PassphraseError::Arena(_)) | Self::Memory(_) => Exit::Node,
            Self::Passphrase(_) => Exit::Request,
            Self::Locked | Self::NoPassphrase | Self::Terminal(_) => Exit::Passphrase,
            Self::NoKeystore => Exit::NotFound,
            Self::FileExists { .. } => Exit::Taken,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::File { source, .. } if is_of_another_kind(source) => Exit::Request,
            Self::File { .. } | Self::Scratch(_) | Self::Stdout(_) | Self::HalfBackup(_) => Exit::Node,
            Self::Unshown(_) | Self::Random(_) => Exit::Node,
            Self::Open(error) => exit::of_open(error),
            Self::Store(error) => exit::of_store(error),
            Self::Svm(error) => exit::of_svm(error),
            Self::Key(error) => exit::of_key(error),
            Self::Keystore(error) => exit::of_keystore(error),
            Self::Rekey(error) => exit::of_rekey(error),
            Self::Job(error) => exit::of_job(error),
            Self::Backup(error) => exit::of_backup(error),
            Self::Copy(error) => exit::of_copy(error),
            Self::Records(error) => exit::by_blame(error),
        }
    }

    /// What to do now.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Usage { .. } => "see `claviger --help`".into(),
            Self::Log => "give a filter such as `claviger=debug`, or unset the variable".into(),
            Self::Locked | Self::NoPassphrase | Self::Terminal(_) => PASSPHRASE_ADVICE.into(),
            Self::Key(KeyError::Locked { .. } | KeyError::KeystoreLocked) => PASSPHRASE_ADVICE.into(),
            Self::PassphrasesDiffer => "type the same passphrase twice".into(),
            Self::PassphraseTooLong | Self::Passphrase(PassphraseError::Length { .. }) => {
                "choose a passphrase of 32 to 256 characters, 64 to 256 in Common Criteria mode".into()
            }
            Self::Passphrase(PassphraseError::NotAscii) => {
                "use letters, digits, blanks and punctuation of ASCII".into()
            }
            Self::NoKeystore | Self::Keystore(KeystoreError::None) | Self::Key(KeyError::NoKeystore) => {
                "create one with `claviger keystore create onboard`; if there was one, run `claviger verify`".into()
            }
            Self::FileExists { .. } => "name a file that does not exist".into(),
            Self::File { .. } | Self::Scratch(_) => "see to the file or its directory, then try again".into(),
            Self::Stdout(_) => "see to what standard output goes to; what was asked may have been done".into(),
            Self::HalfBackup(_) => "do not keep what there is of it; make the backup again, with --output FILE".into(),
            Self::Unshown(_) => "delete the hierarchy's directory and begin again, with --passphrase-file".into(),
            Self::Open(OpenEngineError::Store(StoreOpenError::Missing { .. })) => {
                "name the hierarchy's directory with --dir, or make one with `claviger init`".into()
            }
            Self::Open(OpenEngineError::Unfinished { .. }) => "repeat `claviger init` with the same name".into(),
            Self::Open(
                OpenEngineError::RolledBack { .. } | OpenEngineError::NotAnchored | OpenEngineError::Anchor { .. },
            )
            | Self::Records(RecordError::EpochLost) => ACCEPT_ADVICE.into(),
            Self::Open(OpenEngineError::Store(StoreOpenError::Damaged { .. })) => {
                "keep the directory as it is; run `claviger verify`, and save what can be read with `claviger store copy`; \
                 else restore a backup"
                    .into()
            }
            Self::Open(error) => by_blame(error),
            Self::Store(StoreOpenError::Missing { .. }) => {
                "name the directory of a copied hierarchy, which has the directory `store` in it".into()
            }
            Self::Store(error) => by_blame(error),
            Self::Svm(SvmError::UnknownName { .. }) => "`claviger svm list` shows the SVMs that there are".into(),
            Self::Svm(error) => by_blame(error),
            Self::Key(error) => by_blame(error),
            Self::Keystore(error) => by_blame(error),
            Self::Rekey(RekeyError::NoKeys { .. }) => "create a key in the SVM first".into(),
            Self::Rekey(error) => by_blame(error),
            Self::Job(JobError::Cancelled { .. }) => "run `claviger rekey` to go on to the same new KEK".into(),
            Self::Job(JobError::Failed { .. }) => {
                "see to the cause, then run `claviger rekey` again: it goes on to the same new KEK".into()
            }
            Self::Job(error) => by_blame(error),
            Self::Backup(error) => by_blame(error),
            Self::Copy(CopyError::Open(OpenEngineError::Store(StoreOpenError::Missing { .. }))) => {
                "name the directory of a hierarchy with --from".into()
            }
            Self::Copy(CopyError::Open(OpenEngineError::Exists { .. })) => {
                "name an empty directory with --to, or remove what an interrupted copy has left there".into()
            }
            Self::Copy(error) => by_blame(error),
            Self::Records(error) => by_blame(error),
            Self::Memory(error) | Self::Passphrase(PassphraseError::Arena(error)) => by_blame(error),
            Self::Random(_) | Self::Passphrase(_) => "try again later".into(),
        }
    }

    /// The message with all its causes, in one line.
    pub(crate) fn message(&self) -> String {
        one_line(self)
    }

    /// The failure as JSON.
    pub(crate) fn view(&self) -> FailureView {
        FailureView { message: self.message(), advice: self.advice(), exit_code: self.exit().code() }
    }
}

const PASSPHRASE_ADVICE: &str = "give the passphrase with --passphrase-file or --passphrase-fd, or on a terminal";

const ACCEPT_ADVICE: &str = "put the newest store and its anchor back; or accept what is lost with --danger-accept-rollback, \
     once, and run `claviger verify`";

/// A directory where a file is wanted, or the other way round.
fn is_of_another_kind(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory)
}

fn by_blame(error: &dyn Blame) -> Cow<'static, str> {
    error.advice().to_string().into()
}

/// An error with all its causes, in one line.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
