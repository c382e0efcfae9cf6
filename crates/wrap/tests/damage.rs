//! Every single changed bit and every truncation of what this crate writes: refused, with the error that says where,
//! and never a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use claviger_secret::Arena;
use claviger_wrap::{
    BlobError, BodyKey, Kek, KeyBlob, Nonce, OpenError, RecordPlace, SealingKey, UnsealError, UnwrapError, WrappedKey,
    WrappingKey,
};
use common::{Scripted, arena, kek_version, key256, place, plain_key};

/// The blobs of an XTS-AES-256 and of an AES-256 key under a KEK.
fn blobs(arena: &Arena) -> (Kek, [Vec<u8>; 2]) {
    let kek = Kek::new(arena, kek_version(3), key256(arena, &[0x4b; 32]), 0).unwrap();
    let keys: [&[u8]; 2] = [&[1; 64], &[2; 32]];
    let blobs = keys.map(|key| {
        let mut blob = Vec::new();
        kek.seal(&plain_key(arena, key), &place(), Nonce::danger_from_bytes([9; 12]), &mut blob).unwrap();
        blob
    });
    (kek, blobs)
}

/// `bytes` with one bit changed, for each of the bits.
fn each_flip(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..8 * bytes.len()).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, flipped)
    })
}

#[test]
fn no_bit_of_a_key_blob_can_change() {
    let arena = arena();
    let (kek, blobs) = blobs(&arena);
    for (at, flipped) in blobs.iter().flat_map(|blob| each_flip(blob)) {
        let blob = match KeyBlob::parse(&flipped) {
            Ok(blob) => blob,
            Err(error) => {
                let named = match at {
                    0..4 => matches!(error, BlobError::Magic),
                    4 => matches!(error, BlobError::Format { .. }),
                    5 => matches!(error, BlobError::Suite { .. }),
                    6 => matches!(error, BlobError::KeyType { .. }),
                    7 => matches!(error, BlobError::KeyAlgorithm { .. } | BlobError::Length { .. }),
                    _ => false,
                };
                assert!(named, "byte {at}: {error}");
                continue;
            }
        };

        // Where the blob was, and where it now says that it belongs.
        let here = kek.open(&arena, &blob, &place()).unwrap_err();
        let there = kek.open(&arena, &blob, &blob.header().place).unwrap_err();
        let named = match at {
            6 | 8..44 => matches!((&here, &there), (OpenError::OtherPlace { .. }, OpenError::Damaged)),
            44..64 => matches!((&here, &there), (OpenError::OtherKek { .. }, OpenError::OtherKek { .. })),
            64.. => matches!((&here, &there), (OpenError::Damaged, OpenError::Damaged)),
            _ => false,
        };
        assert!(named, "byte {at}: {here}; {there}");
    }
}

#[test]
fn no_byte_of_a_key_blob_can_be_missing_or_too_many() {
    let (_, blobs) = blobs(&arena());
    for blob in &blobs {
        for length in 0..blob.len() {
            let expected = if length < 64 { 64 } else { blob.len() };
            let error = KeyBlob::parse(&blob[..length]).unwrap_err();
            assert_eq!(error, BlobError::Length { found: length, expected });
            assert_eq!(KeyBlob::parse_first(&blob[..length]).unwrap_err(), error);
        }
        for more in 1..200 {
            let longer = [&blob[..], &vec![0; more]].concat();
            let error = KeyBlob::parse(&longer).unwrap_err();
            assert_eq!(error, BlobError::Length { found: longer.len(), expected: blob.len() });
        }
    }
}

#[test]
fn of_two_blobs_each_is_read_whole() {
    let [older, newer] = blobs(&arena()).1;
    let both = [older.clone(), newer.clone()].concat();
    let (first, rest) = KeyBlob::parse_first(&both).unwrap();
    assert_eq!((first.as_bytes(), rest), (&older[..], &newer[..]));
    let (second, rest) = KeyBlob::parse_first(rest).unwrap();
    assert_eq!((second.as_bytes(), rest), (&newer[..], &[][..]));
}

fn record(arena: &Arena) -> (SealingKey, RecordPlace<'static>, Vec<u8>) {
    let sealing_key = SealingKey::new(arena, key256(arena, &[0x5e; 32])).unwrap();
    let place = RecordPlace { table: 3, key: b"a key" };
    let record = sealing_key.seal(place, b"{\"version\":1}", &mut Scripted::new(&[9; 12])).unwrap();
    (sealing_key, place, record)
}

