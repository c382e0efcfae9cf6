//! The vectors of `docs/formats.md`: what is written and opened, one file each in `vectors/accepted/`, and what is
//! refused, one file per failure in `vectors/refused/`. `interop/make_vectors.py` writes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use claviger_secret::Arena;
use claviger_wrap::{
    BodyKey, Iterations, Kek, KeyAlgorithm, KeyBlob, KeyPlace, KeyType, Nonce, ObjectId, Passphrase, PassphraseKdf,
    PassphraseRules, RecordPlace, SealingKey, SvmId, WrappedKey, WrappingKey,
};
use common::vector::{Vector, check_all};
use common::{Scripted, arena, kek_version, key_version, key256, plain_key};
use uuid::Uuid;

#[test]
fn accepted_vectors_are_written_and_opened() {
    check_all(
        "accepted",
        &[
            ("key-blob-", key_blob),
            ("kek-id-", kek_id),
            ("ckek-id", ckek_id),
            ("wrapped-key", wrapped_key),
            ("passphrase-keys-", passphrase_keys),
            ("derived-from-sealing-key", derived_from_sealing_key),
            ("sealed-record", sealed_record),
            ("backup-body", backup_body),
        ],
    );
}

#[test]
fn refused_vectors_are_refused_for_their_reason() {
    check_all(
        "refused",
        &[
            ("key-blob-", refused_key_blob),
            ("wrapped-key-", refused_wrapped_key),
            ("sealed-record-", refused_sealed_record),
            ("backup-body-", refused_backup_body),
        ],
    );
}

fn key_blob(vector: &mut Vector) {
    let arena = arena();
    let (kek, place) = (kek(&arena, vector), place(vector));
    let key = plain_key(&arena, &vector.bytes("key"));
    let bytes = vector.bytes("blob");
    assert_eq!(Some(key.algorithm()), KeyAlgorithm::from_number(vector.byte("key-algorithm")), "{}", vector.name());
    assert_eq!(*kek.id().as_bytes(), vector.array("kek-id"), "{}", vector.name());

    let mut sealed = vec![0xee];
    kek.seal(&key, &place, Nonce::danger_from_bytes(vector.array("nonce")), &mut sealed).unwrap();
    assert_eq!(sealed[0], 0xee, "a blob is appended");
    assert_eq!(sealed[1..], bytes, "{}", vector.name());

    let blob = KeyBlob::parse(&bytes).unwrap();
    assert_eq!(blob.header().blob_len(), bytes.len(), "{}", vector.name());
    assert_eq!(blob.header().encode(), bytes[..64], "{}", vector.name());
    assert!(kek.open(&arena, &blob, &place).unwrap().ct_eq(&key), "{}", vector.name());
}

fn kek_id(vector: &mut Vector) {
    let arena = arena();
    let kek = kek(&arena, vector);
    assert_eq!(*kek.id().as_bytes(), vector.array("kek-id"), "{}", vector.name());
}

fn ckek_id(vector: &mut Vector) {
    let ckek = key256(&arena(), &vector.bytes("ckek"));
    assert_eq!(ckek.id(&[b"claviger-ckek-id-1", &1_u32.to_be_bytes()]), vector.array("ckek-id"));
}

fn wrapped_key(vector: &mut Vector) {
    let arena = arena();
    let wrapping = wrapping(&arena, &vector.bytes("wrapping"));
    let key = key256(&arena, &vector.bytes("key"));
    let wrapped = vector.array("wrapped");
    assert_eq!(wrapping.wrap(&key).unwrap().as_bytes(), &wrapped);
    assert!(wrapping.unwrap(&WrappedKey::from_bytes(wrapped)).unwrap().ct_eq(&key));
}

fn passphrase_keys(vector: &mut Vector) {
    let arena = arena();
    let passphrase = Passphrase::copy_from(&arena, &vector.bytes("passphrase")).unwrap();
    passphrase.check(PassphraseRules::Standard).unwrap();
    let iterations = Iterations::new(vector.number("iterations")).unwrap();
    let keys = PassphraseKdf { salt: vector.array("salt"), iterations }.derive(&arena, &passphrase).unwrap();
    assert_eq!(*keys.check.as_bytes(), vector.array("check"));

    let ckek = key256(&arena, &vector.bytes("ckek"));
    let wrapped = WrappedKey::from_bytes(vector.array("wrapped"));
    assert_eq!(keys.wrapping.wrap(&ckek).unwrap(), wrapped);
    assert_eq!(wrapping(&arena, &vector.bytes("wrapping")).wrap(&ckek).unwrap(), wrapped);
    assert!(keys.wrapping.unwrap(&wrapped).unwrap().ct_eq(&ckek));
}

