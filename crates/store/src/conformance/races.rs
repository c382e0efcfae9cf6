use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{exactly, put};
use crate::{Batch, Entry, Expect, Expectation, Outcome, Replacement, Store, StoreError, Table};

const THREADS: usize = 8;

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

/// Eight threads add 50 each to one record; `replace` tells whether it replaced the value read.
fn increment(store: &dyn Store, replace: impl Fn(&[u8], u64) -> bool + Sync) {
    put(store, Table::Jobs, b"count", &0_u64.to_be_bytes());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..50 {
                    loop {
                        let read = store.get(Table::Jobs, b"count").unwrap().unwrap();
                        if replace(&read, number(&read) + 1) {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(number(&store.get(Table::Jobs, b"count").unwrap().unwrap()), 400);
}

pub(super) fn increments_by_commit_are_not_lost(store: &dyn Store) {
    increment(store, |read, next| {
        let batch = Batch::new().expect(Table::Jobs, *b"count", exactly(read));
        match store.commit(batch.put(Table::Jobs, *b"count", next.to_be_bytes())) {
            Ok(()) => true,
            Err(StoreError::Conflict { .. }) => false,
            Err(error) => panic!("{error:?}"),
        }
    });
}

pub(super) fn increments_by_replacement_are_not_lost(store: &dyn Store) {
    increment(store, |read, next| {
        let value = next.to_be_bytes().to_vec();
        let item = Replacement { key: b"count".to_vec(), expect: exactly(read), value };
        store.replace_each(Table::Jobs, &[item], &[]).unwrap() == [Outcome::Replaced]
    });
}

pub(super) fn one_of_many_creates_a_record(store: &dyn Store) {
    put(store, Table::Keks, b"kek", b"");
    let start = Barrier::new(THREADS);
    for round in 0..20_u8 {
        let create = || {
            let batch =
                Batch::new().expect(Table::Keks, *b"kek", exactly(b"")).expect(Table::Keys, [round], Expect::Absent);
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

/// Four threads replace records under a guard, over and over, and write the guard's value into each. The guard moves on
/// again and again. From the moment a commit that moves it has returned, no record may change but to the new value.
pub(super) fn no_replacement_lands_after_its_guard_changed(store: &dyn Store) {
    const RECORDS: u8 = 200;
    const ROUNDS: u64 = 40;
    let round_of = |entry: &Entry| number(&entry.value[..8]);
    let records = || store.scan(Table::Keys, &[], None, usize::MAX).unwrap();
    let worker = |done: &AtomicBool| {
        let mut count = 0_u64;
        while !done.load(Ordering::SeqCst) {
            let guard = store.get(Table::Keks, b"guard").unwrap().unwrap();
            count += 1;
            let value = [&guard[..], &count.to_be_bytes()].concat();
            let replace = |entry: Entry| Replacement {
                key: entry.key,
                expect: Expect::Exactly(entry.value),
                value: value.clone(),
            };
            let items: Vec<_> = records().into_iter().map(replace).collect();
            let expect = Expect::Exactly(guard);
            let guard = [Expectation { table: Table::Keks, key: b"guard".to_vec(), expect }];
            store.replace_each(Table::Keys, &items, &guard).unwrap();
        }
    };

    put(store, Table::Keks, b"guard", &0_u64.to_be_bytes());
    for record in 0..RECORDS {
        put(store, Table::Keys, &[record], &[0; 16]);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| worker(&done));
        }
        for round in 1..=ROUNDS {
            let batch = Batch::new().put(Table::Keks, *b"guard", round.to_be_bytes());
            // Alone, and with another record: a store may treat the two in different ways.
            let batch = if round.is_multiple_of(2) { batch.put(Table::Jobs, *b"other", *b"") } else { batch };
            store.commit(batch).unwrap();
            let mut seen = records();
            // Until the workers have come to the new value, and so are done with the old one, or nearly.
            while !seen.iter().any(|entry| round_of(entry) == round) {
                let now = records();
                for (before, after) in seen.iter().zip(&now) {
                    assert!(
                        before == after || round_of(after) == round,
                        "{before:?} became {after:?} in round {round}"
                    );
                }
                seen = now;
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}
