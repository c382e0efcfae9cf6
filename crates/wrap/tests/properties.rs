//! What holds for all places, keys and bytes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use claviger_wrap::{
    HEADER_LEN, Kek, KekId, KeyAlgorithm, KeyBlob, KeyHeader, KeyPlace, KeyType, Nonce, ObjectId, OpenError,
    RecordPlace, SealingKey, SvmId, SystemRandom, UnsealError, WrappingKey,
};
use common::{arena, kek_version, key_version, key256, plain_key};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

fn algorithms() -> impl Strategy<Value = KeyAlgorithm> {
    select(&[KeyAlgorithm::XtsAes256, KeyAlgorithm::Aes256])
}

/// Few SVMs and objects, so that places that differ in one field only are frequent.
fn places() -> impl Strategy<Value = KeyPlace> {
    let uuids = || prop_oneof![any::<[u8; 16]>(), (0..2_u8).prop_map(|byte| [byte; 16])];
    let versions = prop_oneof![1..4_u32, 1..=u32::MAX];
    (uuids(), select(&KeyType::ALL), uuids(), versions).prop_map(|(svm, key_type, object, version)| KeyPlace {
        svm: SvmId::from_bytes(svm),
        key_type,
        object: ObjectId::from_bytes(object),
        version: key_version(version),
    })
}

