//! Keys from a passphrase (`docs/formats.md`, passphrase keys).

use std::fmt;

use claviger_secret::{Arena, ArenaError, SecretBytes, burned};
use rand_core::TryCryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::derive::Key256;
use crate::keywrap::WrappingKey;
use crate::random::{self, RandomError};

/// Bytes of a salt, and of a check value.
const SALT_LEN: usize = 32;

/// How long a passphrase must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassphraseRules {
    /// 32 to 256 bytes.
    Standard,
    /// Common Criteria mode: 64 to 256 bytes.
    CommonCriteria,
}

impl PassphraseRules {
    /// The shortest passphrase, in bytes.
    #[must_use]
    pub const fn min(self) -> usize {
        match self {
            Self::Standard => 32,
            Self::CommonCriteria => 64,
        }
    }

    /// The longest passphrase, in bytes.
    #[must_use]
    pub const fn max(self) -> usize {
        256
    }
}

/// A passphrase of printable ASCII (0x20 to 0x7e), of 1 to 256 bytes. Whether it is long enough to protect a keystore
/// is for [`Passphrase::check`]: one that only opens something need not obey rules that have changed since.
pub struct Passphrase(SecretBytes);

impl Passphrase {
    /// Copies `bytes` into the arena. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`PassphraseError::NotAscii`], [`PassphraseError::Length`] for none or more than 256 bytes, or no room.
    pub fn copy_from(arena: &Arena, bytes: &[u8]) -> Result<Self, PassphraseError> {
        let rules = PassphraseRules::Standard;
        if bytes.is_empty() || bytes.len() > rules.max() {
            return Err(PassphraseError::Length { found: bytes.len(), min: rules.min(), max: rules.max() });
        }
        let mut secret = arena.bytes(bytes.len())?;
        secret.expose_mut().copy_from_slice(bytes);
        Self::new(secret)
    }

    /// Takes over `bytes`.
    ///
    /// # Errors
    /// As [`Passphrase::copy_from`].
    pub fn new(bytes: SecretBytes) -> Result<Self, PassphraseError> {
        let rules = PassphraseRules::Standard;
        if bytes.is_empty() || bytes.len() > rules.max() {
            return Err(PassphraseError::Length { found: bytes.len(), min: rules.min(), max: rules.max() });
        }
        match bytes.expose().iter().all(|byte| matches!(byte, 0x20..=0x7e)) {
            true => Ok(Self(bytes)),
            false => Err(PassphraseError::NotAscii),
        }
    }

    /// Whether the passphrase may protect a keystore under `rules`.
    ///
    /// # Errors
    /// [`PassphraseError::Length`].
    pub fn check(&self, rules: PassphraseRules) -> Result<(), PassphraseError> {
        match (rules.min()..=rules.max()).contains(&self.0.len()) {
            true => Ok(()),
            false => Err(PassphraseError::Length { found: self.0.len(), min: rules.min(), max: rules.max() }),
        }
    }

    /// Whether both are the same passphrase, in constant time for one length.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.expose())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Rounds of PBKDF2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Iterations(u32);

impl Iterations {
    /// 600,000: the default, and the fewest there may be (OWASP's advice for HMAC-SHA-256, 2023).
    pub const MIN: Self = Self(600_000);
    /// 10,000,000: a record that asks for more is refused, so that a forged one cannot hang the process.
    pub const MAX: Self = Self(10_000_000);

    /// So many rounds, or `None` outside [`Iterations::MIN`] to [`Iterations::MAX`].
    #[must_use]
    pub const fn new(rounds: u32) -> Option<Self> {
        match rounds >= Self::MIN.0 && rounds <= Self::MAX.0 {
            true => Some(Self(rounds)),
            false => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What a passphrase is stretched with: PBKDF2-HMAC-SHA-256 (RFC 8018) with a random salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseKdf {
    /// The salt.
    pub salt: [u8; SALT_LEN],
    /// The rounds.
    pub iterations: Iterations,
}

impl PassphraseKdf {
    /// A new random salt.
    ///
    /// # Errors
    /// The random source failed.
    pub fn generate<R: TryCryptoRng>(iterations: Iterations, random: &mut R) -> Result<Self, RandomError>
    where
        R::Error: Send + Sync + 'static,
    {
        let mut salt = [0; SALT_LEN];
        random::fill(random, &mut salt)?;
        Ok(Self { salt, iterations })
    }

    /// Stretches `passphrase`: some 60 ms at 600,000 rounds.
    ///
    /// # Errors
    /// The arena is full.
    pub fn derive(&self, arena: &Arena, passphrase: &Passphrase) -> Result<PassphraseKeys, ArenaError> {
        let mut stretched = arena.bytes(Key256::LEN)?;
        burned(|_| {
            pbkdf2::pbkdf2_hmac::<Sha256>(
                passphrase.0.expose(),
                &self.salt,
                self.iterations.get(),
                stretched.expose_mut(),
            );
        });
        let prk = Key256::from_32(stretched);
        let wrapping = WrappingKey::new(arena, &prk.expand(arena, &[b"claviger-passphrase-wrap-1"])?)?;
        let expanded = prk.expand(arena, &[b"claviger-passphrase-check-1"])?;
        let mut check = [0; SALT_LEN];
        check.copy_from_slice(expanded.expose());
        Ok(PassphraseKeys { wrapping, check: CheckValue(check) })
    }
}

/// What a passphrase gives.
#[derive(Debug)]
pub struct PassphraseKeys {
    /// Wraps the CKEK.
    pub wrapping: WrappingKey,
    /// Is stored, and tells a wrong passphrase.
    pub check: CheckValue,
}

/// Tells whether a passphrase is the right one, before anything is opened with it. It is stored in the clear; it gives an
/// attacker nothing that the wrapped CKEK beside it does not.
#[derive(Clone, Copy, Debug)]
pub struct CheckValue([u8; SALT_LEN]);

impl CheckValue {
    /// From the stored 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SALT_LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SALT_LEN] {
        &self.0
    }

    /// Whether both are of one passphrase, in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The bytes are not a passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Too short or too long.
    #[error("the passphrase has {found} bytes; it must have {min} to {max} bytes of printable ASCII")]
    Length {
        /// Bytes there are.
        found: usize,
        /// The fewest.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A byte outside 0x20 to 0x7e.
    #[error("the passphrase has characters that are not printable ASCII; only those may be used")]
    NotAscii,
    /// No room in key memory.
    #[error("there is no room in key memory for the passphrase")]
    Arena(#[from] ArenaError),
}
