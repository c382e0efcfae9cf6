use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{exactly, put};
use crate::{Batch, Entry, Expect, Expectation, Outcome, Replacement, Store, StoreError, Table};

const THREADS: usize = 8;

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

/// Puts the second value in the place of the first, and tells whether that was there.
type Swap = fn(&dyn Store, &[u8], u64) -> bool;

/// Eight threads add 50 each to one record, each in one of these ways.
fn increment(store: &dyn Store, swaps: &[Swap]) {
    put(store, Table::Jobs, b"count", &0_u64.to_be_bytes());
    thread::scope(|scope| {
        for swap in swaps.iter().cycle().take(THREADS) {
            scope.spawn(|| {
                for _ in 0..50 {
                    loop {
                        let read = store.get(Table::Jobs, b"count").unwrap().unwrap();
                        if swap(store, &read, number(&read) + 1) {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(number(&store.get(Table::Jobs, b"count").unwrap().unwrap()), 400);
}

fn by_commit(store: &dyn Store, read: &[u8], next: u64) -> bool {
    let batch = Batch::new().require(Table::Jobs, *b"count", exactly(read));
    match store.commit(batch.put(Table::Jobs, *b"count", next.to_be_bytes())) {
        Ok(()) => true,
        Err(StoreError::Conflict { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

fn by_replacement(store: &dyn Store, read: &[u8], next: u64) -> bool {
    let value = next.to_be_bytes().to_vec();
    let item = Replacement { key: b"count".to_vec(), expect: exactly(read), value };
    store.replace_each(Table::Jobs, &[item], &[]).unwrap() == [Outcome::Replaced]
}

pub(super) fn increments_by_commit_are_not_lost(store: &dyn Store) {
    increment(store, &[by_commit]);
}

pub(super) fn increments_by_replacement_are_not_lost(store: &dyn Store) {
    increment(store, &[by_replacement]);
}

/// A store may have an own lock for each, so that neither sees what the other does.
pub(super) fn increments_by_both_are_not_lost(store: &dyn Store) {
    increment(store, &[by_commit, by_replacement]);
}

pub(super) fn one_of_many_creates_a_record(store: &dyn Store) {
    put(store, Table::Keks, b"kek", b"");
    let start = Barrier::new(THREADS);
    for round in 0..20_u8 {
        let create = || {
            let batch =
                Batch::new().require(Table::Keks, *b"kek", exactly(b"")).require(Table::Keys, [round], Expect::Absent);
            start.wait();
            store.commit(batch.put(Table::Keys, [round], *b"made")).is_ok()
        };
        let created = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(created, 1);
    }
}

pub(super) fn a_scan_sees_all_of_a_commit_or_nothing(store: &dyn Store) {
    let together = |round: u8| {
        // Far enough apart not to lie together in any tree.
        (0..8_u8).fold(Batch::new(), |batch, number| batch.put(Table::Svms, [number; 100], [round; 100]))
    };
    for filler in 0..=255_u8 {
        put(store, Table::Svms, &[filler % 8, filler], &[0; 100]);
    }
    store.commit(together(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let entries = store.scan(Table::Svms, &[], None, usize::MAX).unwrap();
                    let rounds: Vec<u8> = entries.iter().filter(|e| e.key.len() == 100).map(|e| e.value[0]).collect();
                    assert!(rounds.len() == 8 && rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
                }
            });
        }
        for round in 1..=100 {
            store.commit(together(round)).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// Three threads replace records under a guard, each its own, over and over, and write the guard's value into each. The
/// guard moves on again and again. Whoever has seen it at a value sees no record change to an earlier one from then on.
pub(super) fn no_replacement_lands_after_its_guard_changed(store: &dyn Store) {
    const RECORDS: u8 = 100;
    const ROUNDS: u64 = 200;
    let guard = || store.get(Table::Keks, b"guard").unwrap().unwrap();
    let replace_all = |thread: u8, count: u64| {
        let read = guard();
        let value = [&read[..], &count.to_be_bytes()].concat();
        let replacement =
            |Entry { key, value: before }| Replacement { key, expect: Expect::Exactly(before), value: value.clone() };
        let items = store.scan(Table::Keys, &[thread], None, usize::MAX).unwrap().into_iter().map(replacement);
        let guard = Expectation { table: Table::Keks, key: b"guard".to_vec(), expect: Expect::Exactly(read) };
        store.replace_each(Table::Keys, &items.collect::<Vec<_>>(), &[guard]).unwrap();
    };
    // A few records of each thread, to come round fast.
    let look = || -> (u64, Vec<Vec<u8>>) {
        let seen = number(&guard());
        let keys = (0..3).flat_map(|thread| [20, 60, 99].map(|record| [thread, record]));
        (seen, keys.map(|key| store.get(Table::Keys, &key).unwrap().unwrap()).collect())
    };

    put(store, Table::Keks, b"guard", &0_u64.to_be_bytes());
    for key in (0..3).flat_map(|thread| (0..RECORDS).map(move |record| [thread, record])) {
        put(store, Table::Keys, &key, &[0; 16]);
    }
    let done = AtomicBool::new(false);
    let until_done = |act: &mut dyn FnMut()| {
        while !done.load(Ordering::SeqCst) {
            act();
        }
    };
    thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || {
                let mut count = 0;
                until_done(&mut || {
                    count += 1;
                    replace_all(thread, count);
                });
            });
        }
        scope.spawn(|| {
            let mut before = look();
            until_done(&mut || {
                let after = look();
                for (before_record, record) in before.1.iter().zip(&after.1) {
                    let replaced_under = number(&record[..8]);
                    assert!(
                        before_record == record || replaced_under >= before.0,
                        "a record was replaced under {replaced_under} when the guard was {} already",
                        before.0
                    );
                }
                before = after;
            });
        });
        for round in 1..=ROUNDS {
            let batch = Batch::new().put(Table::Keks, *b"guard", round.to_be_bytes());
            // Alone, and with another record: a store may treat the two in different ways.
            let batch = if round.is_multiple_of(2) { batch.put(Table::Jobs, *b"other", *b"") } else { batch };
            store.commit(batch).unwrap();
            // Until the others have come to the new value.
            while !look().1.iter().any(|record| number(&record[..8]) == round) {}
        }
        done.store(true, Ordering::SeqCst);
    });
}
