//! Passphrases: given or asked for, made, and checked for what they must be.

use claviger::{Arena, Passphrase, SecretBytes};

use crate::failure::Failure;
use crate::secret::{Secret, Source, ask, somebody_watches};

impl Source {
    /// A new passphrase; `None` where none was given and nobody can be asked. Typed, it is typed twice.
    pub(crate) fn new_passphrase(&self, arena: &Arena) -> Result<Option<SecretBytes>, Failure> {
        if let Some(given) = self.given(arena, Secret::Passphrase)? {
            return Ok(Some(given));
        }
        if !somebody_watches() {
            return Ok(None);
        }
        let first = ask(arena, Secret::Passphrase, "New passphrase: ")?;
        // What will not do is told before it is typed again.
        Passphrase::copy_from(arena, first.expose())?;
        let second = ask(arena, Secret::Passphrase, "The same again: ")?;
        match first.ct_eq(second.expose()) {
            true => Ok(Some(first)),
            false => Err(Failure::PassphrasesDiffer),
        }
    }

    /// The passphrase of a file or descriptor; `None` where it is to be asked for.
    pub(crate) fn given_passphrase(&self, arena: &Arena) -> Result<Option<Passphrase>, Failure> {
        Ok(self.given(arena, Secret::Passphrase)?.map(Passphrase::new).transpose()?)
    }
}

/// A new passphrase of 48 random characters of base64url (RFC 4648, section 5): 288 bits.
pub(crate) fn generate(arena: &Arena) -> Result<SecretBytes, Failure> {
    const CHARACTERS: usize = 48;
    const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut passphrase = arena.bytes(CHARACTERS)?;
    getrandom::fill(passphrase.expose_mut())?;
    for byte in passphrase.expose_mut() {
        // Six bits of a random byte are as random.
        *byte = BASE64URL.get(usize::from(*byte & 0x3f)).copied().unwrap_or(b'A');
    }
    Ok(passphrase)
}

#[cfg(test)]
mod tests {
    use claviger::ArenaOptions;

    use super::*;

    fn arena() -> Arena {
        Arena::new(&ArenaOptions { keys: 16, states: 4, ..ArenaOptions::default() }).unwrap()
    }

    #[test]
    fn a_passphrase_has_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p");
        for refused in ["word\n\n", "word\n\r\n", "word\r", "two\nlines"] {
            std::fs::write(&file, refused).unwrap();
            let given = Source::File(file.clone()).given_passphrase(&arena());
            assert!(matches!(given, Err(Failure::Passphrase(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_generated_passphrase_is_one_and_no_two_are_alike() {
        let arena = arena();
        let (one, other) = (generate(&arena).unwrap(), generate(&arena).unwrap());
        assert!(!one.ct_eq(other.expose()));
        assert!(one.expose().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        Passphrase::new(one).unwrap().check(claviger::PassphraseRules::Standard).unwrap();
    }
}
