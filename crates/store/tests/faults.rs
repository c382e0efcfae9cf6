//! What a strike leaves in the store, and what the caller learns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use claviger_store::faults::{Crash, Event, Failure, FaultClock, FaultyStore, Strike, Struck, Tear};
use claviger_store::{Batch, Expect, MemoryStore, Replacement, Store, StoreError, Table, conformance};

const ITEMS: u8 = 6;

const COMMIT: Event = Event::Commit { only_deletes: false };

type Answers = Vec<Result<(), Struck>>;
/// What is done of the commit, of the call, and of the `replace_each`.
type Done = (bool, bool, Vec<u8>);

/// A commit, a call and a `replace_each`, and then reads.
fn scenario(disk: Arc<MemoryStore>, clock: &FaultClock) -> Answers {
    let store = FaultyStore::over(disk.clone(), clock.clone());
    let put = Batch::new().put(Table::Node, *b"whole", *b"").put(Table::Svms, *b"whole", *b"");
    let item = |key| Replacement { key: vec![key], expect: Expect::Absent, value: vec![] };
    let items: Vec<_> = (0..ITEMS).map(item).collect();
    let call = || disk.commit(Batch::new().put(Table::Jobs, *b"call", *b"")).unwrap();
    let commit = store.commit(put).map_err(struck);
    let call = clock.call("call", call);
    let replace_each = store.replace_each(Table::Keys, &items, &[]).map(drop).map_err(struck);
    let get = store.get(Table::Node, b"whole").map(drop).map_err(struck);
    let scan = store.scan(Table::Node, b"", None, 1).map(drop).map_err(struck);
    vec![commit, call, replace_each, get, scan]
}

fn struck(error: StoreError) -> Struck {
    match error {
        StoreError::DiskFull { .. } => Struck::Refused,
        StoreError::Io(error) => *error.get_ref().unwrap().downcast_ref::<Struck>().unwrap(),
        error => panic!("{error:?}"),
    }
}

fn done(disk: &MemoryStore) -> Done {
    let has = |table, key| disk.get(table, key).unwrap().is_some();
    assert_eq!(has(Table::Node, b"whole"), has(Table::Svms, b"whole"));
    let items = disk.scan(Table::Keys, b"", None, usize::MAX).unwrap();
    (has(Table::Node, b"whole"), has(Table::Jobs, b"call"), items.into_iter().map(|item| item.key[0]).collect())
}

fn run(strikes: &[(usize, Strike)]) -> (Answers, Done, FaultClock) {
    let disk = Arc::new(MemoryStore::default());
    let clock = FaultClock::striking(strikes.iter().copied());
    let answers = scenario(disk.clone(), &clock);
    (answers, done(&disk), clock)
}

fn all() -> Vec<u8> {
    (0..ITEMS).collect()
}

const DEAD: Result<(), Struck> = Err(Struck::Dead);

#[test]
fn a_clock_that_counts_changes_nothing() {
    let (answers, left, clock) = run(&[]);
    assert_eq!((answers, left, clock.is_dead()), (vec![Ok(()); 5], (true, true, all()), false));
    assert_eq!(clock.events(), [COMMIT, Event::Call("call"), Event::ReplaceEach { items: 6 }]);
    // As if there were nothing around the store.
    conformance::run(&|| Box::new(FaultyStore::over(Arc::new(MemoryStore::default()), FaultClock::counting())));
}

