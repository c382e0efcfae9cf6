//! What several of the tests need.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod vector;

use claviger_secret::{Arena, ArenaOptions, Protection, SecretBytes};
use claviger_wrap::{KekVersion, Key256, KeyAlgorithm, KeyPlace, KeyType, KeyVersion, ObjectId, PlainKey, SvmId};
use rand_core::{TryCryptoRng, TryRng};

/// A small arena.
pub(crate) fn arena() -> Arena {
    arena_of(64, 32)
}

/// An arena of whatever memory the kernel grants.
pub(crate) fn arena_of(keys: usize, states: usize) -> Arena {
    Arena::new(&ArenaOptions { keys, states, accept: Protection::Unlocked }).unwrap()
}

pub(crate) fn secret(arena: &Arena, bytes: &[u8]) -> SecretBytes {
    let mut secret = arena.bytes(bytes.len()).unwrap();
    secret.expose_mut().copy_from_slice(bytes);
    secret
}

pub(crate) fn key256(arena: &Arena, bytes: &[u8]) -> Key256 {
    Key256::new(secret(arena, bytes)).unwrap()
}

/// A key of the algorithm with as many bytes.
pub(crate) fn plain_key(arena: &Arena, bytes: &[u8]) -> PlainKey {
    let algorithm = match bytes.len() {
        64 => KeyAlgorithm::XtsAes256,
        _ => KeyAlgorithm::Aes256,
    };
    PlainKey::new(algorithm, secret(arena, bytes)).unwrap()
}

pub(crate) fn kek_version(number: u32) -> KekVersion {
    KekVersion::new(number).unwrap()
}

pub(crate) fn key_version(number: u32) -> KeyVersion {
    KeyVersion::new(number).unwrap()
}

pub(crate) fn place() -> KeyPlace {
    KeyPlace {
        svm: SvmId::from_bytes([0x51; 16]),
        key_type: KeyType::Vek,
        object: ObjectId::from_bytes([0x0b; 16]),
        version: key_version(7),
    }
}

/// A random source that gives the bytes it was made with, then fails.
pub(crate) struct Scripted {
    bytes: Vec<u8>,
}

impl Scripted {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec() }
    }

    /// How many bytes nobody has taken.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }
}

/// The script is at its end.
#[derive(Debug, thiserror::Error)]
#[error("the device is on fire")]
pub(crate) struct Exhausted;

impl TryRng for Scripted {
    type Error = Exhausted;

    fn try_next_u32(&mut self) -> Result<u32, Exhausted> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Exhausted> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, wanted: &mut [u8]) -> Result<(), Exhausted> {
        let (now, later) = self.bytes.split_at_checked(wanted.len()).ok_or(Exhausted)?;
        wanted.copy_from_slice(now);
        self.bytes = later.to_vec();
        Ok(())
    }
}

impl TryCryptoRng for Scripted {}