fn derived_from_sealing_key(vector: &mut Vector) {
    let arena = arena();
    let key = vector.bytes("sealing-key");
    let sealing = key256(&arena, &key).expand(&arena, &[b"claviger-sealing-1"]).unwrap();
    assert_eq!(sealing.expose(), vector.bytes("sealing"));

    let sealing_key = SealingKey::new(&arena, key256(&arena, &key)).unwrap();
    let record = sealing_key.seal(RecordPlace { table: 1, key: b"k" }, b"", &mut Scripted::new(&[0; 12])).unwrap();
    assert_eq!(record[8..24], vector.array::<16>("sealing-id"));

    let unattended = sealing_key.unattended(Uuid::from_bytes(vector.array("keystore"))).unwrap();
    let ckek = key256(&arena, &[0xc6; 32]);
    let expected = wrapping(&arena, &vector.bytes("unattended"));
    assert_eq!(unattended.wrap(&ckek).unwrap(), expected.wrap(&ckek).unwrap());
}

fn sealed_record(vector: &mut Vector) {
    let arena = arena();
    let sealing_key = SealingKey::new(&arena, key256(&arena, &vector.bytes("sealing-key"))).unwrap();
    let (table, key, plain) = (vector.byte("table"), vector.bytes("store-key"), vector.bytes("plain"));
    let place = RecordPlace { table, key: &key };
    let record = vector.bytes("record");
    let mut nonce = Scripted::new(&vector.bytes("nonce"));
    assert_eq!(sealing_key.seal(place, &plain, &mut nonce).unwrap(), record, "{}", vector.name());
    assert_eq!(nonce.left(), 0, "{}", vector.name());
    assert_eq!(sealing_key.open(place, &record).unwrap(), plain, "{}", vector.name());
}

fn backup_body(vector: &mut Vector) {
    let arena = arena();
    let body_key = BodyKey::of_backup(&arena, &key256(&arena, &vector.bytes("ckek"))).unwrap();
    let (header, plain, body) = (vector.bytes("header"), vector.bytes("plain"), vector.bytes("body"));
    let mut nonce = Scripted::new(&vector.bytes("nonce"));
    assert_eq!(body_key.seal(&header, &plain, &mut nonce).unwrap(), body);
    assert_eq!(body_key.open(&header, &body).unwrap(), plain);
}

fn refused_key_blob(vector: &mut Vector) {
    let arena = arena();
    let (kek, place) = (kek(&arena, vector), place(vector));
    let bytes = vector.bytes("blob");
    let refusal = match KeyBlob::parse(&bytes) {
        Err(error) => error.to_string(),
        Ok(blob) => kek.open(&arena, &blob, &place).expect_err(vector.name()).to_string(),
    };
    assert_eq!(refusal, vector.text("error"), "{}", vector.name());
}

fn refused_wrapped_key(vector: &mut Vector) {
    let arena = arena();
    let wrapping = wrapping(&arena, &vector.bytes("wrapping"));
    let wrapped = WrappedKey::from_bytes(vector.array("wrapped"));
    let refusal = wrapping.unwrap(&wrapped).expect_err(vector.name());
    assert_eq!(refusal.to_string(), vector.text("error"), "{}", vector.name());
}

fn refused_sealed_record(vector: &mut Vector) {
    let arena = arena();
    let sealing_key = SealingKey::new(&arena, key256(&arena, &vector.bytes("sealing-key"))).unwrap();
    let (table, key) = (vector.byte("table"), vector.bytes("store-key"));
    let refusal = sealing_key.open(RecordPlace { table, key: &key }, &vector.bytes("record")).expect_err(vector.name());
    assert_eq!(refusal.to_string(), vector.text("error"), "{}", vector.name());
}

fn refused_backup_body(vector: &mut Vector) {
    let arena = arena();
    let body_key = BodyKey::of_backup(&arena, &key256(&arena, &vector.bytes("ckek"))).unwrap();
    let refusal = body_key.open(&vector.bytes("header"), &vector.bytes("body")).expect_err(vector.name());
    assert_eq!(refusal.to_string(), vector.text("error"), "{}", vector.name());
}

fn kek(arena: &Arena, vector: &mut Vector) -> Kek {
    let version = kek_version(vector.number("kek-version"));
    Kek::new(arena, version, key256(arena, &vector.bytes("kek")), 0).unwrap()
}

fn place(vector: &mut Vector) -> KeyPlace {
    KeyPlace {
        svm: SvmId::from_bytes(vector.array("svm")),
        key_type: KeyType::from_number(vector.byte("key-type")).unwrap(),
        object: ObjectId::from_bytes(vector.array("object")),
        version: key_version(vector.number("key-version")),
    }
}

fn wrapping(arena: &Arena, key: &[u8]) -> WrappingKey {
    WrappingKey::new(arena, &key256(arena, key)).unwrap()
}
