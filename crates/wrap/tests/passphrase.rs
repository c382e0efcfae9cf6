//! What may be a passphrase, and how one is told from another.
#![allow(clippy::unwrap_used)]

mod common;

use claviger_wrap::{Iterations, Passphrase, PassphraseError, PassphraseKdf, PassphraseRules};
use common::{arena, secret};

#[test]
fn a_passphrase_has_1_to_256_bytes() {
    let arena = arena();
    for (length, allowed) in [(0, false), (1, true), (256, true), (257, false), (1000, false)] {
        let bytes = vec![b'x'; length];
        for made in [Passphrase::copy_from(&arena, &bytes), Passphrase::new(secret(&arena, &bytes))] {
            match made {
                Ok(_) => assert!(allowed, "{length}"),
                Err(PassphraseError::Length { found, min: 32, max: 256 }) => assert!(!allowed && found == length),
                Err(error) => unreachable!("{length}: {error}"),
            }
        }
    }
}

#[test]
fn the_rules_say_how_long_one_must_be_to_protect_a_keystore() {
    let arena = arena();
    for (rules, min) in [(PassphraseRules::Standard, 32), (PassphraseRules::CommonCriteria, 64)] {
        for (length, allowed) in [(1, false), (min - 1, false), (min, true), (256, true)] {
            let checked = Passphrase::copy_from(&arena, &vec![b'x'; length]).unwrap().check(rules);
            match checked {
                Ok(()) => assert!(allowed, "{rules:?}, {length}"),
                Err(PassphraseError::Length { found, min: told, max: 256 }) => {
                    assert!(!allowed && found == length && told == min, "{rules:?}, {length}");
                }
                Err(error) => unreachable!("{rules:?}, {length}: {error}"),
            }
        }
    }
}

#[test]
fn only_printable_ascii_is_allowed() {
    let arena = arena();
    for byte in 0..=u8::MAX {
        let mut bytes = [b'x'; 40];
        bytes[39] = byte;
        let allowed = (b' '..=b'~').contains(&byte);
        for made in [Passphrase::copy_from(&arena, &bytes), Passphrase::new(secret(&arena, &bytes))] {
            assert_eq!(made.is_ok(), allowed, "{byte:#04x}");
            if let Err(error) = made {
                assert!(matches!(error, PassphraseError::NotAscii), "{byte:#04x}: {error}");
            }
        }
    }
    for text in ["contraseña larga, de más de 32 bytes", "a passphrase with the newline of echo\n", "tab\tinside"] {
        assert!(matches!(Passphrase::copy_from(&arena, text.as_bytes()), Err(PassphraseError::NotAscii)), "{text:?}");
    }
}

#[test]
fn passphrases_are_compared_byte_for_byte() {
    let arena = arena();
    let made = |text: &str| Passphrase::copy_from(&arena, text.as_bytes()).unwrap();
    assert!(made("one and the same").ct_eq(&made("one and the same")));
    for other in ["one and the samE", "one and the same ", "one and the sam", " one and the same"] {
        assert!(!made("one and the same").ct_eq(&made(other)), "{other:?}");
    }
}

#[test]
fn iterations_are_600_thousand_to_10_million() {
    for (rounds, allowed) in
        [(0, false), (599_999, false), (600_000, true), (10_000_000, true), (10_000_001, false), (u32::MAX, false)]
    {
        assert_eq!(Iterations::new(rounds).map(Iterations::get), allowed.then_some(rounds));
    }
    assert_eq!((Iterations::MIN.get(), Iterations::MAX.get()), (600_000, 10_000_000));
}

#[test]
fn the_check_value_tells_another_passphrase_and_another_salt() {
    let arena = arena();
    let check = |salt, text: &str| {
        let kdf = PassphraseKdf { salt: [salt; 32], iterations: Iterations::MIN };
        kdf.derive(&arena, &Passphrase::copy_from(&arena, text.as_bytes()).unwrap()).unwrap().check
    };
    let right = check(1, "the right passphrase, 32 or more");
    assert!(right.ct_eq(&right));
    assert!(!right.ct_eq(&check(1, "the wrong passphrase, 32 or more")));
    assert!(!right.ct_eq(&check(2, "the right passphrase, 32 or more")));
}
