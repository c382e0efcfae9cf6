//! The records of a hierarchy other than key records: versioned JSON, sealed with the store's sealing key
//! (`docs/formats.md`, records). One module per record; their types' fields are the JSON members.

mod certificate;
mod epoch;
mod job;
mod kek;
mod keystore;
mod node;
mod settings;
mod subject;
mod svm;
pub(crate) mod svm_keystores;
mod volume;

use std::fmt;
use std::sync::Arc;

use claviger_store::{Expect, Store, StoreError, Table};
use claviger_wrap::{RandomError, RecordPlace, SealingKey, SystemRandom, UnsealError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::anchor::AnchorError;

pub(crate) use certificate::{CertificateNameRecord, CertificateRecord, SealedPart};
pub(crate) use epoch::{AnchorRecord, EpochRecord};
pub(crate) use job::{DisableStep, JobRecord, MoveStep, Phase, Purpose, RekeyStep, Stop, Task};
pub(crate) use kek::{KekEntry, KekList, Kept, Operation, SealRecord};
pub(crate) use keystore::{Attempts, KeystoreRecord, OnboardRecord};
pub(crate) use node::NodeRecord;
pub(crate) use settings::SettingsRecord;
pub use subject::Subject;
pub(crate) use svm::{NameRecord, SvmRecord};
pub(crate) use svm_keystores::{Configuration, KeeperRecord, SvmKeystores};
pub(crate) use volume::{NewestKey, VolumeNameRecord, VolumeRecord};

/// A record's body. `Serialize` and `Deserialize` give the JSON, which must refuse members that it does not know.
pub(crate) trait Body: Serialize + DeserializeOwned {
    const TABLE: Table;

    /// The record's key in its table.
    fn key(&self) -> Vec<u8>;
}

/// The `version` member of every record: 1, and no other is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct V1;

impl Serialize for V1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!("record version {other} is unknown"))),
        }
    }
}

/// A record as it was read: what it says, and the bytes to expect when it is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Read<T> {
    pub(crate) body: T,
    pub(crate) raw: Vec<u8>,
}

impl<T: Body> Read<T> {
    /// "Unchanged since it was read."
    pub(crate) fn unchanged(&self) -> Expect {
        Expect::Exactly(self.raw.clone())
    }
}

/// Bytes of a sealed record that are the same in all records of its table (`docs/formats.md`, sealed record).
const PREFIX_LEN: usize = 24;

/// Reads and seals records.
pub(crate) struct Records {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
}

impl Records {
    pub(crate) fn new(store: Arc<dyn Store>, sealing: Arc<SealingKey>) -> Self {
        Self { store, sealing }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(crate) fn sealing(&self) -> &SealingKey {
        &self.sealing
    }

    /// The record under `key`, or `None`.
    pub(crate) fn read<T: Body>(&self, key: &[u8]) -> Result<Option<Read<T>>, RecordError> {
        match self.store.get(T::TABLE, key)? {
            Some(raw) => open(&self.sealing, key, raw).map(Some),
            None => Ok(None),
        }
    }

    /// All records of a table whose keys begin with `prefix`, each opened or with the reason why not.
    pub(crate) fn scan<T: Body>(&self, prefix: &[u8]) -> Result<Vec<Scanned<T>>, StoreError> {
        self.scan_where(prefix, |_| true)
    }

    /// The same of those whose keys are `wanted`.
    pub(crate) fn scan_where<T: Body>(
        &self,
        prefix: &[u8],
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Scanned<T>>, StoreError> {
        const PAGE: usize = 256;
        let mut all = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(T::TABLE, prefix, after.as_deref(), PAGE)?;
            let last = page.len() < PAGE;
            after = page.last().map(|entry| entry.key.clone());
            all.extend(page.into_iter().filter(|entry| wanted(&entry.key)).map(|entry| {
                let read = open(&self.sealing, &entry.key, entry.value);
                Scanned { key: entry.key, read }
            }));
            if last {
                return Ok(all);
            }
        }
    }

    /// The bytes of `body` as a record, for a commit.
    pub(crate) fn seal<T: Body>(&self, body: &T) -> Result<Vec<u8>, RecordError> {
        seal(&self.sealing, body)
    }

    /// Opens the record that was read under `key`.
    pub(crate) fn open<T: Body>(&self, key: &[u8], raw: Vec<u8>) -> Result<Read<T>, RecordError> {
        open(&self.sealing, key, raw)
    }

    /// Whether these bytes are a record that was sealed for this place.
    pub(crate) fn is_sealed_for(&self, table: Table, key: &[u8], raw: &[u8]) -> bool {
        self.sealing.open(RecordPlace { table: table.number(), key }, raw).is_ok()
    }

    /// The record with the prefix that each record of the table has. `None` where it is too short to have one.
    pub(crate) fn with_right_prefix(
        &self,
        table: Table,
        key: &[u8],
        raw: &[u8],
    ) -> Result<Option<Vec<u8>>, RandomError> {
        let model = self.sealing.seal(RecordPlace { table: table.number(), key }, &[], &mut SystemRandom)?;
        Ok(model
            .split_at_checked(PREFIX_LEN)
            .zip(raw.get(PREFIX_LEN..))
            .map(|((prefix, _), rest)| [prefix, rest].concat()))
    }
}

/// The bytes of `body` as a record.
pub(crate) fn seal<T: Body>(sealing: &SealingKey, body: &T) -> Result<Vec<u8>, RecordError> {
    let key = body.key();
    let place = RecordPlace { table: T::TABLE as u8, key: &key };
    let json =
        serde_json::to_vec(body).map_err(|source| RecordError::Body { name: RecordName::of::<T>(&key), source })?;
    Ok(sealing.seal(place, &json, &mut SystemRandom)?)
}

/// The record that was read under `key`.
pub(crate) fn open<T: Body>(sealing: &SealingKey, key: &[u8], raw: Vec<u8>) -> Result<Read<T>, RecordError> {
    let place = RecordPlace { table: T::TABLE as u8, key };
    let sealed = |source| RecordError::Sealed { name: RecordName::of::<T>(key), source };
    let json = sealing.open(place, &raw).map_err(sealed)?;
    Ok(Read { body: parse(key, &json)?, raw })
}

/// The body of the record under `key`.
pub(crate) fn parse<T: Body>(key: &[u8], json: &[u8]) -> Result<T, RecordError> {
    let name = || RecordName::of::<T>(key);
    let body: T = serde_json::from_slice(json).map_err(|source| RecordError::Body { name: name(), source })?;
    match body.key() == key {
        true => Ok(body),
        false => Err(RecordError::Misplaced { name: name() }),
    }
}

/// One record of a scan.
pub(crate) struct Scanned<T> {
    pub(crate) key: Vec<u8>,
    pub(crate) read: Result<Read<T>, RecordError>,
}

/// Names a record of the store: its table and its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName {
    /// The table.
    pub table: Table,
    /// The key in that table.
    pub key: Vec<u8>,
}

