//! A volume, aggregate or drive key in the clear.

use std::fmt;

use claviger_secret::{Arena, SecretBytes};
use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use crate::derive::{GenerateError, KeyLength};
use crate::ids::KeyAlgorithm;
use crate::random::{self, RandomError};

/// Draws for one key. Equal halves come by chance once in 2^256 draws; twice in a row, the random source is stuck.
const DRAWS: usize = 2;

/// A volume, aggregate or drive key. Its bytes lie in the arena and are wiped when it is dropped.
pub struct PlainKey {
    algorithm: KeyAlgorithm,
    bytes: SecretBytes,
}

impl PlainKey {
    /// A new key from `random`. The two halves of an XTS key are never equal (NIST SP 800-38E; FIPS 140-3 IG C.I).
    ///
    /// # Errors
    /// The arena is full, or the random source failed.
    pub fn generate<R: TryCryptoRng>(
        arena: &Arena,
        algorithm: KeyAlgorithm,
        random: &mut R,
    ) -> Result<Self, GenerateError>
    where
        R::Error: Send + Sync + 'static,
    {
        let mut bytes = arena.bytes(algorithm.key_len())?;
        for _ in 0..DRAWS {
            random::fill(random, bytes.expose_mut())?;
            let weak = match algorithm {
                KeyAlgorithm::XtsAes256 => halves_are_equal(bytes.expose()),
                KeyAlgorithm::Aes256 => false,
            };
            if !weak {
                return Ok(Self { algorithm, bytes });
            }
        }
        Err(RandomError::new(RepeatedHalves).into())
    }

    /// Takes over a key's bytes.
    ///
    /// # Errors
    /// [`KeyLength`] where their number is not that of the algorithm.
    pub fn new(algorithm: KeyAlgorithm, bytes: SecretBytes) -> Result<Self, KeyLength> {
        match bytes.len() == algorithm.key_len() {
            true => Ok(Self { algorithm, bytes }),
            false => Err(KeyLength { found: bytes.len(), expected: algorithm.key_len() }),
        }
    }

    /// The key's bytes: 64 for XTS-AES-256 (Key1 then Key2, IEEE 1619), 32 for AES-256.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// The cipher that the key is for.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Whether both are the same key, in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.bytes.ct_eq(other.expose())
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({})", self.algorithm)
    }
}

fn halves_are_equal(bytes: &[u8]) -> bool {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    first.ct_eq(second).into()
}

/// The random source gave equal halves again and again.
#[derive(Debug, thiserror::Error)]
#[error("it repeats itself: {DRAWS} times in a row it gave an XTS key whose two halves are equal")]
struct RepeatedHalves;
