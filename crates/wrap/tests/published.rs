//! The vectors of the standards that the formats rest on, one file each in `vectors/published/`. Where this crate's own
//! functions cannot be given a vector's inputs, the vector is run on the dependency as this crate configures it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use claviger_wrap::{Key256, WrappedKey, WrappingKey};
use common::vector::{Vector, check_all};
use common::{arena, key256};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

#[test]
fn published_vectors_hold() {
    check_all(
        "published",
        &[
            ("key-wrap-", key_wrap),
            ("gcm-encrypt-", gcm_encrypt),
            ("gcm-decrypt-", gcm_decrypt),
            ("gcm-fail-", gcm_fail),
            ("hmac-", hmac),
            ("hkdf-", hkdf),
            ("pbkdf2-", pbkdf2),
        ],
    );
}

fn key_wrap(vector: &mut Vector) {
    let arena = arena();
    let wrapping = WrappingKey::new(&arena, &key256(&arena, &vector.bytes("wrapping"))).unwrap();
    let key = key256(&arena, &vector.bytes("key"));
    let wrapped = vector.array("wrapped");
    assert_eq!(wrapping.wrap(&key).unwrap().as_bytes(), &wrapped);
    assert!(wrapping.unwrap(&WrappedKey::from_bytes(wrapped)).unwrap().ct_eq(&key));
}

fn gcm_encrypt(vector: &mut Vector) {
    let (cipher, nonce, aad) = gcm(vector);
    let plain = vector.bytes("plain");
    let mut ciphertext = vec![0; plain.len()];
    let buffer = InOutBuf::new(&plain, &mut ciphertext).unwrap();
    let tag = cipher.encrypt_inout_detached(&nonce.into(), &aad, buffer).unwrap();
    assert_eq!(ciphertext, vector.bytes("ciphertext"), "{}", vector.name());
    assert_eq!(tag.as_slice(), vector.bytes("tag"), "{}", vector.name());
}

fn gcm_decrypt(vector: &mut Vector) {
    assert_eq!(gcm_open(vector), Some(vector.bytes("plain")), "{}", vector.name());
}

fn gcm_fail(vector: &mut Vector) {
    assert_eq!(gcm_open(vector), None, "{}", vector.name());
}

/// The plaintext, or nothing where the tag fails; and then no unproven plaintext was written.
fn gcm_open(vector: &mut Vector) -> Option<Vec<u8>> {
    let (cipher, nonce, aad) = gcm(vector);
    let ciphertext = vector.bytes("ciphertext");
    let mut plain = vec![0; ciphertext.len()];
    let buffer = InOutBuf::new(&ciphertext, &mut plain).unwrap();
    let tag: [u8; 16] = vector.array("tag");
    if cipher.decrypt_inout_detached(&nonce.into(), &aad, buffer, &tag.into()).is_ok() {
        return Some(plain);
    }
    assert!(plain.iter().all(|byte| *byte == 0), "{}: plaintext before the tag was checked", vector.name());
    None
}

fn gcm(vector: &mut Vector) -> (Aes256Gcm, [u8; 12], Vec<u8>) {
    let key: [u8; 32] = vector.array("key");
    (Aes256Gcm::new(&key.into()), vector.array("nonce"), vector.bytes("associated-data"))
}

fn hmac(vector: &mut Vector) {
    let (key, data, mac) = (vector.bytes("key"), vector.bytes("data"), vector.bytes("mac"));
    let computed = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(&data).finalize().into_bytes();
    assert_eq!(computed[..mac.len()], mac, "{}", vector.name());

    // HMAC fills a key up with zeros, so a shorter key can be given as one of 256 bits.
    if key.len() <= Key256::LEN {
        let mut padded = [0; Key256::LEN];
        padded[..key.len()].copy_from_slice(&key);
        let key = key256(&arena(), &padded);
        assert_eq!(key.id(&[&data]), mac[..16], "{}", vector.name());
        let (first, second) = data.split_at(data.len() / 2);
        assert_eq!(key.id(&[first, second]), mac[..16], "{}, in two parts", vector.name());
    }
}

fn hkdf(vector: &mut Vector) {
    let (prk, info, okm) = (vector.bytes("prk"), vector.bytes("info"), vector.bytes("okm"));
    let mut computed = vec![0; okm.len()];
    Hkdf::<Sha256>::from_prk(&prk).unwrap().expand(&info, &mut computed).unwrap();
    assert_eq!(computed, okm, "{}", vector.name());

    // A shorter output is the beginning of a longer one.
    let arena = arena();
    let expanded = key256(&arena, &prk).expand(&arena, &[&info]).unwrap();
    assert_eq!(expanded.expose(), &okm[..Key256::LEN], "{}", vector.name());
}

fn pbkdf2(vector: &mut Vector) {
    let (passphrase, salt) = (vector.bytes("passphrase"), vector.bytes("salt"));
    let derived = vector.bytes("derived");
    let mut computed = vec![0; derived.len()];
    pbkdf2::pbkdf2_hmac::<Sha256>(&passphrase, &salt, vector.number("iterations"), &mut computed);
    assert_eq!(computed, derived, "{}", vector.name());
}
