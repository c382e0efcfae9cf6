//! No `Debug` or `Display` of this crate shows a byte of a secret.
#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Debug;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use claviger_wrap::{
    BodyKey, Iterations, Kek, KeyBlob, Nonce, Passphrase, PassphraseError, PassphraseKdf, SealingKey, WrappedKey,
    WrappingKey,
};
use common::{Scripted, arena, kek_version, key256, place, plain_key};

/// 64 printable bytes, no two alike: they would show in every form, as text too.
const SECRET: &[u8; 64] = b"JoTy^ChMrW|aFkPuZ?dInSx]BgLqV{`EjOtY~cHmRw\\AfKpUz_DiNsX}bGlQv[@e";

/// What was printed, if it shows four bytes of the secret in a row.
fn leak(printed: &str) -> Option<String> {
    let shows = |form: String| printed.contains(&form);
    let part_shown = |part: &[u8]| {
        let list = format!("{part:?}");
        let hexes = part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
        shows(list.trim_matches(['[', ']']).to_owned())
            || shows(format!("{part:#?}").trim_matches(['[', ']', '\n']).to_owned())
            || shows(String::from_utf8_lossy(part).into_owned())
            || shows(part.escape_ascii().to_string())
            || shows(hex::encode(part))
            || shows(hex::encode_upper(part))
            || shows(hexes.join(" "))
            || shows(hexes.join(", "))
    };
    // Base64 writes three bytes as four characters; the secret may begin at any of three offsets.
    let base64_shown = |part: &[u8]| shows(STANDARD_NO_PAD.encode(part)) || shows(URL_SAFE_NO_PAD.encode(part));
    let leaked = SECRET.windows(4).any(part_shown) || SECRET.windows(6).any(base64_shown);
    leaked.then(|| printed.to_owned())
}

fn assert_silent(value: &dyn Debug) {
    assert_eq!(leak(&format!("{value:?}")), None);
    assert_eq!(leak(&format!("{value:#?}")), None);
}

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let arena = arena();
    let half = &SECRET[..32];
    let kek = Kek::new(&arena, kek_version(1), key256(&arena, half), 0).unwrap();
    let xts = plain_key(&arena, SECRET);
    let mut blob = Vec::new();
    kek.seal(&xts, &place(), Nonce::danger_from_bytes([0; 12]), &mut blob).unwrap();
    let blob = KeyBlob::parse(&blob).unwrap();
    let wrapping = WrappingKey::new(&arena, &key256(&arena, half)).unwrap();
    let sealing_key = SealingKey::new(&arena, key256(&arena, half)).unwrap();
    let passphrase = Passphrase::copy_from(&arena, SECRET).unwrap();
    let keys = PassphraseKdf { salt: [0; 32], iterations: Iterations::MIN }.derive(&arena, &passphrase).unwrap();

    assert_silent(&key256(&arena, half));
    assert_silent(&xts);
    assert_silent(&plain_key(&arena, half));
    assert_silent(&kek);
    assert_silent(kek.key());
    assert_silent(&kek.id());
    assert_silent(&blob);
    assert_silent(&kek.open(&arena, &blob, &place()));
    assert_silent(&wrapping);
    assert_silent(&wrapping.wrap(&key256(&arena, half)));
    assert_silent(&sealing_key);
    assert_silent(&sealing_key.unattended(uuid::Uuid::nil()));
    assert_silent(&BodyKey::of_backup(&arena, &key256(&arena, half)).unwrap());
    assert_silent(&passphrase);
    assert_silent(&keys);
}

#[test]
fn no_error_prints_what_it_was_given() {
    let arena = arena();
    let half = &SECRET[..32];
    let wrapping = WrappingKey::new(&arena, &key256(&arena, half)).unwrap();
    let too_long = SECRET.repeat(5);
    let not_ascii = [SECRET.as_slice(), b"\n"].concat();
    let errors: [Box<dyn std::error::Error>; 5] = [
        Box::new(claviger_wrap::Key256::new(common::secret(&arena, SECRET)).unwrap_err()),
        Box::new(wrapping.unwrap(&WrappedKey::from_bytes([0; 40])).unwrap_err()),
        Box::new(KeyBlob::parse(SECRET).unwrap_err()),
        Box::new(Passphrase::copy_from(&arena, &too_long).unwrap_err()),
        Box::new(
            claviger_wrap::PlainKey::generate(&arena, claviger_wrap::KeyAlgorithm::XtsAes256, &mut Scripted::new(half))
                .unwrap_err(),
        ),
    ];
    for error in errors {
        assert_silent(&error);
        assert_eq!(leak(&error.to_string()), None);
    }
    let error = Passphrase::copy_from(&arena, &not_ascii).unwrap_err();
    assert!(matches!(error, PassphraseError::NotAscii));
    assert_silent(&error);
    assert_eq!(leak(&error.to_string()), None);
}

/// The search finds what it looks for.
#[test]
fn a_leak_would_be_seen() {
    let part = &SECRET[11..31];
    let text = std::str::from_utf8(part).unwrap();
    for printed in [
        format!("Key({part:?})"),
        format!("Key({part:#?})"),
        format!("Key({part:02x?})"),
        format!("Key({text})"),
        format!("Key({text:?})"),
        format!("Key({})", hex::encode(part)),
        format!("Key({})", hex::encode_upper(part)),
        format!("Key({})", STANDARD_NO_PAD.encode(part)),
        format!("Key({})", URL_SAFE_NO_PAD.encode(part)),
    ] {
        assert!(leak(&printed).is_some(), "{printed}");
    }
    assert_eq!(leak("Kek(version 1, id 8f3a)"), None);
}