fn headers() -> impl Strategy<Value = KeyHeader> {
    (algorithms(), places(), 1..=u32::MAX, any::<[u8; 16]>()).prop_map(|(algorithm, place, version, id)| KeyHeader {
        algorithm,
        place,
        kek_version: kek_version(version),
        kek_id: KekId::from_bytes(id),
    })
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    algorithms().prop_flat_map(|algorithm| vec(any::<u8>(), algorithm.key_len()))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_blob_opens_as_what_it_was_sealed(
        kek in any::<[u8; 32]>(), version in 1..=u32::MAX, place in places(), key in keys(), nonce in any::<[u8; 12]>(),
    ) {
        let arena = arena();
        let key = plain_key(&arena, &key);
        let kek = Kek::new(&arena, kek_version(version), key256(&arena, &kek), 0).unwrap();
        let mut bytes = Vec::new();
        kek.seal(&key, &place, Nonce::danger_from_bytes(nonce), &mut bytes).unwrap();

        let blob = KeyBlob::parse(&bytes).unwrap();
        let (algorithm, kek_version, kek_id) = (key.algorithm(), kek.version(), kek.id());
        prop_assert_eq!(blob.header(), &KeyHeader { algorithm, place, kek_version, kek_id });
        prop_assert_eq!(&bytes[64..76], &nonce);
        prop_assert!(kek.open(&arena, &blob, &place).unwrap().ct_eq(&key));
    }

    #[test]
    fn a_blob_opens_in_no_other_place(key in keys(), place in places(), other in places()) {
        prop_assume!(place != other);
        let arena = arena();
        let kek = Kek::new(&arena, kek_version(1), key256(&arena, &[0x4b; 32]), 0).unwrap();
        let mut bytes = Vec::new();
        kek.seal(&plain_key(&arena, &key), &place, Nonce::danger_from_bytes([0; 12]), &mut bytes).unwrap();
        let error = kek.open(&arena, &KeyBlob::parse(&bytes).unwrap(), &other).unwrap_err();
        let OpenError::OtherPlace { found, expected } = error else { panic!("{error}") };
        prop_assert_eq!((*found, *expected), (place, other));

        // And its header cannot be made to say that it belongs there.
        let header = KeyHeader { place: other, ..*KeyBlob::parse(&bytes).unwrap().header() };
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        let error = kek.open(&arena, &KeyBlob::parse(&bytes).unwrap(), &other).unwrap_err();
        prop_assert!(matches!(error, OpenError::Damaged));
    }

    #[test]
    fn a_blob_opens_under_no_other_kek(key in keys(), place in places(), flip in 0..256_usize) {
        let arena = arena();
        let kek = |bytes: &[u8]| Kek::new(&arena, kek_version(1), key256(&arena, bytes), 0).unwrap();
        let mut other = [0x4b; 32];
        other[flip / 8] ^= 1 << (flip % 8);
        let mut bytes = Vec::new();
        kek(&[0x4b; 32])
            .seal(&plain_key(&arena, &key), &place, Nonce::danger_from_bytes([0; 12]), &mut bytes)
            .unwrap();
        let error = kek(&other).open(&arena, &KeyBlob::parse(&bytes).unwrap(), &place).unwrap_err();
        let is_other = matches!(error, OpenError::OtherKek { .. });
        prop_assert!(is_other, "{}", error);
    }

    #[test]
    fn a_header_is_read_as_it_was_written(
        header in headers(), body in vec(any::<u8>(), 92), following in vec(any::<u8>(), 0..200),
    ) {
        let blob = [&header.encode()[..], &body[..header.blob_len() - HEADER_LEN]].concat();
        let bytes = [&blob[..], &following].concat();
        let (read, rest) = KeyBlob::parse_first(&bytes).unwrap();
        prop_assert_eq!(read.header(), &header);
        prop_assert_eq!((read.as_bytes(), rest), (&blob[..], &following[..]));
        prop_assert_eq!(KeyBlob::parse(&bytes).is_ok(), following.is_empty());
    }

    /// There is one way to write a blob: what is read is what would be written.
    #[test]
    fn bytes_that_are_a_blob_are_the_only_ones_for_it(
        header in headers(), body in vec(any::<u8>(), 0..100), changes in vec((0..HEADER_LEN, 0..4_u8), 0..3),
    ) {
        let mut bytes = [&header.encode()[..], &body].concat();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Ok((blob, _)) = KeyBlob::parse_first(&bytes) {
            prop_assert_eq!(&blob.header().encode()[..], &bytes[..HEADER_LEN]);
            prop_assert_eq!(blob.as_bytes(), &bytes[..blob.header().blob_len()]);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..400), form in 0..3_usize) {
        let begin: &[u8] = [&b""[..], b"CLVG\x01\x01\x01\x01", b"CLVS\x01\x01\x01\x00"][form];
        let bytes = [begin, &bytes].concat();
        let arena = arena();
        if let Ok(blob) = KeyBlob::parse(&bytes) {
            let kek = Kek::new(&arena, kek_version(1), key256(&arena, &[0x4b; 32]), 0).unwrap();
            prop_assert!(kek.open(&arena, &blob, &blob.header().place).is_err());
        }
        let sealing_key = SealingKey::new(&arena, key256(&arena, &[0x5e; 32])).unwrap();
        let place = RecordPlace { table: 1, key: b"k" };
        prop_assert!(sealing_key.open(place, &bytes).is_err());
    }

    #[test]
    fn a_record_opens_in_its_place_only(
        table in any::<u8>(), key in vec(any::<u8>(), 0..40), plain in vec(any::<u8>(), 0..300),
        other_table in any::<u8>(), other_key in vec(any::<u8>(), 0..40), split in 0..40_usize,
    ) {
        let arena = arena();
        let sealing_key = SealingKey::new(&arena, key256(&arena, &[0x5e; 32])).unwrap();
        let place = RecordPlace { table, key: &key };
        let record = sealing_key.seal(place, &plain, &mut SystemRandom).unwrap();
        prop_assert_eq!(sealing_key.open(place, &record), Ok(plain));

        if other_table != table {
            let moved = sealing_key.open(RecordPlace { table: other_table, ..place }, &record);
            prop_assert_eq!(moved, Err(UnsealError::OtherTable { found: table }));
        }
        for other in [&other_key[..], &key[..split.min(key.len())], &[&key[..], b"\0"].concat()] {
            if other != key {
                let moved = sealing_key.open(RecordPlace { key: other, ..place }, &record);
                prop_assert_eq!(moved, Err(UnsealError::Damaged));
            }
        }
    }

    #[test]
    fn a_wrapped_key_opens_under_its_own_key_only(
        wrapping in any::<[u8; 32]>(), key in any::<[u8; 32]>(), flip in 0..256_usize,
    ) {
        let arena = arena();
        let mut other = wrapping;
        other[flip / 8] ^= 1 << (flip % 8);
        let [wrapping, other] = [wrapping, other].map(|key| WrappingKey::new(&arena, &key256(&arena, &key)).unwrap());
        let key = key256(&arena, &key);
        let wrapped = wrapping.wrap(&key).unwrap();
        prop_assert!(wrapping.unwrap(&wrapped).unwrap().ct_eq(&key));
        prop_assert!(other.unwrap(&wrapped).is_err());
    }
}