impl RecordName {
    pub(crate) fn of<T: Body>(key: &[u8]) -> Self {
        Self { table: T::TABLE, key: key.to_vec() }
    }

    /// What the record is about, as its table and key say.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::of(self.table, &self.key)
    }
}

impl fmt::Display for RecordName {
    /// The table and the key in hex: `keks/6f1c…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, hex::encode(&self.key))
    }
}

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The store failed.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The random source failed.
    #[error("a record could not be sealed")]
    Random(#[from] RandomError),
    /// The record does not open with the store's sealing key.
    #[error("record {name} does not open")]
    Sealed {
        /// Which record.
        name: RecordName,
        /// Why.
        source: UnsealError,
    },
    /// The record opened, and what it says is not what this release reads.
    #[error("record {name} is not as this release reads it; it may be of a later release")]
    Body {
        /// Which record.
        name: RecordName,
        /// What differs.
        source: serde_json::Error,
    },
    /// A record that must be there is not.
    #[error("record {name} is missing")]
    Lost {
        /// Which record.
        name: RecordName,
    },
    /// The change was refused because the anchor against rollback cannot be raised.
    #[error("no change is made before the anchor outside the store is raised; see to it, then try again")]
    Anchor(#[from] AnchorError),
    /// The change was refused because the epoch's record is damaged or missing.
    #[error(
        "the record of the store's epoch is damaged or missing, so that an older copy would not be noticed; put it back from a copy, or accept the store as it is (danger_accept_rollback)"
    )]
    EpochLost,
    /// The change was refused because the store is another than was opened: an older copy was put in its place.
    #[error(
        "the store was put back to an older copy while it was open: it is at epoch {store}, and had reached {known}; close it, put the newest store back, and open that"
    )]
    RolledBack {
        /// The store's epoch.
        store: u64,
        /// The epoch that this process knows it to have reached.
        known: u64,
    },
    /// The record opened, and its body names another key than its own.
    #[error("record {name} names another key than its own; report this")]
    Misplaced {
        /// Which record.
        name: RecordName,
    },
}

impl RecordError {
    /// Whether the change was certainly not made.
    pub(crate) const fn leaves_nothing(&self) -> bool {
        match self {
            // A disk that runs full in the middle of a write tells with the next call.
            Self::Store(error) => matches!(error, StoreError::Conflict { .. }),
            Self::Random(_)
            | Self::Sealed { .. }
            | Self::Body { .. }
            | Self::Lost { .. }
            | Self::Anchor(_)
            | Self::EpochLost
            | Self::RolledBack { .. }
            | Self::Misplaced { .. } => true,
        }
    }
}

/// The digits of bytes, which the format spells in one way.
fn lower_case<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let digits = String::deserialize(deserializer)?;
    match digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        true => Err(serde::de::Error::custom("hex digits are not in lower case")),
        false => Ok(digits),
    }
}

/// Bytes as lower-case hex, of one exact length.
pub(crate) mod hex_array {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<const N: usize, S: Serializer>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; N], D::Error> {
        let mut bytes = [0; N];
        hex::decode_to_slice(super::lower_case(deserializer)?, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(bytes)
    }
}

/// Bytes as lower-case hex.
pub(crate) mod hex_bytes {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(super::lower_case(deserializer)?).map_err(serde::de::Error::custom)
    }
}
