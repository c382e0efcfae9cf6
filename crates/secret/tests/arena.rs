//! What an arena promises on any kernel: slots, limits, reports, and silence about secrets.
#![allow(clippy::unwrap_used)]

use claviger_secret::{Arena, ArenaError, ArenaOptions, Guarded, Protection, SecretBytes};
use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;

/// An arena of one slab: of the strongest kind here, with nothing weaker accepted.
fn one_slab(keys: usize, states: usize) -> Arena {
    let options = |accept| ArenaOptions { keys, states, accept };
    let strongest = Arena::new(&options(Protection::Unlocked)).unwrap().protection();
    Arena::new(&options(strongest)).unwrap()
}

#[test]
fn bytes_have_the_length_asked_for_and_are_zeros() {
    let arena = one_slab(3, 2);
    for len in [0, 1, 32, 64, 65, 1024] {
        let mut secret = arena.bytes(len).unwrap();
        assert_eq!(secret.expose(), vec![0; len]);
        assert_eq!((secret.len(), secret.is_empty()), (len, len == 0));
        secret.expose_mut().fill(0xa5);
        assert_eq!(secret.expose(), vec![0xa5; len]);
    }
    // Every slot has been dirtied by now.
    assert_eq!(arena.bytes(64).unwrap().expose(), [0; 64]);
    assert_eq!(arena.bytes(1024).unwrap().expose(), [0; 1024]);
}

#[test]
fn too_long_is_an_error_that_names_the_limit() {
    let error = one_slab(1, 1).bytes(1025).unwrap_err();
    assert!(matches!(error, ArenaError::TooLong { len: 1025, max: 1024 }));
    assert!(error.to_string().contains("1024"));
}

#[test]
fn each_kind_of_slot_is_full_on_its_own() {
    let arena = one_slab(2, 1);
    let keys = [arena.bytes(64).unwrap(), arena.bytes(1).unwrap()];
    let error = arena.bytes(32).unwrap_err();
    assert!(matches!(error, ArenaError::Full { capacity: 2, refusal: None, .. }), "{error:?}");
    assert!(error.to_string().starts_with("all 2 key slots of the arena are in use: "), "{error}");
    assert!(error.to_string().contains("`ArenaOptions::keys`"), "{error}");

    let state = arena.bytes(65).unwrap();
    let error = arena.build(|| [0u8; 65]).unwrap_err();
    assert!(error.to_string().contains("`ArenaOptions::states`"), "{error}");

    drop((keys, state));
    assert!(arena.bytes(32).is_ok() && arena.bytes(65).is_ok());
}

#[test]
fn an_arena_without_slots_is_full() {
    let arena = Arena::new(&ArenaOptions { keys: 0, states: 0, accept: Protection::Unlocked }).unwrap();
    assert!(matches!(arena.bytes(0), Err(ArenaError::Full { capacity: 0, .. })));
    assert!(matches!(arena.bytes(1024), Err(ArenaError::Full { capacity: 0, .. })));
    assert_eq!(arena.usage().slabs.len(), 1);
}

#[test]
fn the_defaults_fit_under_the_usual_limit() {
    let ArenaOptions { keys, states, accept } = ArenaOptions::default();
    assert!(keys * 64 + states * 1024 < 8 << 20);
    assert_eq!(accept, Protection::Mlock);
}

#[test]
fn usage_counts_what_is_in_use() {
    let arena = one_slab(5, 3);
    let held =
        (arena.bytes(1).unwrap(), arena.bytes(64).unwrap(), arena.bytes(65).unwrap(), arena.build(|| 7u8).unwrap());
    let usage = arena.clone().usage();
    assert_eq!((usage.keys.used, usage.keys.capacity), (3, 5));
    assert_eq!((usage.states.used, usage.states.capacity), (1, 3));
    assert_eq!(usage.slabs.len(), 1);
    assert_eq!(usage.slabs[0].protection, arena.protection());
    assert_eq!((usage.slabs[0].keys, usage.slabs[0].states), (usage.keys, usage.states));
    drop(held);
    assert_eq!((arena.usage().keys.used, arena.usage().states.used), (0, 0));
}

