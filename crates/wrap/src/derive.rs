//! 256-bit keys, and the keys and names derived from them: HMAC-SHA-256 (RFC 2104) and HKDF-Expand (RFC 5869), one
//! label per use.

use claviger_secret::{Arena, ArenaError, SecretBytes, burned};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use rand_core::TryCryptoRng;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::random::{self, RandomError};

/// A symmetric key of 256 bits: a KEK, a CKEK, a sealing key, a top-level key.
#[derive(Debug)]
pub struct Key256(SecretBytes);

impl Key256 {
    /// Bytes of the key.
    pub const LEN: usize = 32;

    /// A new key from `random`.
    ///
    /// # Errors
    /// The arena is full, or the random source failed.
    pub fn generate<R: TryCryptoRng>(arena: &Arena, random: &mut R) -> Result<Self, GenerateError>
    where
        R::Error: Send + Sync + 'static,
    {
        let mut bytes = arena.bytes(Self::LEN)?;
        random::fill(random, bytes.expose_mut())?;
        Ok(Self(bytes))
    }

    /// Takes over 32 secret bytes.
    ///
    /// # Errors
    /// [`KeyLength`] where there are more or fewer.
    pub fn new(bytes: SecretBytes) -> Result<Self, KeyLength> {
        match bytes.len() {
            Self::LEN => Ok(Self(bytes)),
            found => Err(KeyLength { found, expected: Self::LEN }),
        }
    }

    /// For this crate's own slots, which are of the right length.
    pub(crate) fn from_32(bytes: SecretBytes) -> Self {
        debug_assert_eq!(bytes.len(), Self::LEN);
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// Whether both are the same key, in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.expose())
    }

    /// The first 16 bytes of HMAC-SHA-256 of the key over `parts`: a name that does not tell the key.
    #[must_use]
    pub fn id(&self, parts: &[&[u8]]) -> [u8; 16] {
        burned(|_| {
            #[expect(clippy::expect_used, reason = "HMAC takes a key of any length: RFC 2104, section 3")]
            let mut mac = Hmac::<Sha256>::new_from_slice(self.expose()).expect("HMAC takes a key of any length");
            for part in parts {
                mac.update(part);
            }
            let mut full: [u8; 32] = mac.finalize().into_bytes().into();
            let mut id = [0; 16];
            id.copy_from_slice(full.split_at(16).0);
            full.zeroize();
            id
        })
    }

    /// HKDF-Expand-SHA-256 of this key as the pseudo-random key; `info` is the concatenation of the parts.
    ///
    /// # Errors
    /// The arena is full.
    pub fn expand(&self, arena: &Arena, info: &[&[u8]]) -> Result<Self, ArenaError> {
        let mut out = arena.bytes(Self::LEN)?;
        burned(|_| {
            #[expect(clippy::expect_used, reason = "RFC 5869, section 2.3: 32 bytes are enough of a PRK for SHA-256")]
            let hkdf = Hkdf::<Sha256>::from_prk(self.expose()).expect("a PRK of 32 bytes");
            #[expect(clippy::expect_used, reason = "RFC 5869, section 2.3: up to 255 * 32 bytes")]
            hkdf.expand_multi_info(info, out.expose_mut()).expect("an output of 32 bytes");
        });
        Ok(Self(out))
    }
}

/// A key of another length than it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key has {found} bytes, not {expected}")]
pub struct KeyLength {
    /// Bytes there are.
    pub found: usize,
    /// Bytes there should be.
    pub expected: usize,
}

/// A key could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// No room in key memory.
    #[error("no key was made: there is no room in key memory")]
    Arena(#[from] ArenaError),
    /// The random source failed.
    #[error("no key was made: the random source failed")]
    Random(#[from] RandomError),
}
