//! Which code an error of the engine is.

use claviger::{
    Cause, JobError, JobInfo, JobOperation, JobStatus, KeyError, KeystoreError, KeystoreState, RekeyError, SvmError,
    SvmKeystoreError,
};

use super::barbican as code;
use super::{Guarded, exists, failed, in_use, invalid, malformed, missing, missing_entry, of_refusal};
use crate::problem::Problem;

/// How a job ended, told at once to who waited for it.
pub(crate) fn of_job(operation: &JobOperation, error: &JobError) -> Problem {
    match error {
        JobError::Failed { cause, message, .. } => of_cause(Some(operation), *cause, message.clone()),
        JobError::Unknown { .. } => missing_entry(),
        JobError::Cancelled { .. } | JobError::Ended { .. } | JobError::TooLate { .. } | JobError::Locked { .. } => {
            in_use(error.to_string())
        }
        error => failed(chain(error)),
    }
}

/// Why a job ended that is asked for later.
pub(crate) fn of_ended_job(job: &JobInfo) -> Problem {
    match &job.status {
        JobStatus::Failed { cause, message, .. } => of_cause(Some(&job.operation), *cause, message.clone()),
        _ => in_use("The job was cancelled."),
    }
}

/// The code of a kind of thing that went wrong, while this was done.
fn of_cause(operation: Option<&JobOperation>, cause: Cause, message: String) -> Problem {
    let is_restore = matches!(operation, Some(JobOperation::Restore { .. }));
    let is_rekey = matches!(operation, Some(JobOperation::RekeyInternal { .. }));
    let code = match cause {
        Cause::KekDamaged
        | Cause::KeeperUnreachable
        | Cause::KeeperRefused
        | Cause::KeeperMisbehaved
        | Cause::KeptOtherwise
            if is_restore =>
        {
            code::NOT_RESTORED
        }
        Cause::KeyMissing => code::VOLUME_KEY_MISSING,
        Cause::KeyLayout => code::VOLUME_BLOB_INVALID,
        Cause::KeyMisplaced => code::VOLUME_KEY_INVALID,
        Cause::KeyDamaged => code::DECRYPT_FAILED,
        Cause::KekDamaged => code::KEK_NOT_UNWRAPPED,
        Cause::KeeperUnreachable => code::BARBICAN_UNREACHABLE,
        Cause::KeeperRefused | Cause::Passphrase => code::BLOCKED,
        Cause::KeeperMisbehaved => code::REPLY_UNREADABLE,
        Cause::KeptOtherwise => code::KEK_NOT_IMPORTED,
        Cause::Random => code::KEY_NOT_GENERATED,
        Cause::Store if is_rekey => code::BLOB_NOT_UPDATED,
        Cause::Node if is_rekey => code::ENCRYPT_FAILED,
        Cause::Request => return malformed(message),
        Cause::Conflict => return in_use(message),
        Cause::Store | Cause::StoreDamaged | Cause::Node | Cause::Other => return failed(message),
    };
    code.with(format!("{} {message}.", code.meaning))
}

pub(crate) fn of_svm(error: &SvmError) -> Problem {
    match error {
        SvmError::Unknown { .. } => missing_entry(),
        SvmError::UnknownName { name } => missing(format!("SVM \"{name}\" does not exist.")),
        SvmError::NameTaken { .. } => exists(error.to_string()).about("name"),
        SvmError::Admin => malformed(error.to_string()),
        SvmError::HasKeys { .. }
        | SvmError::HasVolumes { .. }
        | SvmError::HasCertificates { .. }
        | SvmError::HasKeystores { .. }
        | SvmError::Busy { .. } => in_use(error.to_string()),
        error => of_cause(None, error.into(), chain(error)),
    }
}

pub(crate) fn of_key(error: &KeyError) -> Problem {
    match error {
        KeyError::UnknownSvm { .. } | KeyError::Missing { .. } => missing_entry(),
        KeyError::Exists { .. } => exists(error.to_string()),
        KeyError::OfVolume { .. }
        | KeyError::Rotating { .. }
        | KeyError::NotRotating { .. }
        | KeyError::SvmBeingDeleted { .. }
        | KeyError::KeystoreBeingDisabled { .. } => in_use(error.to_string()),
        KeyError::NoKeystore => code::NONE_ENABLED.with(format!("{} {error}.", code::NONE_ENABLED.meaning)),
        KeyError::Locked { .. }
        | KeyError::KeystoreLocked
        | KeyError::KekNotFetched { .. }
        | KeyError::KekUnreachable { .. }
        | KeyError::KekRefused { .. } => blocked(error),
        error => of_cause(None, error.into(), chain(error)),
    }
}