#[test]
fn secrets_outlive_their_arena() {
    let arena = one_slab(1, 1);
    let mut key = arena.bytes(32).unwrap();
    let schedule = arena.build(|| [3u8; 240]).unwrap();
    drop(arena);
    key.expose_mut().fill(9);
    assert!(key.ct_eq(&[9; 32]));
    assert_eq!(*schedule, [3; 240]);
}

#[test]
fn ct_eq_compares_content_and_length() {
    let arena = one_slab(1, 0);
    let mut key = arena.bytes(32).unwrap();
    key.expose_mut().fill(7);
    assert!(key.ct_eq(&[7; 32]));
    for at in [0, 15, 31] {
        let mut other = [7; 32];
        other[at] ^= 0x80;
        assert!(!key.ct_eq(&other), "byte {at}");
    }
    assert!(!key.ct_eq(&[7; 31]) && !key.ct_eq(&[7; 33]) && !key.ct_eq(&[]));
}

#[test]
fn nothing_prints_a_secret() {
    let arena = one_slab(1, 1);
    let mut key = arena.bytes(32).unwrap();
    key.expose_mut().copy_from_slice(b"an example key of thirty-2 bytes");
    let schedule =
        arena.build(|| *b"an example of a schedule, longer than a key, so that it lies in a slot for states").unwrap();
    assert_eq!(format!("{key:?} {key:#?}"), "SecretBytes(..) SecretBytes(..)");
    assert_eq!(format!("{schedule:?} {schedule:#?}"), "Guarded(..) Guarded(..)");
    let rest = format!("{arena:?} {:?} {:?}", arena.usage(), arena.bytes(1).unwrap_err());
    assert!(!rest.contains("example") && !rest.contains("97, 110"), "{rest}");
}

#[test]
fn a_value_is_aligned_and_shared_as_it_asks() {
    #[repr(align(64))]
    struct Aligned([u8; 1024]);

    let arena = one_slab(1, 2);
    let values = [arena.build(|| Aligned([1; 1024])).unwrap(), arena.build(|| Aligned([2; 1024])).unwrap()];
    thread::scope(|scope| {
        for (value, byte) in values.iter().zip([1, 2]) {
            scope.spawn(move || {
                assert_eq!(std::ptr::from_ref::<Aligned>(value).addr() % 64, 0);
                assert_eq!(value.0, [byte; 1024]);
            });
        }
    });
}

#[test]
fn everything_may_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Arena>();
    crosses::<SecretBytes>();
    crosses::<Guarded<[u8; 240]>>();
    crosses::<ArenaError>();
}

/// More threads than slots: all slots are handed out and returned all the time, and never two to one place.
#[test]
fn threads_never_share_a_slot() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 20_000;
    let arena = one_slab(5, 3);
    let start = Barrier::new(THREADS as usize);
    let (taken, full) = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (arena, start) = (&arena, &start);
                scope.spawn(move || {
                    let (mut taken, mut full) = (0, 0);
                    start.wait();
                    for round in 0..ROUNDS {
                        let mark = (u64::from(thread) << 32 | u64::from(round)).to_le_bytes();
                        let len = if round % 3 == 0 { 1024 } else { 64 };
                        match arena.bytes(len) {
                            Ok(mut secret) => {
                                assert!(secret.expose().iter().all(|byte| *byte == 0), "a slot came dirty");
                                for word in secret.expose_mut().chunks_exact_mut(8) {
                                    word.copy_from_slice(&mark);
                                }
                                if round % 16 == 0 {
                                    thread::yield_now();
                                }
                                assert!(secret.expose().chunks(8).all(|word| word == mark), "a slot is shared");
                                taken += 1;
                            }
                            Err(ArenaError::Full { .. }) => full += 1,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    (taken, full)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    assert_eq!(taken + full, THREADS * ROUNDS);
    assert!(taken > 0);
    assert_eq!((arena.usage().keys.used, arena.usage().states.used), (0, 0));
}

#[test]
fn slots_held_at_once_are_distinct() {
    let arena = one_slab(400, 0);
    let secrets: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..100).map(|_| arena.bytes(64).unwrap()).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let places: HashSet<_> = secrets.iter().map(|secret| secret.expose().as_ptr()).collect();
    assert_eq!(places.len(), 400);
    assert!(matches!(arena.bytes(64), Err(ArenaError::Full { .. })));
}
