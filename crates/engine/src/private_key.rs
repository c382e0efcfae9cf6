//! The private key of a certificate, in key memory.

use std::fmt;

use claviger_secret::{Arena, ArenaError, SecretBytes, burned};
use zeroize::Zeroizing;

/// A private key: PKCS #8 (RFC 5958), PKCS #1 (RFC 8017) or SEC 1 (RFC 5915), DER. It lies in key memory, in as many parts as its
/// length needs, and is wiped when it is dropped.
pub struct PrivateKey {
    parts: Vec<SecretBytes>,
}

/// The longest secret that key memory takes in one piece.
const PART: usize = 1_024;

impl PrivateKey {
    /// The most bytes: an RSA key of 16,384 bits.
    pub const MAX_LEN: usize = 10 * PART;

    /// Copies a key into key memory. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`PrivateKeyError`].
    pub fn copy_from(arena: &Arena, der: &[u8]) -> Result<Self, PrivateKeyError> {
        if !(1..=Self::MAX_LEN).contains(&der.len()) {
            return Err(PrivateKeyError::Length { found: der.len() });
        }
        let copy = |part: &[u8]| {
            let mut bytes = arena.bytes(part.len())?;
            bytes.expose_mut().copy_from_slice(part);
            Ok(bytes)
        };
        Ok(Self { parts: der.chunks(PART).map(copy).collect::<Result<_, ArenaError>>()? })
    }

    pub(crate) const fn of_parts(parts: Vec<SecretBytes>) -> Self {
        Self { parts }
    }

    #[cfg(feature = "certificates")]
    pub(crate) fn parts(&self) -> &[SecretBytes] {
        &self.parts
    }

    /// Shows the whole key to a library that wants it in one piece, in memory that is wiped when `look` returns.
    pub fn with<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        burned(|_| {
            let mut whole = Zeroizing::new(Vec::with_capacity(self.parts.iter().map(SecretBytes::len).sum()));
            self.parts.iter().for_each(|part| whole.extend_from_slice(part.expose()));
            look(&whole)
        })
    }
}

/// Prints `PrivateKey(..)`.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// Why bytes are not taken as a private key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// It is empty or too long.
    #[error("the private key has {found} bytes; it must have 1 to {}", PrivateKey::MAX_LEN)]
    Length {
        /// How many bytes were given.
        found: usize,
    },
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
}