/// A KEK that is not in memory: whatever keeps it away, the key manager is blocked.
fn blocked(error: &KeyError) -> Problem {
    code::BLOCKED.with(format!("{} {error}.", code::BLOCKED.meaning))
}

pub(crate) fn of_rekey(error: &RekeyError) -> Problem {
    match error {
        RekeyError::NoKeys { .. } => code::NO_KEYS.problem(),
        RekeyError::Mixed { .. } => code::MIXED.problem(),
        RekeyError::KeystoreBusy { state, .. } => of_state(*state, error),
        RekeyError::KeystoresChanged => in_use(error.to_string()),
        RekeyError::Versions(_) => malformed(error.to_string()),
        RekeyError::Key(error) => of_key(error),
        error => of_cause(None, error.into(), chain(error)),
    }
}

/// What is in a rekey's way.
fn of_state(state: KeystoreState, error: &dyn std::error::Error) -> Problem {
    match state {
        KeystoreState::Initializing => code::INITIALIZING.problem(),
        KeystoreState::Disabling => code::DISABLING.problem(),
        KeystoreState::Blocked => code::BLOCKED.problem(),
        KeystoreState::Mixed => code::MIXED.problem(),
        KeystoreState::Switching => code::SWITCHING.problem(),
        _ => in_use(error.to_string()),
    }
}

pub(crate) fn of_svm_keystore(error: &SvmKeystoreError) -> Problem {
    match error {
        SvmKeystoreError::UnknownSvm { .. } | SvmKeystoreError::Unknown { .. } => missing_entry(),
        SvmKeystoreError::Admin => code::BARBICAN_ADMIN_SVM.problem(),
        SvmKeystoreError::Refused(refusal) => of_refusal(refusal, Guarded::Barbican),
        SvmKeystoreError::NameTaken { .. } => code::BARBICAN_NAME_TAKEN.problem().about("configuration.name"),
        SvmKeystoreError::NoneEnabled { .. } => code::NONE_ENABLED.problem(),
        SvmKeystoreError::Mixed { .. } => code::MIXED.problem(),
        SvmKeystoreError::NoKeys { .. } => code::NO_KEYS.problem(),
        SvmKeystoreError::KeepsKeys { .. } => super::key_managers::KEEPS_KEYS.problem(),
        SvmKeystoreError::NotADestination { .. } | SvmKeystoreError::KeptThere { .. } => {
            invalid("uuid", error.to_string())
        }
        SvmKeystoreError::SameKey { .. } => invalid("key_id", error.to_string()),
        SvmKeystoreError::TheClusters { .. }
        | SvmKeystoreError::TooMany
        | SvmKeystoreError::Enabled { .. }
        | SvmKeystoreError::AnotherEnabled { .. }
        | SvmKeystoreError::NotEnabled { .. }
        | SvmKeystoreError::Rekeying { .. }
        | SvmKeystoreError::SvmBeingDeleted { .. } => in_use(error.to_string()),
        SvmKeystoreError::Busy { state, .. } => of_state(*state, error),
        SvmKeystoreError::Key(error) => of_key(error),
        error => of_cause(None, error.into(), chain(error)),
    }
}

/// What is the matter with the cluster's keystore, where no code of its own says it.
pub(crate) fn of_keystore(error: &KeystoreError) -> Problem {
    match error {
        KeystoreError::Exists => super::key_managers::ONBOARD_EXISTS.problem(),
        KeystoreError::Refused(refusal) => of_refusal(refusal, Guarded::CreateOnboard),
        KeystoreError::None => missing_entry(),
        KeystoreError::WrongPassphrase | KeystoreError::TooSoon { .. } => {
            super::key_managers::WRONG_PASSPHRASE.with(wrong_passphrase(error))
        }
        KeystoreError::SamePassphrase => super::key_managers::SAME_PASSPHRASE.problem(),
        error => of_cause(None, error.into(), chain(error)),
    }
}

/// Clients look for the first sentence.
fn wrong_passphrase(error: &KeystoreError) -> String {
    match error {
        // It may be right.
        KeystoreError::TooSoon { .. } => format!("The passphrase was not checked: {error}."),
        _ => "Cluster-wide passphrase is incorrect.".to_owned(),
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
