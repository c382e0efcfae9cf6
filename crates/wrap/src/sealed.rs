//! Sealed records and the body of a backup: AES-256-GCM under keys that live as long as a store or a backup does
//! (`docs/formats.md`, sealed record and backup).

use std::fmt;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm};
use claviger_secret::{Arena, ArenaError, Guarded, SecretBytes, burned};
use rand_core::TryCryptoRng;
use uuid::Uuid;

use crate::blob::{NONCE_LEN, TAG_LEN};
use crate::derive::Key256;
use crate::kek::{SealError, gcm};
use crate::keywrap::WrappingKey;
use crate::random::{self, RandomError};

const MAGIC: [u8; 4] = *b"CLVS";
const FORMAT: u8 = 1;
const SUITE_AES_256_GCM: u8 = 1;
const RECORD_LABEL: &[u8] = b"claviger-record-1";
const PREFIX_LEN: usize = 24;
const SHORTEST: usize = PREFIX_LEN + NONCE_LEN + TAG_LEN;

/// Where a sealed record belongs: it opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace<'a> {
    /// The table's number.
    pub table: u8,
    /// The record's key in that table, below 4 GiB.
    pub key: &'a [u8],
}

/// Seals a store's records, and opens an unattended keystore's CKEK.
///
/// Any thread may call any method at any time.
pub struct SealingKey {
    arena: Arena,
    key: Key256,
    id: [u8; 16],
    cipher: Guarded<Aes256Gcm>,
}

impl SealingKey {
    /// The sealing key whose bytes are `key`.
    ///
    /// # Errors
    /// The arena is full.
    pub fn new(arena: &Arena, key: Key256) -> Result<Self, ArenaError> {
        let id = key.id(&[b"claviger-seal-id-1"]);
        let cipher = gcm(arena, &key.expand(arena, &[b"claviger-sealing-1"])?)?;
        Ok(Self { arena: arena.clone(), key, id, cipher })
    }

    /// Seals `plain` as the record in `place`.
    ///
    /// # Errors
    /// [`RandomError`] where no nonce could be drawn.
    pub fn seal<R: TryCryptoRng>(
        &self,
        place: RecordPlace<'_>,
        plain: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, RandomError>
    where
        R::Error: Send + Sync + 'static,
    {
        let mut sealed = Vec::with_capacity(PREFIX_LEN + NONCE_LEN + plain.len() + TAG_LEN);
        sealed.extend_from_slice(&MAGIC);
        sealed.extend_from_slice(&[FORMAT, SUITE_AES_256_GCM, place.table, 0]);
        sealed.extend_from_slice(&self.id);
        let aad = record_aad(&sealed, place.key);
        seal_body(&self.cipher, &aad, plain, &mut sealed, random)?;
        Ok(sealed)
    }

    /// Opens the record that was read in `place`.
    ///
    /// # Errors
    /// [`UnsealError`] says whether the bytes are no sealed record, of another sealing key, of another place, or damaged.
    pub fn open(&self, place: RecordPlace<'_>, sealed: &[u8]) -> Result<Vec<u8>, UnsealError> {
        let (prefix, body) = sealed.split_first_chunk::<PREFIX_LEN>().ok_or(UnsealError::Truncated)?;
        // Before any field: what is cut short has not been written by a later release.
        if sealed.len() < SHORTEST {
            return Err(UnsealError::Truncated);
        }
        let [m0, m1, m2, m3, format, suite, table, zero, id @ ..] = prefix;
        if [*m0, *m1, *m2, *m3] != MAGIC {
            return Err(UnsealError::Magic);
        }
        if *format != FORMAT {
            return Err(UnsealError::Format { found: *format });
        }
        if *suite != SUITE_AES_256_GCM {
            return Err(UnsealError::Suite { found: *suite });
        }
        if *zero != 0 {
            return Err(UnsealError::Zero { found: *zero });
        }
        if *id != self.id {
            return Err(UnsealError::OtherSealingKey);
        }
        if *table != place.table {
            return Err(UnsealError::OtherTable { found: *table });
        }
        open_body(&self.cipher, &record_aad(prefix, place.key), body)
    }

    /// The key that seals credentials of keepers within their records, so that opening such a record does not bring them into
    /// ordinary memory.
    ///
    /// # Errors
    /// The arena is full.
    pub fn credentials(&self) -> Result<BodyKey, ArenaError> {
        let cipher = gcm(&self.arena, &self.key.expand(&self.arena, &[b"claviger-credential-1"])?)?;
        Ok(BodyKey { arena: self.arena.clone(), cipher })
    }

    /// The key that wraps the CKEK of the onboard keystore `keystore` while that opens unattended.
    ///
    /// # Errors
    /// The arena is full.
    pub fn unattended(&self, keystore: Uuid) -> Result<WrappingKey, ArenaError> {
        let key = self.key.expand(&self.arena, &[b"claviger-unattended-1", keystore.as_bytes()])?;
        WrappingKey::new(&self.arena, &key)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

/// Seals and opens the body of a backup, and credentials.
pub struct BodyKey {
    arena: Arena,
    cipher: Guarded<Aes256Gcm>,
}

impl BodyKey {
    /// The key for the backups of the hierarchy whose CKEK is `ckek`.
    ///
    /// # Errors
    /// The arena is full.
    pub fn of_backup(arena: &Arena, ckek: &Key256) -> Result<Self, ArenaError> {
        Ok(Self { arena: arena.clone(), cipher: gcm(arena, &ckek.expand(arena, &[b"claviger-backup-1"])?)? })
    }

    /// Seals `plain`: nonce, ciphertext, tag. `header` is bound as associated data.
    ///
    /// # Errors
    /// [`RandomError`] where no nonce could be drawn.
    pub fn seal<R: TryCryptoRng>(&self, header: &[u8], plain: &[u8], random: &mut R) -> Result<Vec<u8>, RandomError>
    where
        R::Error: Send + Sync + 'static,
    {
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
        seal_body(&self.cipher, header, plain, &mut sealed, random)?;
        Ok(sealed)
    }

    /// Opens what [`BodyKey::seal`] made with the same header.
    ///
    /// # Errors
    /// [`UnsealError::Truncated`], [`UnsealError::Damaged`].
    pub fn open(&self, header: &[u8], sealed: &[u8]) -> Result<Vec<u8>, UnsealError> {
        open_body(&self.cipher, header, sealed)
    }

    /// The same of a secret of at most 1,024 bytes, which is nowhere but in the arena.
    ///
    /// # Errors
    /// [`UnsealError`] in [`OpenSecretError::Unseal`]; the arena is full, or the secret too long for it.
    pub fn open_secret(&self, header: &[u8], sealed: &[u8]) -> Result<SecretBytes, OpenSecretError> {
        let (nonce, ciphertext, tag) = parts(sealed)?;
        let mut plain = self.arena.bytes(ciphertext.len())?;
        burned(|_| decrypt(&self.cipher, header, nonce, ciphertext, tag, plain.expose_mut()))?;
        Ok(plain)
    }
}

/// Why a sealed secret did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenSecretError {
    /// It is not what was sealed.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// There is no room for it.
    #[error(transparent)]
    Arena(#[from] ArenaError),
}

impl fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyKey(..)")
    }
}

fn record_aad(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(RECORD_LABEL.len() + PREFIX_LEN + 4 + key.len());
    aad.extend_from_slice(RECORD_LABEL);
    aad.extend_from_slice(prefix);
    aad.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
    aad.extend_from_slice(key);
    aad
}

/// Appends nonce, ciphertext and tag to `out`.
fn seal_body<R: TryCryptoRng>(
    cipher: &Aes256Gcm,
    aad: &[u8],
    plain: &[u8],
    out: &mut Vec<u8>,
    random: &mut R,
) -> Result<(), RandomError>
where
    R::Error: Send + Sync + 'static,
{
    let mut nonce = [0; NONCE_LEN];
    random::fill(random, &mut nonce)?;
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.resize(start + plain.len(), 0);
    let tag = burned(|_| {
        let ciphertext = out.get_mut(start..).ok_or(SealError)?;
        let buffer = InOutBuf::new(plain, ciphertext).map_err(|_| SealError)?;
        cipher.encrypt_inout_detached(&nonce.into(), aad, buffer).map_err(|_| SealError)
    });
    #[expect(clippy::expect_used, reason = "GCM refuses only inputs of 64 GiB and more")]
    out.extend_from_slice(&tag.expect("a record of less than 64 GiB"));
    Ok(())
}

fn open_body(cipher: &Aes256Gcm, aad: &[u8], body: &[u8]) -> Result<Vec<u8>, UnsealError> {
    let (nonce, ciphertext, tag) = parts(body)?;
    let mut plain = vec![0; ciphertext.len()];
    burned(|_| decrypt(cipher, aad, nonce, ciphertext, tag, &mut plain))?;
    Ok(plain)
}

type Parts<'a> = (&'a [u8; NONCE_LEN], &'a [u8], &'a [u8; TAG_LEN]);

