//! An SVM-KEK: the key that seals and opens an SVM's key blobs.

use std::fmt;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use claviger_secret::{Arena, ArenaError, Burning, Guarded, burned};
use rand_core::TryCryptoRng;

use crate::blob::{KeyBlob, KeyHeader, KeyPlace};
use crate::derive::{GenerateError, Key256};
use crate::ids::{KekId, KekVersion};
use crate::plain::PlainKey;
use crate::seals::{Nonce, NonceError, Nonces, SealCount};

const ID_LABEL: &[u8] = b"claviger-kek-id-1";

/// An SVM-KEK, with its expanded key schedule, its name and its count of seals.
///
/// Any thread may call any method at any time.
pub struct Kek {
    version: KekVersion,
    id: KekId,
    key: Key256,
    cipher: Guarded<Aes256Gcm>,
    seals: SealCount,
}

impl Kek {
    /// A new KEK from `random`, with no seals used.
    ///
    /// # Errors
    /// The arena is full, or the random source failed.
    pub fn generate<R: TryCryptoRng>(arena: &Arena, version: KekVersion, random: &mut R) -> Result<Self, GenerateError>
    where
        R::Error: Send + Sync + 'static,
    {
        Ok(Self::new(arena, version, Key256::generate(arena, random)?, 0)?)
    }

    /// The KEK whose bytes are `key`, of whose seals `reserved` may have been used.
    ///
    /// # Errors
    /// The arena is full.
    pub fn new(arena: &Arena, version: KekVersion, key: Key256, reserved: u64) -> Result<Self, ArenaError> {
        let id = KekId::of(&key, version);
        let cipher = gcm(arena, &key)?;
        Ok(Self { version, id, key, cipher, seals: SealCount::new(reserved) })
    }

    /// Which of its SVM's KEKs it is.
    #[must_use]
    pub const fn version(&self) -> KekVersion {
        self.version
    }

    /// Its name in blobs.
    #[must_use]
    pub const fn id(&self) -> KekId {
        self.id
    }

    /// The key itself, for a keeper to wrap.
    #[must_use]
    pub const fn key(&self) -> &Key256 {
        &self.key
    }

    /// Its count of seals.
    #[must_use]
    pub const fn seals(&self) -> &SealCount {
        &self.seals
    }

    /// Draws nonces for as many seals, in one call to the random source, out of what is reserved.
    ///
    /// # Errors
    /// [`NonceError::Unreserved`] where fewer seals are reserved; [`NonceError::Random`].
    pub fn nonces<R: TryCryptoRng>(&self, seals: usize, random: &mut R) -> Result<Nonces, NonceError>
    where
        R::Error: Send + Sync + 'static,
    {
        self.seals.nonces(seals, random)
    }

    /// Appends the blob of `key` in `place` to `out`: 156 bytes for XTS-AES-256, 124 for AES-256.
    ///
    /// # Errors
    /// [`SealError`] where the cipher refuses; it never does for keys of these lengths.
    pub fn seal(&self, key: &PlainKey, place: &KeyPlace, nonce: Nonce, out: &mut Vec<u8>) -> Result<(), SealError> {
        burned(|burning| self.seal_among(burning, key, place, nonce, out))
    }

