//! scratch
#![allow(clippy::all)]
use claviger::*;
use claviger_wrap::*;
use std::hint::black_box;
use std::time::Instant;
fn main() {
    let arena = Arena::new(&ArenaOptions::default()).unwrap();
    println!("{:?}", arena.protection());
    let kek = Kek::generate(&arena, KekVersion::FIRST, &mut SystemRandom).unwrap();
    kek.seals().raise(SealCount::LIMIT);
    let key = PlainKey::generate(&arena, KeyAlgorithm::XtsAes256, &mut SystemRandom).unwrap();
    let place = KeyPlace {
        svm: SvmId::random(),
        key_type: KeyType::Vek,
        object: ObjectId::random(),
        version: KeyVersion::FIRST,
    };
    let mut blob = Vec::new();
    kek.seal(&key, &place, kek.nonces(1, &mut SystemRandom).unwrap().take().unwrap(), &mut blob).unwrap();
    let which = std::env::args().nth(1).unwrap();
    let n = 10_000_000u32;
    let time = |name: &str, f: &mut dyn FnMut()| {
        if !name.contains(&which) {
            return;
        }
        let s = Instant::now();
        for _ in 0..n {
            f()
        }
        println!("{name}: {:.1} ns", s.elapsed().as_secs_f64() / f64::from(n) * 1e9);
    };
    time("parse", &mut || {
        black_box(KeyBlob::parse(black_box(&blob)).unwrap());
    });
    time("slot", &mut || {
        black_box(arena.bytes(64).unwrap());
    });
    time("open", &mut || {
        let b = KeyBlob::parse(black_box(&blob)).unwrap();
        black_box(kek.open(&arena, &b, &place).unwrap());
    });
    time("wiped", &mut || {
        claviger_secret::wiped(|| black_box(()));
    });
    let mut out = Vec::new();
    let header = *KeyBlob::parse(&blob).unwrap().header();
    time("encode", &mut || {
        black_box(black_box(&header).encode());
    });
    time("seal", &mut || {
        out.clear();
        kek.seal(&key, black_box(&place), Nonce::danger_from_bytes([1; 12]), &mut out).unwrap();
        black_box(&out);
    });
    {
        use aes_gcm::{AeadInOut, KeyInit, aead::inout::InOutBuf};
        let gcm = aes_gcm::Aes256Gcm::new_from_slice(kek.key().expose()).unwrap();
        let hb = header.encode();
        let mut o = [0u8; 64];
        time("bare", &mut || {
            let s = black_box(&blob);
            gcm.decrypt_inout_detached(
                s[64..76].try_into().unwrap(),
                &hb,
                InOutBuf::new(&s[76..140], &mut o).unwrap(),
                s[140..].try_into().unwrap(),
            )
            .unwrap();
            black_box(&o);
        });
        let g = arena.build(|| aes_gcm::Aes256Gcm::new_from_slice(kek.key().expose()).unwrap()).unwrap();
        time("bare guarded", &mut || {
            let s = black_box(&blob);
            g.decrypt_inout_detached(
                s[64..76].try_into().unwrap(),
                &hb,
                InOutBuf::new(&s[76..140], &mut o).unwrap(),
                s[140..].try_into().unwrap(),
            )
            .unwrap();
            black_box(&o);
        });
        time("bare wiped", &mut || {
            let s = black_box(&blob);
            claviger_secret::wiped(|| {
                gcm.decrypt_inout_detached(
                    s[64..76].try_into().unwrap(),
                    &hb,
                    InOutBuf::new(&s[76..140], &mut o).unwrap(),
                    s[140..].try_into().unwrap(),
                )
                .unwrap()
            });
            black_box(&o);
        });
    }
}
