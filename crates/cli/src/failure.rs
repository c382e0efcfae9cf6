//! What ends a command before it is done.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::PathBuf;

use claviger::store::OpenError as StoreOpenError;
use claviger::{
    ArenaError, BackupError, Blame, CopyError, Fault, JobError, KeeperError, KeyError, KeystoreError, KeystoreName,
    OpenEngineError, PassphraseError, PemError, RecordError, RekeyError, SvmError, SvmKeystoreError,
};
use claviger_server::{AccountsError, AuditError, ConfigErrors, DevError, FactsError, StartError};
use serde::{Deserialize, Serialize};

use crate::client::{ProfileError, ServiceError};
use crate::event::Wanted;
use crate::exit::{self, Exit};
use crate::secret::Secret;

/// Why a command ended before it was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{message}")]
    Usage { message: String },
    #[error("the value of CLAVIGER_LOG is no filter of the log")]
    Log,
    #[error("the keystore is locked, and no passphrase was given")]
    Locked,
    #[error("no {_0} was given")]
    NotGiven(Secret),
    #[error("the command needs the secret \"{_0}\", which did not come with it")]
    Wanted(Wanted),
    #[error("the keystore is locked, and the account may only read")]
    OnlyReads,
    #[error("the two passphrases differ")]
    PassphrasesDiffer,
    #[error("the {_0} has more than {} bytes", _0.max_len())]
    TooLong(Secret),
    #[error("the terminal does not serve to ask for the {secret}")]
    Terminal { secret: Secret, source: io::Error },
    #[error("there is no keystore whose record opens")]
    NoKeystore,
    #[error("SVM {svm} has no keystore named \"{name}\"")]
    UnknownKeystore { svm: String, name: KeystoreName },
    #[error("{} holds no certificates", path.display())]
    Certificates { path: PathBuf, source: PemError },
    #[error("{} exists already", path.display())]
    FileExists { path: PathBuf },
    #[error("cannot {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("no directory could be made for the hierarchy")]
    Scratch(#[source] io::Error),
    #[error("the result could not be printed")]
    Stdout(#[source] io::Error),
    #[error("the service stops, and the command with it")]
    ServiceStops,
    #[error("the backup was not taken to its end")]
    HalfBackup(#[source] io::Error),
    #[error("the passphrase could not be shown on standard error")]
    Unshown(#[source] io::Error),
    #[error("the system's random source failed")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
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
    SvmKeystore(#[from] SvmKeystoreError),
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
    #[error("the two passwords differ")]
    PasswordsDiffer,
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Dev(#[from] DevError),
    #[error(transparent)]
    Facts(#[from] FactsError),
}

/// A failure as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailureView {
    pub(crate) message: String,
    pub(crate) advice: Cow<'static, str>,
    pub(crate) exit_code: u8,
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Log | Self::PassphrasesDiffer | Self::TooLong(_) => Exit::Request,
            Self::Certificates { .. } => Exit::Request,
            Self::Passphrase(PassphraseError::Arena(_)) | Self::Memory(_) => Exit::Node,
            Self::Passphrase(_) => Exit::Request,
            Self::Locked | Self::Wanted(_) | Self::OnlyReads => Exit::Passphrase,
            Self::NotGiven(secret) | Self::Terminal { secret, .. } => match secret {
                Secret::Passphrase | Secret::Password => Exit::Passphrase,
                Secret::Credential | Secret::ProxyPassword | Secret::NewPassword => Exit::Request,
            },
            Self::NoKeystore | Self::UnknownKeystore { .. } => Exit::NotFound,
            Self::FileExists { .. } => Exit::Taken,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::File { source, .. } if is_of_another_kind(source) => Exit::Request,
            Self::File { .. } | Self::Scratch(_) | Self::Stdout(_) | Self::HalfBackup(_) => Exit::Node,
            Self::Unshown(_) | Self::Random(_) => Exit::Node,
            Self::ServiceStops => Exit::Service,
            Self::Service(error) => error.exit(),
            Self::Profile(ProfileError::Unknown { .. } | ProfileError::NoFile { .. }) => Exit::NotFound,
            Self::Profile(ProfileError::Syntax { .. } | ProfileError::Open { .. }) => Exit::Request,
            Self::Open(error) => exit::of_open(error),
            Self::Store(error) => exit::of_store(error),
            Self::Svm(error) => exit::of_svm(error),
            Self::Key(error) => exit::of_key(error),
            Self::Keystore(error) => exit::of_keystore(error),
            Self::SvmKeystore(error) => exit::of_svm_keystore(error),
            Self::Rekey(error) => exit::of_rekey(error),
            Self::Job(error) => exit::of_job(error),
            Self::Backup(error) => exit::of_backup(error),
            Self::Copy(error) => exit::of_copy(error),
            Self::PasswordsDiffer | Self::Config(_) => Exit::Request,
            Self::Accounts(error) | Self::Dev(DevError::Accounts(error)) => exit::of_accounts(error),
            Self::Audit(error) | Self::Start(StartError::Audit(error)) => exit::of_audit(error),
            Self::Dev(DevError::Open(error)) => exit::of_open(error),
            Self::Start(StartError::Tls(_)) => Exit::Request,
            Self::Start(_) | Self::Dev(_) => Exit::Node,
            Self::Facts(_) => Exit::Failed,
            Self::Records(error) => exit::by_blame(error),
        }
    }

    /// What to do now.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Usage { .. } => "see `claviger --help`".into(),
            Self::Log => "give a filter such as `claviger=debug`, or unset the variable".into(),
            Self::Locked => PASSPHRASE_ADVICE.into(),
            Self::Wanted(_) => "give the command again with it".into(),
            Self::OnlyReads => "have it unlocked with `claviger keystore unlock` by an account that may".into(),
            Self::NotGiven(secret) | Self::Terminal { secret, .. } => match secret {
                Secret::Passphrase => PASSPHRASE_ADVICE.into(),
                Secret::Credential => "give it with --credential-file or --credential-fd, or on a terminal".into(),
                Secret::NewPassword => "give it with --new-password-file or --new-password-fd, or on a terminal".into(),
                Secret::ProxyPassword => {
                    "give it with --proxy-password-file or --proxy-password-fd, or on a terminal".into()
                }
                Secret::Password => {
                    "give it with --password-file or --password-fd, in a profile, or on a terminal".into()
                }
            },
            Self::Key(KeyError::Locked { .. } | KeyError::KeystoreLocked)
            | Self::SvmKeystore(SvmKeystoreError::Key(KeyError::Locked { .. } | KeyError::KeystoreLocked)) => {
                PASSPHRASE_ADVICE.into()
            }
            Self::PassphrasesDiffer => "type the same passphrase twice".into(),
            Self::TooLong(Secret::Passphrase) | Self::Passphrase(PassphraseError::Length { .. }) => {
                "choose a passphrase of 32 to 256 characters, 64 to 256 in Common Criteria mode".into()
            }
            Self::Passphrase(PassphraseError::NotAscii) => {
                "use letters, digits, blanks and punctuation of ASCII".into()
            }
            Self::TooLong(
                Secret::Credential | Secret::ProxyPassword | Secret::Password | Secret::NewPassword,
            ) => "see whether it is the right file".into(),
            Self::Certificates { .. } => "name a file with certificates of authorities, as PEM".into(),
            Self::UnknownKeystore { .. } | Self::SvmKeystore(SvmKeystoreError::Unknown { .. }) => {
                "`claviger keystore list` shows the keystores that there are".into()
            }
            Self::NoKeystore | Self::Keystore(KeystoreError::None) | Self::Key(KeyError::NoKeystore) => {
                "create one with `claviger keystore create onboard`; if there was one, run `claviger verify`".into()
            }
            Self::FileExists { .. } => "name a file that does not exist".into(),
            Self::File { .. } | Self::Scratch(_) => "see to the file or its directory, then try again".into(),
            Self::Stdout(_) => "see to what standard output goes to; what was asked may have been done".into(),
            Self::ServiceStops => "what was done stays done, as `claviger show` tells; ask for the rest when the service is back".into(),
            Self::HalfBackup(_) => "do not keep what there is of it; make the backup again, with --output FILE".into(),
            Self::Unshown(_) => "delete the hierarchy's directory and begin again, with --passphrase-file".into(),
            Self::Service(error) => error.advice(),
            Self::Profile(ProfileError::Unknown { .. } | ProfileError::NoFile { .. }) => {
                "name a profile that the file has, or the service with --url".into()
            }
            Self::Profile(ProfileError::Syntax { .. }) => "a profile has `url`, `user`, and at will `ca` and `password_file`".into(),
            Self::Profile(ProfileError::Open { .. }) => "take the others' rights away with `chmod 600`, and change the password".into(),
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
            Self::SvmKeystore(SvmKeystoreError::Keeper(KeeperError::CredentialRefused { .. })) => {
                "give the keystore another credential with `claviger keystore update`".into()
            }
            Self::SvmKeystore(error) => by_blame(error),
            Self::Rekey(RekeyError::NoKeys { .. }) => "create a key in the SVM first".into(),
            Self::Rekey(error) => by_blame(error),
            Self::Job(JobError::Cancelled { .. }) => {
                "give the command again where it is still wanted; a rekey goes on to the same new KEK".into()
            }
            Self::Job(JobError::Failed { fault: Fault::Keeper, advice, .. }) => advice.to_string().into(),
            Self::Job(JobError::Failed { .. }) => {
                "see to the cause, then give the command again; a rekey goes on to the same new KEK".into()
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
            Self::PasswordsDiffer => "type the same password twice".into(),
            Self::Config(_) => "mend the file, the variables or the arguments; docs/service.md lists the keys".into(),
            Self::Accounts(AccountsError::Unknown { .. }) => {
                "`claviger account list` shows the accounts that there are".into()
            }
            Self::Accounts(AccountsError::Password) => "choose another password".into(),
            Self::Accounts(_) | Self::Audit(_) => "see to the file, then try again".into(),
            Self::Start(_) | Self::Dev(_) => "see to the cause, then start again".into(),
            Self::Facts(_) => "report it".into(),
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
