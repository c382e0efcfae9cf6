//! Copies of keys where none may be, for the test of the search itself: one key in each place.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aes_gcm::{Aes256Gcm, KeyInit as _};
use anyhow::{Context as _, Result};
use claviger::{Engine, KeyAlgorithm, ObjectRef, SvmId};
use uuid::Uuid;

/// A place, and the object whose key is put there.
pub(super) const PLANTS: [(&str, u128); 4] = [
    ("heap", 0xa_0001),
    ("dropped stack frame", 0xa_0002),
    ("vector register", 0xa_0003),
    ("schedule on the heap", 0xa_0004),
];

/// Plants a key of 32 bytes in each place, and returns when they are there. They stay as long as the process lives.
pub(super) fn plant(engine: &Engine, svm: SvmId) -> Result<()> {
    for (place, number) in PLANTS {
        let object = ObjectRef::Volume(Uuid::from_u128(number));
        let created = engine.create_key(svm, object, KeyAlgorithm::Aes256)?;
        let key: &[u8; 32] = created.expose().try_into().context("an AES-256 key has 32 bytes")?;
        // A thread of its own cannot borrow it.
        let held = engine.open_key(svm, object)?;
        match place {
            "heap" => {
                black_box(Box::leak(Box::new(*key)));
            }
            "schedule on the heap" => {
                black_box(Box::leak(Box::new(Aes256Gcm::new(key.into()))));
            }
            place => {
                let planted: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
                // Each in a thread of its own, which does nothing that could cover it, and never ends.
                thread::spawn(move || match place {
                    "vector register" => keep_in_register(held.newest().expose(), planted),
                    _ => {
                        copy_to_stack(held.newest().expose());
                        planted.wait();
                        loop {
                            thread::park();
                        }
                    }
                });
                planted.wait();
            }
        }
    }
    Ok(())
}

/// A copy in a frame that is gone when this returns, too deep for the next calls to cover.
#[inline(never)]
fn copy_to_stack(key: &[u8]) {
    let mut frame = [0_u8; 16 * 1024];
    frame.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    black_box(&frame);
}

/// Computes with eight bytes of the key for ever. What is multiplied as a floating-point number is in a vector register; by
/// one, it stays as it is.
fn keep_in_register(key: &[u8], planted: &Barrier) {
    let one = black_box(AtomicU64::new(1.0_f64.to_bits()));
    let numbers = key.as_chunks().0.iter().map(|piece| f64::from_ne_bytes(*piece));
    planted.wait();
    if let Some(mut number) = numbers.into_iter().find(|number| number.is_normal()) {
        while number != 0.0 {
            number *= f64::from_bits(black_box(&one).load(Ordering::Relaxed));
        }
        black_box(number);
    }
}
