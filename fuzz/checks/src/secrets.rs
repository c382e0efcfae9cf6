//! Key memory, and keys that are the same in every run.

use std::sync::{LazyLock, OnceLock};

use claviger::{Arena, ArenaOptions, KekVersion, Key256, Protection, SecretBytes};
use claviger_wrap::{Kek, SealingKey};

/// The process's key memory, of whatever protection the kernel grants.
pub(crate) fn arena() -> &'static Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    let options = ArenaOptions { keys: 4_096, states: 256, accept: Protection::Unlocked };
    ARENA.get_or_init(|| Arena::new(&options).unwrap())
}

pub(crate) fn secret(bytes: &[u8]) -> SecretBytes {
    let mut secret = arena().bytes(bytes.len()).unwrap();
    secret.expose_mut().copy_from_slice(bytes);
    secret
}

pub(crate) fn key256(byte: u8) -> Key256 {
    Key256::new(secret(&[byte; Key256::LEN])).unwrap()
}

pub(crate) fn sealing_key() -> &'static SealingKey {
    static SEALING: LazyLock<SealingKey> = LazyLock::new(|| SealingKey::new(arena(), key256(0x5e)).unwrap());
    &SEALING
}

/// The first 16 bytes of HMAC-SHA-256 of the sealing key over `claviger-seal-id-1`, as Python computes it.
pub(crate) const SEALING_ID: u128 = 0x617d_b407_415e_353c_313a_a617_9eaf_4d92;

pub(crate) fn kek() -> &'static Kek {
    static KEK: LazyLock<Kek> =
        LazyLock::new(|| Kek::new(arena(), KekVersion::new(3).unwrap(), key256(0x4b), 0).unwrap());
    &KEK
}