#[test]
fn no_bit_of_a_sealed_record_can_change() {
    let (sealing_key, place, record) = record(&arena());
    for (at, flipped) in each_flip(&record) {
        let here = sealing_key.open(place, &flipped).unwrap_err();
        let there = sealing_key.open(RecordPlace { table: flipped[6], ..place }, &flipped).unwrap_err();
        let named = match at {
            0..4 => matches!(here, UnsealError::Magic),
            4 => matches!(here, UnsealError::Format { .. }),
            5 => matches!(here, UnsealError::Suite { .. }),
            6 => matches!((here, there), (UnsealError::OtherTable { .. }, UnsealError::Damaged)),
            7 => matches!(here, UnsealError::Zero { .. }),
            8..24 => matches!(here, UnsealError::OtherSealingKey),
            24.. => matches!(here, UnsealError::Damaged),
        };
        assert!(named, "byte {at}: {here}; {there}");
    }
}

#[test]
fn no_byte_of_a_sealed_record_can_be_missing_or_too_many() {
    let (sealing_key, place, record) = record(&arena());
    for length in 0..record.len() {
        let expected = if length < 24 + 12 + 16 { UnsealError::Truncated } else { UnsealError::Damaged };
        assert_eq!(sealing_key.open(place, &record[..length]), Err(expected), "{length} bytes");
    }
    for more in 1..100 {
        let longer = [&record[..], &vec![0; more]].concat();
        assert_eq!(sealing_key.open(place, &longer), Err(UnsealError::Damaged), "{more} bytes more");
    }
}

#[test]
fn no_bit_of_a_backup_body_or_of_its_header_can_change() {
    let arena = arena();
    let body_key = BodyKey::of_backup(&arena, &key256(&arena, &[0xc6; 32])).unwrap();
    let body = body_key.seal(b"header", b"hierarchy", &mut Scripted::new(&[9; 12])).unwrap();
    assert_eq!(body_key.open(b"header", &body).unwrap(), b"hierarchy");
    for (at, flipped) in each_flip(&body) {
        assert_eq!(body_key.open(b"header", &flipped), Err(UnsealError::Damaged), "byte {at}");
    }
    for (at, flipped) in each_flip(b"header") {
        assert_eq!(body_key.open(&flipped, &body), Err(UnsealError::Damaged), "byte {at} of the header");
    }
    for length in 0..body.len() {
        let expected = if length < 12 + 16 { UnsealError::Truncated } else { UnsealError::Damaged };
        assert_eq!(body_key.open(b"header", &body[..length]), Err(expected), "{length} bytes");
    }
}

#[test]
fn no_bit_of_a_wrapped_key_can_change() {
    let arena = arena();
    let wrapping = WrappingKey::new(&arena, &key256(&arena, &[0x77; 32])).unwrap();
    let wrapped = wrapping.wrap(&key256(&arena, &[0xc6; 32])).unwrap();
    for (at, flipped) in each_flip(wrapped.as_bytes()) {
        let flipped = WrappedKey::from_bytes(flipped.try_into().unwrap());
        let error = wrapping.unwrap(&flipped).unwrap_err();
        assert!(matches!(error, UnwrapError::Integrity(_)), "byte {at}: {error}");
    }
}

/// Memory that runs out is not taken for damage, nor for another key.
#[test]
fn a_full_arena_is_an_error_of_its_own() {
    let room = arena();
    let (kek, [blob, _]) = blobs(&room);
    let blob = KeyBlob::parse(&blob).unwrap();
    let wrapping = WrappingKey::new(&room, &key256(&room, &[0x77; 32])).unwrap();
    let wrapped = wrapping.wrap(&key256(&room, &[0xc6; 32])).unwrap();

    let held: Vec<_> = std::iter::from_fn(|| room.bytes(32).ok()).collect();
    assert!(matches!(kek.open(&room, &blob, &place()).unwrap_err(), OpenError::Arena(_)));
    assert!(matches!(wrapping.unwrap(&wrapped).unwrap_err(), UnwrapError::Arena(_)));
    drop(held);
    assert!(kek.open(&room, &blob, &place()).is_ok() && wrapping.unwrap(&wrapped).is_ok());
}