/// Nonce, ciphertext and tag.
fn parts(body: &[u8]) -> Result<Parts<'_>, UnsealError> {
    let (nonce, rest) = body.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Truncated)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(UnsealError::Truncated)?;
    Ok((nonce, ciphertext, tag))
}

fn decrypt(
    cipher: &Aes256Gcm,
    aad: &[u8],
    nonce: &[u8; NONCE_LEN],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
    plain: &mut [u8],
) -> Result<(), UnsealError> {
    let buffer = InOutBuf::new(ciphertext, plain).map_err(|_| UnsealError::Damaged)?;
    cipher.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()).map_err(|_| UnsealError::Damaged)
}

/// Why a sealed record did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// Shorter than any sealed record.
    #[error("the record is truncated; restore it from a copy")]
    Truncated,
    /// The first four bytes are not `CLVS`.
    #[error("magic is not CLVS, so this is no sealed record")]
    Magic,
    /// A format version that this release does not know.
    #[error("format version {found} of the record is unknown; this release reads version 1")]
    Format {
        /// What the field holds.
        found: u8,
    },
    /// A suite that this release does not know.
    #[error("suite {found} of the record is unknown; this release reads suite 1")]
    Suite {
        /// What the field holds.
        found: u8,
    },
    /// Byte 7, which is 0 in every record of this format.
    #[error("byte 7 of the record is {found}; this release reads only records in which it is 0")]
    Zero {
        /// What the field holds.
        found: u8,
    },
    /// Sealed with another sealing key than this store's.
    #[error("the record is sealed with another sealing key; give the one that belongs to this store")]
    OtherSealingKey,
    /// The record says that it belongs in another table.
    #[error("the record belongs in table {found}: it was moved; put the right one back")]
    OtherTable {
        /// The table's number that the record names.
        found: u8,
    },
    /// The sealing key is the right one, and the tag fails: bytes have changed, or the record was moved.
    #[error("the record is damaged or was moved here from another key; restore it from a copy")]
    Damaged,
}
