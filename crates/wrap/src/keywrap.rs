//! AES-256 key wrap, RFC 3394 (NIST SP 800-38F KW), for KEKs and the CKEK: what any HSM tool can open. The cipher works on
//! eight bytes of the key at a time on the stack, so every call burns it.

use std::fmt;

use aes_kw::{KeyInit, KwAes256};
use claviger_secret::{Arena, ArenaError, Guarded, burned};

use crate::derive::Key256;

/// Bytes of a wrapped 256-bit key.
const WRAPPED_LEN: usize = Key256::LEN + 8;

/// A 256-bit key wrapped by RFC 3394: 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrappedKey([u8; WRAPPED_LEN]);

impl WrappedKey {
    /// Bytes of a wrapped 256-bit key.
    pub const LEN: usize = WRAPPED_LEN;

    /// From the 40 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; WRAPPED_LEN]) -> Self {
        Self(bytes)
    }

    /// The 40 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; WRAPPED_LEN] {
        &self.0
    }
}

/// A key that wraps other keys: its expanded schedule in the arena.
pub struct WrappingKey {
    arena: Arena,
    cipher: Guarded<KwAes256>,
}

impl WrappingKey {
    /// Expands `key`.
    ///
    /// # Errors
    /// The arena is full.
    pub fn new(arena: &Arena, key: &Key256) -> Result<Self, ArenaError> {
        let cipher = arena.build(|| {
            let mut kw_key = aes_kw::aes::cipher::Key::<KwAes256>::default();
            kw_key.copy_from_slice(key.expose());
            let cipher = KwAes256::new(&kw_key);
            zeroize::Zeroize::zeroize(kw_key.as_mut_slice());
            cipher
        })?;
        Ok(Self { arena: arena.clone(), cipher })
    }

    /// Wraps `key`.
    ///
    /// # Errors
    /// The arena is full.
    pub fn wrap(&self, key: &Key256) -> Result<WrappedKey, ArenaError> {
        // The cipher begins with a copy of the key in its output buffer, so that lies in the arena too.
        let mut buffer = self.arena.bytes(WRAPPED_LEN)?;
        #[expect(clippy::expect_used, reason = "both lengths are constants that RFC 3394 allows")]
        burned(|_| self.cipher.wrap_key(key.expose(), buffer.expose_mut()).map(|_| ())).expect("32 bytes wrap into 40");
        let mut wrapped = [0; WRAPPED_LEN];
        wrapped.copy_from_slice(buffer.expose());
        Ok(WrappedKey(wrapped))
    }

    /// Unwraps what [`WrappingKey::wrap`] made with the same key.
    ///
    /// # Errors
    /// [`UnwrapError::Integrity`] where the wrapping key is another one or the bytes are damaged: RFC 3394 cannot tell
    /// which, so the caller must know by other means that the key is the right one.
    pub fn unwrap(&self, wrapped: &WrappedKey) -> Result<Key256, UnwrapError> {
        let mut buffer = self.arena.bytes(Key256::LEN)?;
        burned(|_| self.cipher.unwrap_key(&wrapped.0, buffer.expose_mut()).map(|_| ()))
            .map_err(|_| UnwrapError::Integrity(IntegrityCheckFailed))?;
        Ok(Key256::from_32(buffer))
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey(..)")
    }
}

/// The initial value is not that of RFC 3394, section 2.2.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the integrity check of RFC 3394 failed")]
pub struct IntegrityCheckFailed;

/// Why a wrapped key did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// Another wrapping key, or damaged bytes.
    #[error("the wrapped key does not open: it is damaged, or under another key")]
    Integrity(#[from] IntegrityCheckFailed),
    /// No room in key memory.
    #[error("there is no room in key memory for the opened key")]
    Arena(#[from] ArenaError),
}
