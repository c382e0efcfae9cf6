//! What kind of thing went wrong: of the same few kinds for every error, and kept with a job that failed.

use std::fmt;

use claviger_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::job_error::JobError;
use crate::keeper::{KeeperError, Trouble};
use crate::key_error::KeyError;
use crate::key_record::KeyRecordError;
use crate::keystores::KeystoreError;
use crate::onboard_deletion::DeleteOnboardError;
use crate::own_keeper::NoKeeper;
use crate::records::RecordError;
use crate::rekey::RekeyError;
use crate::svm_keystore_error::SvmKeystoreError;
use crate::svms::SvmError;

/// What kind of thing went wrong.
///
/// It says what was met, where [`Blame`](crate::Blame) says whose fault it is and what to do. Every error that a job can end with has
/// one, so that a program can tell failed jobs from one another without reading their messages. The list is closed: a new kind is a
/// new meaning, which whoever translates it has to decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// What was asked for cannot be done as asked.
    Request,
    /// Another operation has what was asked for, or has changed it meanwhile.
    Conflict,
    /// A passphrase is missing or wrong.
    Passphrase,
    /// A key's record is gone.
    KeyMissing,
    /// A key's record is no key blob of a known format.
    KeyLayout,
    /// A key's record is of another place, or under a KEK that the SVM does not have.
    KeyMisplaced,
    /// A key's record has the right layout, place and KEK, and its tag fails.
    KeyDamaged,
    /// The SVM's KEK does not open: what its keeper kept, or the record that names it, is damaged or missing.
    KekDamaged,
    /// The keeper did not answer.
    KeeperUnreachable,
    /// The keeper answered that it does not do it: the top-level key is missing, unsuitable or another, or the credential is refused or not
    /// enough.
    KeeperRefused,
    /// The keeper answered what it must not.
    KeeperMisbehaved,
    /// The keeper gave back another KEK than it was given.
    KeptOtherwise,
    /// The system's random source failed.
    Random,
    /// The store could not read or write, or its anchor could not.
    Store,
    /// What is in the store is damaged, missing or out of date.
    StoreDamaged,
    /// The node has no room in key memory, or no thread.
    Node,
    /// Something that should not happen.
    Other,
}

impl Cause {
    /// The cause in a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "cannot be done as asked",
            Self::Conflict => "another operation was in the way",
            Self::Passphrase => "passphrase missing or wrong",
            Self::KeyMissing => "key missing",
            Self::KeyLayout => "key of no known format",
            Self::KeyMisplaced => "key of another place or KEK",
            Self::KeyDamaged => "key damaged",
            Self::KekDamaged => "KEK damaged",
            Self::KeeperUnreachable => "keeper unreachable",
            Self::KeeperRefused => "keeper refused",
            Self::KeeperMisbehaved => "keeper misbehaved",
            Self::KeptOtherwise => "keeper gave back another KEK",
            Self::Random => "random source failed",
            Self::Store => "store failed",
            Self::StoreDamaged => "store damaged",
            Self::Node => "no room or no thread on the node",
            Self::Other => "should not happen",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Trouble> for Cause {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable => Self::KeeperUnreachable,
            Trouble::CredentialRefused
            | Trouble::KeyMissing
            | Trouble::Forbidden
            | Trouble::KeyUnsuitable
            | Trouble::OtherKey => Self::KeeperRefused,
            Trouble::Misbehaving => Self::KeeperMisbehaved,
        }
    }
}

impl From<&KeeperError> for Cause {
    fn from(error: &KeeperError) -> Self {
        match (error, error.trouble()) {
            (_, Some(trouble)) => trouble.into(),
            (KeeperError::Arena(_), None) => Self::Node,
            (_, None) => Self::KekDamaged,
        }
    }
}

impl From<&StoreError> for Cause {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Conflict,
            StoreError::Damaged { .. } => Self::StoreDamaged,
            StoreError::ReadOnly | StoreError::Forked { .. } => Self::Request,
            StoreError::DiskFull { .. } | StoreError::Io(_) | StoreError::Failed { .. } => Self::Store,
            _ => Self::Other,
        }
    }
}

impl From<&RecordError> for Cause {
    fn from(error: &RecordError) -> Self {
        match error {
            RecordError::Store(error) => error.into(),
            RecordError::Random(_) => Self::Random,
            RecordError::Anchor(_) => Self::Store,
            RecordError::Sealed { .. }
            | RecordError::Body { .. }
            | RecordError::Lost { .. }
            | RecordError::EpochLost
            | RecordError::RolledBack { .. } => Self::StoreDamaged,
            RecordError::Misplaced { .. } => Self::Other,
        }
    }
}

