//! Why a named volume could not be made, found, changed or deleted.

use claviger_wrap::{RandomError, SvmId};
use uuid::Uuid;

use crate::cause::Cause;
use crate::error::{Advice, Blame, Fault};
use crate::key_error::KeyError;
use crate::records::RecordError;
use crate::volume::{NewVolume, VolumeName};

/// Why a named volume could not be made, found, changed or deleted. Nothing has changed then, unless the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// There is no SVM with this UUID.
    #[error("SVM {svm} does not exist")]
    UnknownSvm {
        /// The UUID.
        svm: SvmId,
    },
    /// There is no named volume with this UUID.
    #[error("volume {volume} does not exist")]
    Unknown {
        /// The UUID.
        volume: Uuid,
    },
    /// The SVM has no volume of this name.
    #[error("volume \"{name}\" does not exist in SVM {svm}")]
    UnknownName {
        /// The SVM.
        svm: SvmId,
        /// The name.
        name: VolumeName,
    },
    /// Another volume of the SVM has this name.
    #[error("a volume named \"{name}\" exists already in SVM {svm}; choose another name")]
    NameTaken {
        /// The SVM.
        svm: SvmId,
        /// The name.
        name: VolumeName,
    },
    /// Another volume has this UUID.
    #[error("a volume with the UUID {volume} exists already; choose another UUID, or leave it out")]
    Exists {
        /// The UUID.
        volume: Uuid,
    },
    /// More aggregates than a record can hold.
    #[error("the volume lies on {found} aggregates; at most {} can be kept", NewVolume::MAX_AGGREGATES)]
    TooManyAggregates {
        /// How many were given.
        found: usize,
    },
    /// The volume has no key that could be rotated.
    #[error("the volume \"{name}\" ({volume}) is not encrypted")]
    NotEncrypted {
        /// The UUID.
        volume: Uuid,
        /// Its name.
        name: VolumeName,
    },
    /// Its key could not be made, rotated or read.
    #[error(transparent)]
    Key(KeyError),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl From<KeyError> for VolumeError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownSvm { svm } => Self::UnknownSvm { svm },
            KeyError::Records(error) => Self::Records(error),
            error => Self::Key(error),
        }
    }
}

impl From<RandomError> for VolumeError {
    fn from(error: RandomError) -> Self {
        Self::Records(error.into())
    }
}

impl Blame for VolumeError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::UnknownSvm { .. }
            | Self::Unknown { .. }
            | Self::UnknownName { .. }
            | Self::NameTaken { .. }
            | Self::Exists { .. }
            | Self::TooManyAggregates { .. }
            | Self::NotEncrypted { .. } => (Fault::Caller, Advice::Correct),
            Self::Key(error) => error.blame(),
            Self::Records(error) => error.blame(),
        }
    }
}

impl From<&VolumeError> for Cause {
    fn from(error: &VolumeError) -> Self {
        match error {
            VolumeError::UnknownSvm { .. }
            | VolumeError::Unknown { .. }
            | VolumeError::UnknownName { .. }
            | VolumeError::NameTaken { .. }
            | VolumeError::Exists { .. }
            | VolumeError::TooManyAggregates { .. }
            | VolumeError::NotEncrypted { .. } => Self::Request,
            VolumeError::Key(error) => error.into(),
            VolumeError::Records(error) => error.into(),
        }
    }
}
