//! What was verified a moment ago: clients authenticate with every request, and Argon2 is slow on purpose.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use claviger::{Arena, SecretBytes};
use claviger_ontap::Role;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::LoginsError;

/// How long a verified password is good without being verified again.
const LIFE: Duration = Duration::from_secs(60);

const MOST: usize = 1_024;

/// Names credentials without holding them.
pub(super) type CacheKey = [u8; 32];

/// A key of this process's own: what it names cannot be guessed from the names, and means nothing elsewhere.
pub(super) struct Mac {
    key: SecretBytes,
}

/// What is named. The numbers keep one kind from being taken for another.
#[repr(u8)]
enum Label {
    Credentials = 1,
    Login = 2,
}

impl Mac {
    pub(super) fn new(arena: &Arena) -> Result<Self, LoginsError> {
        let mut key = arena.bytes(32)?;
        getrandom::fill(key.expose_mut())?;
        Ok(Self { key })
    }

    /// Accounts of another generation are others: what was verified before they changed is not found any more.
    pub(super) fn of(&self, generation: u64, name: &str, password: &SecretBytes) -> CacheKey {
        self.over(Label::Credentials, &[&generation.to_be_bytes(), &length(name), name.as_bytes(), password.expose()])
    }

    /// Of logins under one name from one place.
    pub(super) fn of_login(&self, from: IpAddr, name: &str) -> CacheKey {
        let from = from.to_string();
        self.over(Label::Login, &[&length(&from), from.as_bytes(), name.as_bytes()])
    }

    fn over(&self, label: Label, parts: &[&[u8]]) -> CacheKey {
        let mut mac = match Hmac::<Sha256>::new_from_slice(self.key.expose()) {
            Ok(mac) => mac,
            // HMAC takes keys of any length.
            Err(_) => return CacheKey::default(),
        };
        mac.update(&[label as u8]);
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

fn length(text: &str) -> [u8; 8] {
    (text.len() as u64).to_be_bytes()
}

#[derive(Default)]
pub(super) struct Cache {
    verified: HashMap<CacheKey, (Role, Instant)>,
}

impl Cache {
    pub(super) fn get(&self, key: &CacheKey, now: Instant) -> Option<Role> {
        let (role, until) = self.verified.get(key)?;
        (now < *until).then_some(*role)
    }

    pub(super) fn insert(&mut self, key: CacheKey, role: Role, now: Instant) {
        if self.verified.len() >= MOST {
            self.verified.retain(|_, (_, until)| now < *until);
        }
        if self.verified.len() >= MOST {
            self.verified.clear();
        }
        self.verified.insert(key, (role, now + LIFE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena() -> Arena {
        Arena::new(&claviger::ArenaOptions { keys: 16, states: 4, ..Default::default() }).unwrap()
    }

    #[test]
    fn what_was_verified_is_forgotten_after_a_minute() {
        let mut cache = Cache::default();
        let now = Instant::now();
        cache.insert([1; 32], Role::Admin, now);
        assert_eq!(cache.get(&[1; 32], now + LIFE - Duration::from_millis(1)), Some(Role::Admin));
        assert_eq!(cache.get(&[1; 32], now + LIFE), None);
        assert_eq!(cache.get(&[2; 32], now), None);
    }

    #[test]
    fn the_cache_does_not_grow_without_end() {
        let mut cache = Cache::default();
        let now = Instant::now();
        for number in 0..3_000_u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            cache.insert(key, Role::ReadOnly, now);
            assert!(cache.verified.len() <= MOST);
        }
    }

    #[test]
    fn generation_name_and_password_all_count_and_do_not_run_together() {
        let arena = arena();
        let secret = |text: &str| {
            let mut bytes = arena.bytes(text.len()).unwrap();
            bytes.expose_mut().copy_from_slice(text.as_bytes());
            bytes
        };
        let mac = Mac::new(&arena).unwrap();
        let key = mac.of(1, "ab", &secret("c"));
        assert_eq!(key, mac.of(1, "ab", &secret("c")));
        for other in [mac.of(2, "ab", &secret("c")), mac.of(1, "a", &secret("bc")), mac.of(1, "ab", &secret("d"))] {
            assert_ne!(key, other);
        }
        assert_ne!(key, Mac::new(&arena).unwrap().of(1, "ab", &secret("c")));
    }
}
