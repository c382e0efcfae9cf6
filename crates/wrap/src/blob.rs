//! The key blob's layout (`docs/formats.md`, key blob). This module reads and writes bytes; `kek` seals and opens them.

use std::fmt;

use crate::ids::{KekId, KekVersion, KeyAlgorithm, KeyType, KeyVersion, ObjectId, SvmId};

/// Bytes of a key blob's header, which is also its associated data.
pub const HEADER_LEN: usize = 64;
pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

const MAGIC: [u8; 4] = *b"CLVG";
const FORMAT: u8 = 1;
const SUITE_AES_256_GCM: u8 = 1;

/// Where a key belongs. A blob opens only in its own place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyPlace {
    /// The SVM that owns the key.
    pub svm: SvmId,
    /// What the key encrypts.
    pub key_type: KeyType,
    /// The volume, aggregate or drive.
    pub object: ObjectId,
    /// Which of the object's keys.
    pub version: KeyVersion,
}

/// A key blob's header: what it holds, where that belongs, and which KEK opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHeader {
    /// The cipher that the key is for.
    pub algorithm: KeyAlgorithm,
    /// Where the key belongs.
    pub place: KeyPlace,
    /// The version of the KEK that seals the blob.
    pub kek_version: KekVersion,
    /// The name of the KEK that seals the blob.
    pub kek_id: KekId,
}

impl KeyHeader {
    /// The 64 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            if let Some((head, tail)) = std::mem::take(&mut rest).split_at_mut_checked(field.len()) {
                head.copy_from_slice(field);
                rest = tail;
            }
        };
        put(&MAGIC);
        put(&[FORMAT, SUITE_AES_256_GCM, self.place.key_type.number(), self.algorithm.number()]);
        put(self.place.svm.as_bytes());
        put(self.place.object.as_bytes());
        put(&self.place.version.get().to_be_bytes());
        put(&self.kek_version.get().to_be_bytes());
        put(self.kek_id.as_bytes());
        bytes
    }

    fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, BlobError> {
        let [m0, m1, m2, m3, format, suite, key_type, algorithm, rest @ ..] = bytes;
        if [*m0, *m1, *m2, *m3] != MAGIC {
            return Err(BlobError::Magic);
        }
        if *format != FORMAT {
            return Err(BlobError::Format { found: *format });
        }
        if *suite != SUITE_AES_256_GCM {
            return Err(BlobError::Suite { found: *suite });
        }
        let key_type = KeyType::from_number(*key_type).ok_or(BlobError::KeyType { found: *key_type })?;
        let algorithm = KeyAlgorithm::from_number(*algorithm).ok_or(BlobError::KeyAlgorithm { found: *algorithm })?;

        let (svm, rest) = array::<16>(rest)?;
        let (object, rest) = array::<16>(rest)?;
        let (version, rest) = array::<4>(rest)?;
        let (kek_version, rest) = array::<4>(rest)?;
        let (kek_id, _) = array::<16>(rest)?;
        Ok(Self {
            algorithm,
            place: KeyPlace {
                svm: SvmId::from_bytes(svm),
                key_type,
                object: ObjectId::from_bytes(object),
                version: KeyVersion::new(u32::from_be_bytes(version)).ok_or(BlobError::KeyVersion)?,
            },
            kek_version: KekVersion::new(u32::from_be_bytes(kek_version)).ok_or(BlobError::KekVersion)?,
            kek_id: KekId::from_bytes(kek_id),
        })
    }

    /// Bytes of the whole blob that this header begins.
    #[must_use]
    pub const fn blob_len(&self) -> usize {
        HEADER_LEN + NONCE_LEN + self.algorithm.key_len() + TAG_LEN
    }
}

/// A key blob whose layout is right. Whether it opens is another question: see [`Kek::open`](crate::Kek::open).
#[derive(Clone, Copy)]
pub struct KeyBlob<'a> {
    bytes: &'a [u8],
    header: KeyHeader,
    pub(crate) header_bytes: &'a [u8; HEADER_LEN],
    pub(crate) nonce: &'a [u8; NONCE_LEN],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_LEN],
}

impl<'a> KeyBlob<'a> {
    /// Reads a blob that is exactly `bytes`.
    ///
    /// # Errors
    /// [`BlobError`] names the first field that is not as the format says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let (blob, rest) = Self::parse_first(bytes)?;
        match rest.len() {
            0 => Ok(blob),
            _ => Err(BlobError::Length { found: bytes.len(), expected: blob.header.blob_len() }),
        }
    }

    /// Reads the blob that `bytes` begin with, and returns what follows it.
    ///
    /// # Errors
    /// As [`KeyBlob::parse`].
    pub fn parse_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BlobError> {
        let truncated = |expected| BlobError::Length { found: bytes.len(), expected };
        let (header_bytes, rest) = bytes.split_first_chunk().ok_or(truncated(HEADER_LEN))?;
        let header = KeyHeader::parse(header_bytes)?;
        let truncated = truncated(header.blob_len());
        let (whole, following) = bytes.split_at_checked(header.blob_len()).ok_or(truncated)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (ciphertext, rest) = rest.split_at_checked(header.algorithm.key_len()).ok_or(truncated)?;
        let (tag, _) = rest.split_first_chunk().ok_or(truncated)?;
        Ok((Self { bytes: whole, header, header_bytes, nonce, ciphertext, tag }, following))
    }

    /// The blob's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the blob says of itself. Nothing of it is proven before the blob opens.
    #[must_use]
    pub const fn header(&self) -> &KeyHeader {
        &self.header
    }
}

impl fmt::Debug for KeyBlob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBlob").field("header", &self.header).finish_non_exhaustive()
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), BlobError> {
    let (field, rest) =
        bytes.split_first_chunk().ok_or(BlobError::Length { found: bytes.len(), expected: HEADER_LEN })?;
    Ok((*field, rest))
}

/// The bytes are not a key blob of a format that this release reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// Shorter or longer than its fields say.
    #[error("key blob: length is {found} bytes, not {expected}: truncated or overlong")]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be, as far as is known.
        expected: usize,
    },
    /// The first four bytes are not `CLVG`.
    #[error("key blob: magic is not CLVG, so this is no key blob")]
    Magic,
    /// A format version that this release does not know.
    #[error("key blob: format version {found} is unknown; this release reads version 1")]
    Format {
        /// What the field holds.
        found: u8,
    },
    /// A suite that this release does not know.
    #[error("key blob: suite {found} is unknown; this release reads suite 1")]
    Suite {
        /// What the field holds.
        found: u8,
    },
    /// A key type that this release does not know.
    #[error("key blob: key type {found} is unknown")]
    KeyType {
        /// What the field holds.
        found: u8,
    },
    /// A key algorithm that this release does not know.
    #[error("key blob: key algorithm {found} is unknown")]
    KeyAlgorithm {
        /// What the field holds.
        found: u8,
    },
    /// The key version is 0.
    #[error("key blob: key version is 0")]
    KeyVersion,
    /// The KEK version is 0.
    #[error("key blob: KEK version is 0")]
    KekVersion,
}
