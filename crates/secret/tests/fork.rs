//! What a forked child can do with what it inherits: nothing, harmlessly.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)]

use claviger_secret::testing::{End, in_child};
use claviger_secret::{Arena, ArenaError, ArenaOptions, Protection, SecretBytes};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// The first page of a slab and some more.
const OPTIONS: ArenaOptions = ArenaOptions { keys: 1_000, states: 10, accept: Protection::Unlocked };

/// A secret in each kind of memory that is to be had here.
fn one_of_each_kind() -> Vec<SecretBytes> {
    let arena = Arena::new(&ArenaOptions { keys: 1, states: 0, ..OPTIONS }).unwrap();
    let secrets = iter::from_fn(|| arena.bytes(32).ok()).take(3).map(|mut secret| {
        secret.expose_mut().fill(0xa5);
        secret
    });
    secrets.collect()
}

#[test]
fn a_child_that_reads_a_secret_dies() {
    for secret in one_of_each_kind() {
        assert_eq!(in_child(|| secret.expose()[0] == 0), End::Signal(libc::SIGSEGV));
    }
    let arena = Arena::new(&OPTIONS).unwrap();
    let schedule = arena.build(|| [0xa5u8; 240]).unwrap();
    assert_eq!(in_child(|| schedule[0] == 0), End::Signal(libc::SIGSEGV));
    assert_eq!(schedule[0], 0xa5);
}

#[test]
fn a_child_that_maps_memory_first_does_not_read_that_instead() {
    for secret in one_of_each_kind() {
        let end = in_child(|| {
            let page = secret.expose().as_ptr().map_addr(|addr| addr & !4095).cast_mut().cast();
            // SAFETY: FIXED_NOREPLACE leaves existing mappings alone.
            let taken = unsafe {
                mmap_anonymous(
                    page,
                    4096,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE,
                )
            };
            taken.is_ok() || secret.expose()[0] == 0
        });
        assert_eq!(end, End::Signal(libc::SIGSEGV));
    }
}

#[test]
fn a_child_may_drop_what_it_inherits() {
    static DROPPED: AtomicBool = AtomicBool::new(false);
    struct Witness;
    impl Drop for Witness {
        fn drop(&mut self) {
            DROPPED.store(true, Ordering::Relaxed);
        }
    }

    let arena = Arena::new(&OPTIONS).unwrap();
    let mut key = arena.bytes(32).unwrap();
    key.expose_mut().fill(0xa5);
    let value = arena.build(|| Witness).unwrap();
    let (spare, mut inherited) = (arena.clone(), Some((arena, key, value)));
    let end = in_child(|| {
        let used = spare.usage().keys.used;
        drop(inherited.take());
        // The account is the parent's too: it does not change. Nor is the value dropped, which is not there.
        used == 2 && spare.usage().keys.used == 2 && !DROPPED.load(Ordering::Relaxed)
    });
    assert_eq!(end, End::Returned(true));
    let (arena, key, value) = inherited.unwrap();
    assert!(key.ct_eq(&[0xa5; 32]));
    drop(value);
    assert!(DROPPED.load(Ordering::Relaxed));
    assert_eq!(arena.usage().keys.used, 1);
}

#[test]
fn dropping_the_last_handle_in_a_child_unmaps_nothing() {
    let arena = Arena::new(&OPTIONS).unwrap();
    let key = arena.bytes(32).unwrap();
    let page = key.expose().as_ptr().map_addr(|addr| addr & !4095).cast_mut();
    let end = in_child(move || {
        drop((arena, key));
        // SAFETY: changes no mapping: what is there already is left alone.
        let taken = unsafe {
            mmap_anonymous(page.cast(), 4096, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE)
        };
        taken.is_err()
    });
    assert_eq!(end, End::Returned(true));
}

#[test]
fn an_inherited_arena_gives_no_memory_and_a_new_one_does() {
    let arena = Arena::new(&OPTIONS).unwrap();
    let end = in_child(|| {
        let refused = matches!(arena.bytes(32), Err(ArenaError::Forked))
            && matches!(arena.build(|| 1u8), Err(ArenaError::Forked))
            && arena.usage().keys.capacity == 1_000;
        let own = Arena::new(&OPTIONS).unwrap();
        let mut key = own.bytes(32).unwrap();
        key.expose_mut().fill(7);
        // And the same one generation on.
        let grandchild = in_child(|| {
            matches!(own.bytes(32), Err(ArenaError::Forked))
                && matches!(arena.bytes(32), Err(ArenaError::Forked))
                && Arena::new(&OPTIONS).unwrap().bytes(32).is_ok()
        });
        let reader = in_child(|| key.expose()[0] == 0);
        refused && key.ct_eq(&[7; 32]) && grandchild == End::Returned(true) && reader == End::Signal(libc::SIGSEGV)
    });
    assert_eq!(end, End::Returned(true));
    assert!(arena.bytes(32).is_ok());
}

/// Forks while other threads hold every lock there is and make and drop arenas: no child hangs, none is aborted.
#[test]
fn children_of_a_busy_process_do_not_hang() {
    let arena = Arena::new(&OPTIONS).unwrap();
    let inherited = arena.bytes(32).unwrap();
    let stop = AtomicBool::new(false);
    let (taken, made) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(arena.bytes(64).unwrap());
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(one_of_each_kind());
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut inherited = Some(inherited);
        let bad = (0..300)
            .map(|_| {
                in_child(|| {
                    let forked = matches!(arena.bytes(64), Err(ArenaError::Forked));
                    drop(inherited.take());
                    let _usage = arena.usage();
                    forked && Arena::new(&OPTIONS).unwrap().bytes(64).is_ok()
                })
            })
            .find(|end| *end != End::Returned(true));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(bad, None);
    });
    assert!(taken.into_inner() > 0 && made.into_inner() > 0);
}
