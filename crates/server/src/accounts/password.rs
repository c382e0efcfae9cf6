//! Passwords as Argon2id hashes (RFC 9106), written as PHC strings.

use std::fmt;
use std::sync::LazyLock;

use argon2::password_hash::phc;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use claviger::{Arena, ArenaError, SecretBytes};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::AccountsError;

/// Bytes of UTF-8.
pub(super) const LEAST: usize = 8;
pub(super) const MOST: usize = 128;

const SALT: usize = 16;

/// A password's hash, with what it takes to make it again. It goes nowhere but into the accounts' file.
#[derive(Clone)]
pub(crate) struct PasswordHash(phc::PasswordHash);

impl PasswordHash {
    pub(super) fn of(password: &SecretBytes) -> Result<Self, AccountsError> {
        let text = std::str::from_utf8(password.expose()).map_err(|_| AccountsError::Password)?;
        if !(LEAST..=MOST).contains(&text.len()) || text.chars().any(char::is_control) {
            return Err(AccountsError::Password);
        }
        Self::hash(password.expose())
    }

    fn hash(password: &[u8]) -> Result<Self, AccountsError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt)?;
        // 19 MiB, two passes, one lane: the least that OWASP advises, some 20 ms.
        let hash = Argon2::default().hash_password_with_salt(password, &salt);
        hash.map(Self).map_err(|error| AccountsError::Hash { why: error.to_string() })
    }

    /// What the password of an account that does not exist is compared with, so that its refusal takes as long.
    pub(crate) fn of_nobody() -> Option<Self> {
        static NOBODY: LazyLock<Option<PasswordHash>> = LazyLock::new(|| {
            let mut random = [0; 32];
            getrandom::fill(&mut random).ok()?;
            PasswordHash::hash(&random).ok()
        });
        NOBODY.clone()
    }

    /// Whether one of the spellings is the password. All are tried: how long it takes does not tell which.
    pub(crate) fn is_of(&self, spellings: &[SecretBytes]) -> bool {
        let is_right = |spelling: &SecretBytes| Argon2::default().verify_password(spelling.expose(), &self.0).is_ok();
        spellings.iter().map(is_right).fold(false, |any, right| any | right)
    }
}

/// What a client may have meant by these bytes: RFC 7617 leaves the encoding open. Some send UTF-8, which is what is hashed, and
/// some Latin-1.
pub(crate) fn spellings(arena: &Arena, sent: SecretBytes) -> Result<Vec<SecretBytes>, ArenaError> {
    if sent.expose().is_ascii() {
        return Ok(vec![sent]);
    }
    // A character of Latin-1 has the number of its byte, and at most two bytes of UTF-8.
    let len = sent.expose().iter().map(|byte| char::from(*byte).len_utf8()).sum();
    let mut from_latin1 = arena.bytes(len)?;
    let mut rest = from_latin1.expose_mut();
    for byte in sent.expose() {
        let written = char::from(*byte).encode_utf8(rest).len();
        rest = rest.get_mut(written..).unwrap_or_default();
    }
    Ok(vec![sent, from_latin1])
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What it says must not be repeated: a message with a hash in it would reach the log.
        let wrong = || D::Error::custom("a password is no Argon2id hash");
        let hash = phc::PasswordHash::new(&text).map_err(|_| wrong())?;
        match hash.algorithm.as_str() {
            "argon2id" => Ok(Self(hash)),
            _ => Err(wrong()),
        }
    }
}