#[test]
fn a_crash_leaves_what_it_says_and_ends_everything() {
    let crash = |at, crash| {
        let (answers, left, clock) = run(&[(at, Strike::Crash(crash))]);
        assert_eq!(answers, [vec![Ok(()); at], vec![DEAD; 5 - at]].concat());
        assert!(clock.is_dead());
        assert_eq!(clock.events().len(), at + 1, "a dead process has no events");
        left
    };
    assert_eq!(crash(0, Crash::Before), (false, false, vec![]));
    assert_eq!(crash(0, Crash::After), (true, false, vec![]));
    assert_eq!(crash(0, Crash::Torn(Tear::FirstHalf)), (false, false, vec![]), "a commit is atomic");
    assert_eq!(crash(1, Crash::Before), (true, false, vec![]));
    assert_eq!(crash(1, Crash::After), (true, true, vec![]));
    assert_eq!(crash(1, Crash::Torn(Tear::FirstHalf)), (true, false, vec![]), "a call is atomic");
    assert_eq!(crash(2, Crash::Before), (true, true, vec![]));
    assert_eq!(crash(2, Crash::After), (true, true, all()));
    for (tear, left) in [
        (Tear::FirstHalf, vec![0, 1, 2]),
        (Tear::SecondHalf, vec![3, 4, 5]),
        (Tear::EverySecond, vec![0, 2, 4]),
        (Tear::AllButFirst, vec![1, 2, 3, 4, 5]),
        (Tear::AllButLast, vec![0, 1, 2, 3, 4]),
        (Tear::Only(4), vec![4]),
    ] {
        assert_eq!(crash(2, Crash::Torn(tear)), (true, true, left));
    }
}

#[test]
fn the_process_outlives_a_failed_call_and_a_full_disk() {
    let fail = |at, failure| {
        let (mut answers, left, clock) = run(&[(at, Strike::Failure(failure))]);
        assert!(!clock.is_dead());
        assert_eq!(clock.events().len(), 3);
        let error = answers.remove(at).unwrap_err();
        assert_eq!(answers, vec![Ok(()); 4]);
        (error, left)
    };
    assert_eq!(fail(0, Failure::Refused), (Struck::Refused, (false, true, all())));
    assert_eq!(fail(1, Failure::Refused), (Struck::Refused, (true, false, all())));
    assert_eq!(fail(1, Failure::Unreachable), (Struck::Unreachable, (true, false, all())));
    assert_eq!(fail(1, Failure::Unanswered), (Struck::Unreachable, (true, true, all())));
    assert_eq!(fail(2, Failure::Refused), (Struck::Refused, (true, true, vec![])));
    // Deleting is what makes room.
    let disk = Arc::new(MemoryStore::default());
    disk.commit(Batch::new().put(Table::Svms, *b"old", *b"")).unwrap();
    let full = FaultClock::striking([(0, Strike::Failure(Failure::Refused))]);
    FaultyStore::over(disk.clone(), full).commit(Batch::new().delete(Table::Svms, *b"old")).unwrap();
    assert_eq!(disk.get(Table::Svms, b"old").unwrap(), None);
    // A store that does not know what it has done does nothing more.
    for (failure, is_done) in [(Failure::Unreachable, false), (Failure::Unanswered, true)] {
        let (answers, left, clock) = run(&[(0, Strike::Failure(failure))]);
        assert_eq!((answers, left, clock.is_dead()), (vec![DEAD; 5], (is_done, false, vec![]), true));
    }
}

#[test]
fn a_clock_strikes_more_than_once() {
    let strikes = [(1, Strike::Failure(Failure::Refused)), (2, Strike::Crash(Crash::After))];
    let (answers, left, _) = run(&strikes);
    assert_eq!(answers, [Ok(()), Err(Struck::Refused), DEAD, DEAD, DEAD]);
    assert_eq!(left, (true, false, all()));
}

#[test]
fn every_event_has_all_strikes_that_its_contract_allows() {
    let failures = |event: Event| event.strikes().iter().filter(|strike| matches!(strike, Strike::Failure(_))).count();
    assert_eq!((COMMIT.strikes().len(), failures(COMMIT)), (3, 1));
    let delete = Event::Commit { only_deletes: true };
    assert_eq!((delete.strikes().len(), failures(delete)), (2, 0));
    let bulk = Event::ReplaceEach { items: 6 };
    assert_eq!((bulk.strikes().len(), failures(bulk)), (3 + Tear::all(6).len(), 1));
    assert_eq!((Event::Call("keep").strikes().len(), failures(Event::Call("keep"))), (5, 3));
}
