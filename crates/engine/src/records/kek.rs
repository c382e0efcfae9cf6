//! The `keks` records: an SVM's live KEKs, and how many seals each may have used.

use claviger_store::Table;
use claviger_wrap::{KekId, KekVersion, SvmId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, V1, hex_array, hex_bytes};

/// The live KEKs of one SVM. Whoever writes a blob under the current KEK expects this record unchanged, so that no blob
/// appears under a KEK that a rekey has replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KekList {
    pub(crate) version: V1,
    /// The SVM.
    pub(crate) svm: Uuid,
    /// New blobs are sealed under this one.
    pub(crate) current: KekEntry,
    /// The one before, while blobs under it may exist.
    pub(crate) retiring: Option<KekEntry>,
    /// The structural operation that has this SVM to itself.
    pub(crate) operation: Option<Operation>,
}

/// One version of an SVM's KEK.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KekEntry {
    #[serde(with = "kek_version")]
    pub(crate) kek_version: KekVersion,
    #[serde(with = "kek_id")]
    pub(crate) kek_id: KekId,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Each is enough to open it: one today, a list so that a second keeper can stand in.
    pub(crate) kept: Vec<Kept>,
}

/// A KEK as one keeper keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// The keystore whose keeper it is.
    pub(crate) keystore: Uuid,
    /// What the keeper returned; for the onboard keeper, the KEK wrapped under the CKEK by RFC 3394.
    #[serde(with = "hex_bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// What may run on an SVM one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Operation {
    /// The rekey with this job.
    Rekey { job: Uuid },
    /// The SVM is being deleted: no key may be made any more.
    Delete,
    /// The keystore that keeps its KEKs is being disabled by this job: no key may be made meanwhile.
    Disable { job: Uuid },
    /// The cluster's keystore, which keeps its KEKs, is being deleted: no key may be made meanwhile.
    DeleteKeystore,
}

impl Operation {
    /// The job that it is of.
    pub(crate) const fn job(self) -> Option<Uuid> {
        match self {
            Self::Rekey { job } | Self::Disable { job } => Some(job),
            Self::Delete | Self::DeleteKeystore => None,
        }
    }
}

impl KekList {
    pub(crate) fn key_of(svm: SvmId) -> Vec<u8> {
        svm.as_bytes().to_vec()
    }

    /// Whether a key of the table `keks` is a list's.
    pub(crate) const fn is_key(key: &[u8]) -> bool {
        key.len() == size_of::<SvmId>()
    }

    /// Whether this keystore keeps one of them.
    pub(crate) fn is_kept_by(&self, keystore: Uuid) -> bool {
        self.entries().any(|entry| entry.kept.iter().any(|kept| kept.keystore == keystore))
    }

    /// The live versions, the current one first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &KekEntry> {
        std::iter::once(&self.current).chain(&self.retiring)
    }
}

impl Body for KekList {
    const TABLE: Table = Table::Keks;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.svm.into())
    }
}

/// How many seals of one KEK may have been used.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealRecord {
    pub(crate) version: V1,
    /// The SVM.
    pub(crate) svm: Uuid,
    #[serde(with = "kek_version")]
    pub(crate) kek_version: KekVersion,
    /// Raised before the seals are used: never too low.
    pub(crate) reserved: u64,
}

impl SealRecord {
    pub(crate) fn key_of(svm: SvmId, version: KekVersion) -> Vec<u8> {
        [svm.as_bytes().as_slice(), &version.get().to_be_bytes()].concat()
    }
}

impl Body for SealRecord {
    const TABLE: Table = Table::Keks;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.svm.into(), self.kek_version)
    }
}

mod kek_version {
    use claviger_wrap::KekVersion;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(version: &KekVersion, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(version.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KekVersion, D::Error> {
        KekVersion::new(u32::deserialize(deserializer)?).ok_or(serde::de::Error::custom("KEK version is 0"))
    }
}

mod kek_id {
    use super::hex_array;
    use claviger_wrap::KekId;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &KekId, serializer: S) -> Result<S::Ok, S::Error> {
        hex_array::serialize(id.as_bytes(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KekId, D::Error> {
        hex_array::deserialize(deserializer).map(KekId::from_bytes)
    }
}
