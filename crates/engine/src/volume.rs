//! What is known of a named volume.

use std::fmt;
use std::str::FromStr;

use claviger_wrap::SvmId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::keys::KeyInfo;

/// The name of a volume in its SVM: 1 to 203 ASCII letters, digits and `_`, of which the first is no digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

/// The name of an aggregate: 1 to 50 ASCII letters, digits and `_`, of which the first is no digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AggregateName(String);

macro_rules! name {
    ($name:ident, $max:literal, $invalid:ident, $doc:literal, $message:literal) => {
        impl $name {
            /// The most bytes of a name.
            pub const MAX_LEN: usize = $max;

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $invalid;

            fn try_from(name: String) -> Result<Self, $invalid> {
                let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
                let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                match first && rest && name.len() <= Self::MAX_LEN {
                    true => Ok(Self(name)),
                    false => Err($invalid),
                }
            }
        }

        impl FromStr for $name {
            type Err = $invalid;

            fn from_str(name: &str) -> Result<Self, $invalid> {
                Self::try_from(name.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $invalid;
    };
}

name! {
    VolumeName, 203, InvalidVolumeName, "Not a name of a volume.",
    "a volume's name has 1 to 203 ASCII letters, digits and '_', and does not begin with a digit"
}
name! {
    AggregateName, 50, InvalidAggregateName, "Not a name of an aggregate.",
    "an aggregate's name has 1 to 50 ASCII letters, digits and '_', and does not begin with a digit"
}

/// What a volume is for, as the REST contract has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// Read and written.
    #[default]
    Rw,
    /// The destination of a mirror (data protection).
    Dp,
    /// A copy that shares load.
    Ls,
}

impl VolumeKind {
    /// The contract's word for it: `rw`, `dp` or `ls`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rw => "rw",
            Self::Dp => "dp",
            Self::Ls => "ls",
        }
    }
}

impl fmt::Display for VolumeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An aggregate that a volume lies on, as whoever made the volume named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateRef {
    /// By its name.
    Name(AggregateName),
    /// By its UUID.
    Uuid(Uuid),
    /// By both.
    Both {
        /// Its name.
        name: AggregateName,
        /// Its UUID.
        uuid: Uuid,
    },
}

impl AggregateRef {
    /// Its name, where that was given.
    #[must_use]
    pub const fn name(&self) -> Option<&AggregateName> {
        match self {
            Self::Name(name) | Self::Both { name, .. } => Some(name),
            Self::Uuid(_) => None,
        }
    }

    /// Its UUID, where that was given.
    #[must_use]
    pub const fn uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(uuid) | Self::Both { uuid, .. } => Some(*uuid),
            Self::Name(_) => None,
        }
    }
}

/// A volume to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVolume {
    /// Its UUID; `None` has one made.
    pub id: Option<Uuid>,
    /// Its name, which no other volume of the SVM may have.
    pub name: VolumeName,
    /// Its size in bytes, kept as given.
    pub size: Option<u64>,
    /// What it is for, kept as given.
    pub kind: VolumeKind,
    /// Where it lies, kept as given: at most [`NewVolume::MAX_AGGREGATES`].
    pub aggregates: Vec<AggregateRef>,
    /// Whether it gets a key, XTS-AES-256.
    pub encrypted: bool,
}

impl NewVolume {
    /// The most aggregates of one volume: its record stays small.
    pub const MAX_AGGREGATES: usize = 100;

    /// An encrypted read-write volume of this name.
    #[must_use]
    pub const fn encrypted(name: VolumeName) -> Self {
        Self { id: None, name, size: None, kind: VolumeKind::Rw, aggregates: Vec::new(), encrypted: true }
    }

    /// A read-write volume of this name without a key.
    #[must_use]
    pub const fn unencrypted(name: VolumeName) -> Self {
        Self { id: None, name, size: None, kind: VolumeKind::Rw, aggregates: Vec::new(), encrypted: false }
    }
}

/// A named volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeInfo {
    /// Its UUID.
    pub id: Uuid,
    /// Its SVM.
    pub svm: SvmId,
    /// Its name in the SVM.
    pub name: VolumeName,
    /// Its size in bytes, as it was given.
    pub size: Option<u64>,
    /// What it is for, as it was given.
    pub kind: VolumeKind,
    /// Where it lies, as it was given.
    pub aggregates: Vec<AggregateRef>,
    /// When it was made.
    pub created: Timestamp,
    /// How it is encrypted.
    pub encryption: VolumeEncryption,
}

/// How a volume is encrypted, by its record and by that of its key. The key is not opened for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeEncryption {
    /// It is not.
    Off,
    /// With this key.
    On {
        /// The key.
        key: KeyInfo,
        /// When its newest version was made; `None` where its record is of another time than the volume's.
        made: Option<Timestamp>,
    },
    /// It is, and the record of its key is missing: put that back from a copy.
    KeyMissing,
    /// It is, and the record of its key is damaged or of another place: put that back from a copy.
    KeyDamaged,
}

/// A volume's place in the order of SVM UUID and name: where a page goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumePosition {
    /// The SVM.
    pub svm: SvmId,
    /// The name.
    pub name: VolumeName,
}