    /// As [`Kek::seal`], one of many whose traces are cleared at once: clearing costs twice what sealing does.
    ///
    /// # Errors
    /// As [`Kek::seal`].
    pub fn seal_among(
        &self,
        _burning: &Burning,
        key: &PlainKey,
        place: &KeyPlace,
        nonce: Nonce,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let header =
            KeyHeader { algorithm: key.algorithm(), place: *place, kek_version: self.version, kek_id: self.id };
        let header_bytes = header.encode();
        let plain = key.expose();

        out.reserve(header.blob_len());
        out.extend_from_slice(&header_bytes);
        out.extend_from_slice(&nonce.0);
        let start = out.len();
        out.resize(start + plain.len(), 0);
        let ciphertext = out.get_mut(start..).ok_or(SealError)?;
        let buffer = InOutBuf::new(plain, ciphertext).map_err(|_| SealError)?;
        let tag = self.cipher.encrypt_inout_detached(&nonce.0.into(), &header_bytes, buffer).map_err(|_| SealError)?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens `blob`, which must belong in `place`.
    ///
    /// # Errors
    /// In this order: [`OpenError::OtherPlace`], [`OpenError::OtherKek`], [`OpenError::Arena`], [`OpenError::Damaged`].
    pub fn open(&self, arena: &Arena, blob: &KeyBlob<'_>, place: &KeyPlace) -> Result<PlainKey, OpenError> {
        burned(|burning| self.open_among(burning, arena, blob, place))
    }

    /// As [`Kek::open`], one of many whose traces are cleared at once.
    ///
    /// # Errors
    /// As [`Kek::open`].
    pub fn open_among(
        &self,
        _burning: &Burning,
        arena: &Arena,
        blob: &KeyBlob<'_>,
        place: &KeyPlace,
    ) -> Result<PlainKey, OpenError> {
        let header = blob.header();
        if header.place != *place {
            return Err(OpenError::OtherPlace { found: Box::new(header.place), expected: Box::new(*place) });
        }
        if header.kek_id != self.id || header.kek_version != self.version {
            return Err(OpenError::OtherKek { version: header.kek_version, id: header.kek_id });
        }

        let mut bytes = arena.bytes(header.algorithm.key_len())?;
        let buffer = InOutBuf::new(blob.ciphertext, bytes.expose_mut()).map_err(|_| OpenError::Damaged)?;
        self.cipher
            .decrypt_inout_detached(blob.nonce.into(), blob.header_bytes, buffer, blob.tag.into())
            .map_err(|_| OpenError::Damaged)?;
        PlainKey::new(header.algorithm, bytes).map_err(|_| OpenError::Damaged)
    }
}

impl KekId {
    /// The name of the KEK of this version whose bytes are `key`.
    #[must_use]
    pub fn of(key: &Key256, version: KekVersion) -> Self {
        Self::from_bytes(key.id(&[ID_LABEL, &version.get().to_be_bytes()]))
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek(version {}, id {})", self.version, self.id)
    }
}

/// Expands the schedule of AES-256-GCM into the arena.
pub(crate) fn gcm(arena: &Arena, key: &Key256) -> Result<Guarded<Aes256Gcm>, ArenaError> {
    arena.build(|| {
        let mut gcm_key = aes_gcm::Key::<Aes256Gcm>::default();
        gcm_key.copy_from_slice(key.expose());
        let cipher = Aes256Gcm::new(&gcm_key);
        zeroize::Zeroize::zeroize(gcm_key.as_mut_slice());
        cipher
    })
}

/// The cipher refused to seal; nothing was written that could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AES-256-GCM refused to seal; report this")]
pub struct SealError;

/// Why a blob did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The blob says that it belongs elsewhere: it was moved or copied.
    #[error("the blob belongs to another place: it was moved or copied; put the right one back")]
    OtherPlace {
        /// Where the blob says that it belongs.
        found: Box<KeyPlace>,
        /// Where it was read.
        expected: Box<KeyPlace>,
    },
    /// The blob names another KEK than this one.
    #[error("the blob is under KEK version {version} ({id}), another than the one given")]
    OtherKek {
        /// The KEK version that the blob names.
        version: KekVersion,
        /// The KEK that the blob names.
        id: KekId,
    },
    /// The KEK is the right one, and the tag fails: bytes of the blob have changed.
    #[error("the blob is damaged: its KEK is the right one and its tag fails; restore it from a copy")]
    Damaged,
    /// No room in key memory.
    #[error("there is no room in key memory for the opened key")]
    Arena(#[from] ArenaError),
}
