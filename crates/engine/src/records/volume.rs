//! The `volumes` records: one per named volume, and one per name, so that an SVM gives a name once.

use claviger_store::Table;
use claviger_wrap::{KeyVersion, SvmId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, V1};
use crate::key_record::ObjectRef;
use crate::volume::{AggregateRef, VolumeKind, VolumeName, VolumePosition};

const BY_ID: u8 = 0;
const BY_NAME: u8 = 1;

/// A named volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VolumeRecord {
    pub(crate) version: V1,
    /// The volume's UUID.
    pub(crate) volume: Uuid,
    /// The SVM.
    pub(crate) svm: Uuid,
    /// Its name in the SVM.
    pub(crate) name: VolumeName,
    /// Bytes, as they were given.
    pub(crate) size: Option<u64>,
    pub(crate) kind: VolumeKind,
    pub(crate) aggregates: Vec<AggregateRef>,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// The newest version of its key; null where it is not encrypted.
    pub(crate) key: Option<NewestKey>,
}

/// Which version of a volume's key is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewestKey {
    #[serde(with = "key_version")]
    pub(crate) key_version: KeyVersion,
    /// When it was made.
    pub(crate) made: Timestamp,
}

impl VolumeRecord {
    /// The prefix of all volumes' keys.
    pub(crate) const PREFIX: &[u8] = &[BY_ID];

    pub(crate) fn key_of(volume: Uuid) -> Vec<u8> {
        [&[BY_ID], volume.as_bytes().as_slice()].concat()
    }

    /// The volume that a key of this kind names.
    pub(crate) fn volume_of(key: &[u8]) -> Option<Uuid> {
        match key.split_first()? {
            (&BY_ID, volume) => Uuid::from_slice(volume).ok(),
            _ => None,
        }
    }

    /// What its key encrypts.
    pub(crate) const fn object(&self) -> ObjectRef {
        ObjectRef::Volume(self.volume)
    }

    /// The record of its name.
    pub(crate) fn naming(&self) -> VolumeNameRecord {
        VolumeNameRecord { version: V1, svm: self.svm, name: self.name.clone(), volume: self.volume }
    }
}

impl Body for VolumeRecord {
    const TABLE: Table = Table::Volumes;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.volume)
    }
}

/// A name that is taken in an SVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VolumeNameRecord {
    pub(crate) version: V1,
    /// The SVM.
    pub(crate) svm: Uuid,
    /// The name.
    pub(crate) name: VolumeName,
    /// The volume that has it.
    pub(crate) volume: Uuid,
}

impl VolumeNameRecord {
    /// What the keys of all names begin with, or of those of one SVM.
    pub(crate) fn prefix(svm: Option<SvmId>) -> Vec<u8> {
        std::iter::once(BY_NAME).chain(svm.iter().flat_map(|svm| *svm.as_bytes())).collect()
    }

    pub(crate) fn key_of(svm: SvmId, name: &VolumeName) -> Vec<u8> {
        [&Self::prefix(Some(svm)), name.as_str().as_bytes()].concat()
    }

    /// What a key of this kind names.
    pub(crate) fn position_of(key: &[u8]) -> Option<VolumePosition> {
        let (svm, name) = match key.split_first()? {
            (&BY_NAME, rest) => rest.split_first_chunk::<16>()?,
            _ => return None,
        };
        Some(VolumePosition { svm: SvmId::from_bytes(*svm), name: std::str::from_utf8(name).ok()?.parse().ok()? })
    }
}

impl Body for VolumeNameRecord {
    const TABLE: Table = Table::Volumes;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.svm.into(), &self.name)
    }
}

mod key_version {
    use claviger_wrap::KeyVersion;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(version: &KeyVersion, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(version.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyVersion, D::Error> {
        KeyVersion::new(u32::deserialize(deserializer)?).ok_or(serde::de::Error::custom("key version is 0"))
    }
}