impl From<&KeyRecordError> for Cause {
    fn from(error: &KeyRecordError) -> Self {
        match error {
            KeyRecordError::Blob(_) | KeyRecordError::Versions => Self::KeyLayout,
            KeyRecordError::StoreKey | KeyRecordError::OtherPlace { .. } => Self::KeyMisplaced,
        }
    }
}

impl From<&KeyError> for Cause {
    fn from(error: &KeyError) -> Self {
        match error {
            KeyError::UnknownSvm { .. }
            | KeyError::Exists { .. }
            | KeyError::OfVolume { .. }
            | KeyError::Rotating { .. }
            | KeyError::NotRotating { .. }
            | KeyError::Versions { .. }
            | KeyError::NoKeystore
            | KeyError::KeystoreUnusable { .. }
            | KeyError::SealsExhausted { .. } => Self::Request,
            KeyError::KeystoreBeingDisabled { .. }
            | KeyError::KeystoreBeingDeleted
            | KeyError::SvmBeingDeleted { .. }
            | KeyError::KeksChanged { .. }
            | KeyError::StillLive { .. } => Self::Conflict,
            KeyError::Locked { .. } | KeyError::KeystoreLocked => Self::Passphrase,
            KeyError::Missing { .. } | KeyError::VolumeKeyMissing { .. } => Self::KeyMissing,
            KeyError::Layout { source, .. } | KeyError::StoreKey { source, .. } => source.into(),
            KeyError::NoSuchKek { .. } => Self::KeyMisplaced,
            KeyError::Damaged { .. } => Self::KeyDamaged,
            KeyError::NoKek { .. } | KeyError::KekDamaged { .. } => Self::KekDamaged,
            KeyError::KeystoreLost { .. } | KeyError::KeystoresDamaged { .. } => Self::StoreDamaged,
            // Nobody has asked its keeper yet.
            KeyError::KekNotFetched { .. } => Self::KeeperUnreachable,
            KeyError::KekUnreachable { trouble, .. } | KeyError::KekRefused { trouble, .. } => (*trouble).into(),
            KeyError::KeptOtherwise => Self::KeptOtherwise,
            KeyError::Keeper(error) => error.into(),
            KeyError::KekWithoutRoom { .. } | KeyError::Arena(_) => Self::Node,
            KeyError::Random(_) => Self::Random,
            KeyError::Sealing => Self::Other,
            KeyError::Records(error) => error.into(),
        }
    }
}

impl From<&RekeyError> for Cause {
    fn from(error: &RekeyError) -> Self {
        match error {
            RekeyError::NoKeys { .. } | RekeyError::Mixed { .. } | RekeyError::Versions(_) => Self::Request,
            RekeyError::KeystoreBusy { .. } | RekeyError::KeystoresChanged => Self::Conflict,
            RekeyError::Key(error) => error.into(),
            RekeyError::Thread(_) => Self::Node,
            RekeyError::Records(error) => error.into(),
        }
    }
}

impl From<&NoKeeper> for Cause {
    fn from(error: &NoKeeper) -> Self {
        match error {
            #[cfg(feature = "barbican")]
            NoKeeper::Barbican(error) => error.into(),
            NoKeeper::NotBuilt { .. } => Self::Request,
            NoKeeper::Arena(_) => Self::Node,
        }
    }
}

#[cfg(feature = "barbican")]
impl From<&crate::barbican::BarbicanSetupError> for Cause {
    fn from(error: &crate::barbican::BarbicanSetupError) -> Self {
        use crate::barbican::BarbicanSetupError;
        use claviger_barbican::SetupError;
        match error {
            BarbicanSetupError::Client(SetupError::Arena(_) | SetupError::Thread(_)) | BarbicanSetupError::Arena(_) => {
                Self::Node
            }
            BarbicanSetupError::Client(_) | BarbicanSetupError::Timeout { .. } => Self::Request,
            BarbicanSetupError::Url(_) | BarbicanSetupError::DamagedCredential => Self::StoreDamaged,
            BarbicanSetupError::Random(_) => Self::Random,
        }
    }
}

