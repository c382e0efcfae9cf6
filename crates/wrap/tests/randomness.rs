//! Random sources that fail, are stuck, or are short: an error each time, never a weaker key and never a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::error::Error;

use claviger_secret::Arena;
use claviger_wrap::{
    BodyKey, GenerateError, Iterations, Kek, KekVersion, Key256, KeyAlgorithm, NonceError, PassphraseKdf, PlainKey,
    RecordPlace, SealCount, SealingKey,
};
use common::{Scripted, arena, key256};

/// The bytes that something takes, and the error of drawing it, if there is one.
type Draw = (usize, fn(&Arena, &mut Scripted) -> Option<Box<dyn Error>>);

const DRAWS: [Draw; 7] = [
    (32, |arena, random| failure(Key256::generate(arena, random))),
    (32, |arena, random| failure(Kek::generate(arena, KekVersion::FIRST, random))),
    (64, |arena, random| failure(PlainKey::generate(arena, KeyAlgorithm::XtsAes256, random))),
    (32, |arena, random| failure(PlainKey::generate(arena, KeyAlgorithm::Aes256, random))),
    (32, |_, random| failure(PassphraseKdf::generate(Iterations::MIN, random))),
    (12, |arena, random| {
        let sealing_key = SealingKey::new(arena, key256(arena, &[1; 32])).unwrap();
        failure(sealing_key.seal(RecordPlace { table: 1, key: b"k" }, b"p", random))
    }),
    (12, |arena, random| {
        let body_key = BodyKey::of_backup(arena, &key256(arena, &[2; 32])).unwrap();
        failure(body_key.seal(b"header", b"p", random))
    }),
];

fn failure<T, E: Error + 'static>(drawn: Result<T, E>) -> Option<Box<dyn Error>> {
    drawn.err().map(Into::into)
}

#[test]
fn a_source_that_fails_makes_nothing() {
    let arena = arena();
    let script: Vec<u8> = (0..64).collect();
    for (at, (needed, draw)) in DRAWS.into_iter().enumerate() {
        let before = arena.usage();
        for given in [0, needed - 1] {
            let mut random = Scripted::new(&script[..given]);
            assert_told(draw(&arena, &mut random).unwrap().as_ref());
            assert_eq!(random.left(), given, "draw {at}: in parts");
        }
        let mut random = Scripted::new(&script[..needed]);
        assert!(draw(&arena, &mut random).is_none(), "draw {at}");
        assert_eq!(random.left(), 0, "draw {at}");
        assert_eq!(arena.usage(), before, "draw {at}: memory is not given back");
    }
}

/// The chain of causes ends in what the source said, and each message says it once.
fn assert_told(error: &dyn Error) {
    let chain: Vec<_> =
        std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect();
    assert_eq!(chain.last().unwrap(), "the device is on fire", "{chain:?}");
    assert_eq!(chain.iter().filter(|message| message.contains("on fire")).count(), 1, "{chain:?}");
}

#[test]
fn a_draw_of_nonces_that_fails_counts_as_used() {
    let arena = arena();
    let kek = Kek::new(&arena, KekVersion::FIRST, key256(&arena, &[3; 32]), 0).unwrap();
    kek.seals().raise(3);
    let error = kek.nonces(2, &mut Scripted::new(&[0; 2 * 12 - 1])).unwrap_err();
    assert!(matches!(error, NonceError::Random(_)));
    assert_told(&error);
    // Only one is left: the count never falls.
    assert!(matches!(kek.nonces(2, &mut Scripted::new(&[0; 24])), Err(NonceError::Unreserved(_))));
    assert!(kek.nonces(1, &mut Scripted::new(&[0; 12])).is_ok());
}

#[test]
fn the_last_seal_of_a_kek_is_the_2_to_the_32nd() {
    let arena = arena();
    let kek = Kek::new(&arena, KekVersion::FIRST, key256(&arena, &[3; 32]), SealCount::LIMIT - 1).unwrap();
    kek.seals().raise(u64::MAX);
    assert_eq!(kek.seals().reserved(), SealCount::LIMIT);
    assert!(kek.nonces(1, &mut Scripted::new(&[0; 12])).is_ok());
    assert!(kek.nonces(1, &mut Scripted::new(&[0; 12])).is_err());
}

#[test]
fn an_xts_key_with_equal_halves_is_drawn_again() {
    let arena = arena();
    let good: Vec<u8> = (0..64).collect();
    let mut random = Scripted::new(&[&[0xaa; 64], &good[..]].concat());
    let key = PlainKey::generate(&arena, KeyAlgorithm::XtsAes256, &mut random).unwrap();
    assert_eq!(key.expose(), good);
    assert_eq!(random.left(), 0);
}

#[test]
fn a_stuck_source_gives_no_xts_key() {
    let arena = arena();
    let before = arena.usage();
    let mut random = Scripted::new(&[0; 4096]);
    let error = PlainKey::generate(&arena, KeyAlgorithm::XtsAes256, &mut random).unwrap_err();
    assert!(matches!(error, GenerateError::Random(_)));
    assert!(error.source().unwrap().source().unwrap().to_string().contains("repeats itself"));
    assert_eq!(arena.usage(), before);
}

#[test]
fn keys_are_the_bytes_that_the_source_gave() {
    let arena = arena();
    let bytes: Vec<u8> = (0..64).collect();
    let mut random = Scripted::new(&bytes);
    assert_eq!(Key256::generate(&arena, &mut random).unwrap().expose(), &bytes[..32]);
    let second = PlainKey::generate(&arena, KeyAlgorithm::Aes256, &mut random).unwrap();
    assert_eq!(second.expose(), &bytes[32..]);
}
