//! A key record: one blob, or two while a rotation runs (`docs/formats.md`, key record).

use claviger_wrap::{BlobError, KeyBlob, KeyPlace, KeyType, ObjectId, SvmId};
use uuid::Uuid;

/// What a key encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectRef {
    /// A volume; its key is a VEK.
    Volume(Uuid),
    /// An aggregate; its key is an AEK.
    Aggregate(Uuid),
    /// A drive; its key is an NSE-AK.
    Drive(Uuid),
}

impl ObjectRef {
    /// The object of this type with this id.
    #[must_use]
    pub const fn new(key_type: KeyType, object: ObjectId) -> Self {
        match key_type {
            KeyType::Vek => Self::Volume(object.uuid()),
            KeyType::Aek => Self::Aggregate(object.uuid()),
            KeyType::NseAk => Self::Drive(object.uuid()),
        }
    }

    /// The type of its key.
    #[must_use]
    pub const fn key_type(self) -> KeyType {
        match self {
            Self::Volume(_) => KeyType::Vek,
            Self::Aggregate(_) => KeyType::Aek,
            Self::Drive(_) => KeyType::NseAk,
        }
    }

    /// Its UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        match self {
            Self::Volume(uuid) | Self::Aggregate(uuid) | Self::Drive(uuid) => uuid,
        }
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume(uuid) => write!(f, "volume {uuid}"),
            Self::Aggregate(uuid) => write!(f, "aggregate {uuid}"),
            Self::Drive(uuid) => write!(f, "drive {uuid}"),
        }
    }
}

/// Bytes of a key record's key: SVM ‖ key type ‖ object.
pub(crate) const KEY_LEN: usize = 33;

/// The key of an object's record.
pub(crate) fn store_key(svm: SvmId, object: ObjectRef) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    let (svm_part, rest) = key.split_at_mut(16);
    svm_part.copy_from_slice(svm.as_bytes());
    if let Some((type_part, object_part)) = rest.split_first_mut() {
        *type_part = object.key_type().number();
        object_part.copy_from_slice(object.uuid().as_bytes());
    }
    key
}

/// The SVM and object that a record's key names.
pub(crate) fn parse_store_key(key: &[u8]) -> Result<(SvmId, ObjectRef), KeyRecordError> {
    let (svm, rest) = key.split_first_chunk::<16>().ok_or(KeyRecordError::StoreKey)?;
    let (key_type, object) = rest.split_first().ok_or(KeyRecordError::StoreKey)?;
    let key_type = KeyType::from_number(*key_type).ok_or(KeyRecordError::StoreKey)?;
    let object = <[u8; 16]>::try_from(object).map_err(|_| KeyRecordError::StoreKey)?;
    Ok((SvmId::from_bytes(*svm), ObjectRef::new(key_type, ObjectId::from_bytes(object))))
}

/// A record whose layout and place are right.
#[derive(Clone, Copy)]
pub(crate) enum KeyRecord<'a> {
    /// The object's only key.
    Current(KeyBlob<'a>),
    /// A rotation runs: both keys are live.
    Rotating { old: KeyBlob<'a>, new: KeyBlob<'a> },
}

impl<'a> KeyRecord<'a> {
    /// Reads the record of `object`.
    pub(crate) fn parse(svm: SvmId, object: ObjectRef, bytes: &'a [u8]) -> Result<Self, KeyRecordError> {
        let (first, rest) = KeyBlob::parse_first(bytes)?;
        check_place(svm, object, &first)?;
        if rest.is_empty() {
            return Ok(Self::Current(first));
        }
        let second = KeyBlob::parse(rest)?;
        check_place(svm, object, &second)?;
        match first.header().place.version.next() == Ok(second.header().place.version) {
            true => Ok(Self::Rotating { old: first, new: second }),
            false => Err(KeyRecordError::Versions),
        }
    }

    /// The blobs, the older first.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &KeyBlob<'a>> {
        let (first, second) = match self {
            Self::Current(blob) => (blob, None),
            Self::Rotating { old, new } => (old, Some(new)),
        };
        std::iter::once(first).chain(second)
    }

    /// The blob of the newest version.
    pub(crate) const fn newest(&self) -> &KeyBlob<'a> {
        match self {
            Self::Current(blob) | Self::Rotating { new: blob, .. } => blob,
        }
    }
}

fn check_place(svm: SvmId, object: ObjectRef, blob: &KeyBlob<'_>) -> Result<(), KeyRecordError> {
    let found = blob.header().place;
    let expected = KeyPlace { svm, key_type: object.key_type(), object: object.uuid().into(), version: found.version };
    match found == expected {
        true => Ok(()),
        false => Err(KeyRecordError::OtherPlace { found: Box::new(found) }),
    }
}

/// A key record is not as its format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRecordError {
    /// The record's key is not SVM ‖ key type ‖ object.
    #[error("the record's key does not name an SVM, a key type and an object")]
    StoreKey,
    /// A blob's layout is wrong.
    #[error("the record is no key blob of a known format")]
    Blob(#[from] BlobError),
    /// The blob says that it belongs elsewhere.
    #[error("the blob belongs to {} {} of SVM {}: it was moved or copied here", found.key_type, found.object, found.svm)]
    OtherPlace {
        /// Where the blob says that it belongs.
        found: Box<KeyPlace>,
    },
    /// Two blobs whose versions do not follow one another.
    #[error("the record holds two blobs whose key versions do not follow one another")]
    Versions,
}