impl From<&SvmKeystoreError> for Cause {
    fn from(error: &SvmKeystoreError) -> Self {
        match error {
            SvmKeystoreError::UnknownSvm { .. }
            | SvmKeystoreError::Unknown { .. }
            | SvmKeystoreError::Admin
            | SvmKeystoreError::TheClusters { .. }
            | SvmKeystoreError::NameTaken { .. }
            | SvmKeystoreError::TooMany
            | SvmKeystoreError::Enabled { .. }
            | SvmKeystoreError::AnotherEnabled { .. }
            | SvmKeystoreError::NotEnabled { .. }
            | SvmKeystoreError::NoneEnabled { .. }
            | SvmKeystoreError::NotADestination { .. }
            | SvmKeystoreError::KeptThere { .. }
            | SvmKeystoreError::SameKey { .. }
            | SvmKeystoreError::Mixed { .. }
            | SvmKeystoreError::NoKeys { .. }
            | SvmKeystoreError::KeepsKeys { .. } => Self::Request,
            SvmKeystoreError::Busy { .. }
            | SvmKeystoreError::Rekeying { .. }
            | SvmKeystoreError::SvmBeingDeleted { .. }
            | SvmKeystoreError::NotHeld { .. } => Self::Conflict,
            SvmKeystoreError::Keeps { .. } | SvmKeystoreError::Damaged { .. } => Self::StoreDamaged,
            SvmKeystoreError::Refused(_) => Self::Request,
            SvmKeystoreError::Settings(error) => error.into(),
            SvmKeystoreError::Keeper(error) => error.into(),
            SvmKeystoreError::Key(error) => error.into(),
            SvmKeystoreError::Random(_) => Self::Random,
            SvmKeystoreError::Thread(_) => Self::Node,
            SvmKeystoreError::Records(error) => error.into(),
        }
    }
}

impl From<&KeystoreError> for Cause {
    fn from(error: &KeystoreError) -> Self {
        match error {
            KeystoreError::Exists
            | KeystoreError::None
            | KeystoreError::Refused(_)
            | KeystoreError::SamePassphrase
            | KeystoreError::Passphrase(_) => Self::Request,
            KeystoreError::Locked | KeystoreError::WrongPassphrase | KeystoreError::TooSoon { .. } => Self::Passphrase,
            KeystoreError::DamagedCkek => Self::KekDamaged,
            KeystoreError::DamagedRecord | KeystoreError::Lost => Self::StoreDamaged,
            KeystoreError::Arena(_) => Self::Node,
            KeystoreError::Random(_) => Self::Random,
            KeystoreError::Generate(error) => match error {
                claviger_wrap::GenerateError::Arena(_) => Self::Node,
                claviger_wrap::GenerateError::Random(_) => Self::Random,
                _ => Self::Other,
            },
            KeystoreError::Records(error) => error.into(),
        }
    }
}

impl From<&DeleteOnboardError> for Cause {
    fn from(error: &DeleteOnboardError) -> Self {
        match error {
            DeleteOnboardError::None | DeleteOnboardError::Refused(_) => Self::Request,
            DeleteOnboardError::Busy { .. } => Self::Conflict,
            DeleteOnboardError::DamagedRecord => Self::StoreDamaged,
            DeleteOnboardError::Looking(error) | DeleteOnboardError::Kek { source: error, .. } => error.into(),
            DeleteOnboardError::Record { source } | DeleteOnboardError::Announcing(source) => source.into(),
        }
    }
}

impl From<&SvmError> for Cause {
    fn from(error: &SvmError) -> Self {
        match error {
            SvmError::Unknown { .. }
            | SvmError::UnknownName { .. }
            | SvmError::NameTaken { .. }
            | SvmError::Admin
            | SvmError::HasKeys { .. }
            | SvmError::HasVolumes { .. }
            | SvmError::HasCertificates { .. }
            | SvmError::HasKeystores { .. } => Self::Request,
            SvmError::Busy { .. } => Self::Conflict,
            SvmError::Keeper(error) => error.into(),
            SvmError::Records(error) => error.into(),
        }
    }
}

impl From<&JobError> for Cause {
    fn from(error: &JobError) -> Self {
        match error {
            JobError::Unknown { .. }
            | JobError::Ended { .. }
            | JobError::TooLate { .. }
            | JobError::Cancelled { .. }
            | JobError::Interrupted { .. } => Self::Request,
            JobError::Locked { .. } => Self::Passphrase,
            JobError::Failed { cause, .. } => *cause,
            JobError::Thread(_) => Self::Node,
            JobError::Records(error) => error.into(),
        }
    }
}
