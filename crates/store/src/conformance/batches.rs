use super::{all, exactly, put};
use crate::{Batch, Expect, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_RECORD_BYTES, Store, StoreError, Table};

const TABLE: Table = Table::Svms;

fn conflict(result: Result<(), StoreError>) -> (Table, Vec<u8>) {
    match result {
        Err(StoreError::Conflict { table, key }) => (table, key),
        other => panic!("a conflict was due, not {other:?}"),
    }
}

pub(super) fn a_record_is_put_replaced_and_deleted(store: &dyn Store) {
    assert_eq!(store.get(TABLE, b"key").unwrap(), None);
    put(store, TABLE, b"key", b"one");
    assert_eq!(store.get(TABLE, b"key").unwrap().unwrap(), b"one");
    put(store, TABLE, b"key", b"two");
    put(store, TABLE, b"key", b"two");
    assert_eq!(store.get(TABLE, b"key").unwrap().unwrap(), b"two");
    for _ in 0..2 {
        store.commit(Batch::new().delete(TABLE, *b"key")).unwrap();
        assert_eq!(store.get(TABLE, b"key").unwrap(), None);
    }
    let batch = Batch::new().put(TABLE, *b"a", *b"1").put(TABLE, *b"b", *b"2").delete(TABLE, *b"c");
    store.commit(batch).unwrap();
    store.commit(Batch::new().delete(TABLE, *b"a").put(Table::Keks, *b"a", *b"3")).unwrap();
    assert_eq!(all(store, TABLE), [(b"b".to_vec(), b"2".to_vec())]);
    assert_eq!(all(store, Table::Keks), [(b"a".to_vec(), b"3".to_vec())]);
}

pub(super) fn keys_and_values_may_be_empty_and_as_large_as_allowed(store: &dyn Store) {
    let largest = vec![0xA5; MAX_RECORD_BYTES];
    let mut expected = Vec::new();
    // More than fit into one leaf of any tree, so that leaves are divided and joined.
    for number in 0..64_u8 {
        let mut key = vec![number; MAX_KEY_BYTES];
        key[MAX_KEY_BYTES - 1] = 1;
        put(store, TABLE, &key, &largest);
        expected.push((key, largest.clone()));
    }
    put(store, TABLE, b"", b"");
    expected.insert(0, (Vec::new(), Vec::new()));
    assert_eq!(store.get(TABLE, b"").unwrap().unwrap(), b"");
    assert!(all(store, TABLE) == expected);
    for (key, _) in expected.drain(1..).step_by(2) {
        store.commit(Batch::new().require(TABLE, *b"", exactly(b"")).delete(TABLE, key)).unwrap();
    }
    assert_eq!(all(store, TABLE).len(), 33);
}

pub(super) fn larger_keys_and_values_are_refused(store: &dyn Store) {
    let long_key = vec![1; MAX_KEY_BYTES + 1];
    let large_value = vec![1; MAX_RECORD_BYTES + 1];
    let before = Batch::new().put(TABLE, *b"before", *b"");
    for batch in [
        before.clone().put(TABLE, long_key.clone(), *b""),
        before.clone().delete(TABLE, long_key.clone()),
        before.clone().require(TABLE, long_key, Expect::Absent),
    ] {
        let refused = store.commit(batch);
        assert!(matches!(refused, Err(StoreError::KeyTooLong { table: TABLE, bytes: 256 })), "{refused:?}");
    }
    let refused = store.commit(before.put(TABLE, *b"key", large_value));
    assert!(matches!(refused, Err(StoreError::RecordTooLarge { bytes: 32_769, .. })), "{refused:?}");
    assert_eq!(all(store, TABLE), []);
}

pub(super) fn a_conflict_changes_nothing(store: &dyn Store) {
    put(store, TABLE, b"there", b"1");
    let changes = || Batch::new().put(TABLE, *b"new", *b"1").put(TABLE, *b"there", *b"2").delete(TABLE, *b"there2");
    for (key, unmet) in [
        (&b"there"[..], Expect::Absent),
        (b"there", exactly(b"2")),
        (b"there", exactly(b"")),
        (b"there", exactly(b"11")),
        (b"not there", exactly(b"1")),
        (b"not there", exactly(b"")),
    ] {
        let named = conflict(store.commit(changes().require(TABLE, key, unmet.clone())));
        assert_eq!(named, (TABLE, key.to_vec()), "{unmet:?}");
        // The same where a single record is changed, which a store may treat in its own way.
        let single = Batch::new().put(TABLE, key, *b"3").require(TABLE, key, unmet.clone());
        assert_eq!(conflict(store.commit(single)), (TABLE, key.to_vec()), "{unmet:?}");
        let single = Batch::new().delete(TABLE, *b"there").require(TABLE, key, unmet);
        assert_eq!(conflict(store.commit(single)), (TABLE, key.to_vec()));
        assert_eq!(all(store, TABLE), [(b"there".to_vec(), b"1".to_vec())]);
    }
    // The key is there, in another table.
    assert_eq!(conflict(store.commit(changes().require(Table::Keks, *b"there", exactly(b"1")))).0, Table::Keks);
}

pub(super) fn a_conflict_names_the_first_unmet_expectation(store: &dyn Store) {
    put(store, TABLE, b"key", b"1");
    let batch = Batch::new()
        .require(TABLE, *b"key", exactly(b"1"))
        .require(Table::Jobs, *b"first", exactly(b""))
        .require(TABLE, *b"key", Expect::Absent);
    assert_eq!(conflict(store.commit(batch)), (Table::Jobs, b"first".to_vec()));
}

pub(super) fn expectations_see_the_state_before_the_batch(store: &dyn Store) {
    let create = || {
        let batch = Batch::new().put(TABLE, *b"a", *b"1").require(TABLE, *b"a", Expect::Absent);
        batch.put(TABLE, *b"b", *b"1").require(TABLE, *b"b", Expect::Absent)
    };
    store.commit(create()).unwrap();
    assert_eq!(conflict(store.commit(create())), (TABLE, b"a".to_vec()));
    let swap = Batch::new()
        .delete(TABLE, *b"a")
        .require(TABLE, *b"a", exactly(b"1"))
        .require(TABLE, *b"b", exactly(b"1"))
        .put(TABLE, *b"b", *b"2");
    store.commit(swap.clone()).unwrap();
    assert_eq!(conflict(store.commit(swap)), (TABLE, b"a".to_vec()));
    assert_eq!(all(store, TABLE), [(b"b".to_vec(), b"2".to_vec())]);
}

pub(super) fn a_batch_may_only_expect_or_be_empty(store: &dyn Store) {
    store.commit(Batch::new()).unwrap();
    store.commit(Batch::new().require(TABLE, *b"a", Expect::Absent)).unwrap();
    assert_eq!(conflict(store.commit(Batch::new().require(TABLE, *b"a", exactly(b"")))), (TABLE, b"a".to_vec()));
    assert_eq!(all(store, TABLE), []);
}

pub(super) fn a_batch_has_at_most_128_operations(store: &dyn Store) {
    let of = |puts: u8, deletes: u8, expectations: u8| {
        let mut batch = Batch::new();
        for number in 0..puts {
            batch = batch.put(TABLE, [number], [puts]);
        }
        for number in 0..deletes {
            batch = batch.delete(Table::Jobs, [number]);
        }
        for number in 0..expectations {
            batch = batch.require(Table::Keks, [number], Expect::Absent);
        }
        batch
    };
    assert_eq!(MAX_OPERATIONS, 128);
    for (puts, deletes, expectations) in [(129, 0, 0), (0, 129, 0), (0, 0, 129), (43, 43, 43), (128, 0, 1)] {
        let refused = store.commit(of(puts, deletes, expectations));
        assert!(matches!(refused, Err(StoreError::TooLarge { operations: 129 })), "{refused:?}");
    }
    assert_eq!(all(store, TABLE), []);
    for (puts, deletes, expectations) in [(128, 0, 0), (0, 128, 0), (0, 0, 128), (42, 43, 43)] {
        store.commit(of(puts, deletes, expectations)).unwrap();
    }
    let records = all(store, TABLE);
    assert_eq!(records.len(), 128);
    assert!(records.iter().all(|(key, value)| value == if key[0] < 42 { &[42] } else { &[128] }));
}

pub(super) fn a_batch_changes_a_record_once(store: &dyn Store) {
    put(store, TABLE, b"key", b"1");
    for batch in [
        Batch::new().put(TABLE, *b"key", *b"2").put(TABLE, *b"key", *b"2"),
        Batch::new().put(TABLE, *b"key", *b"2").delete(TABLE, *b"key"),
        Batch::new().delete(TABLE, *b"key").put(TABLE, *b"key", *b"2"),
        Batch::new().delete(TABLE, *b"key").delete(TABLE, *b"key"),
    ] {
        match store.commit(batch.put(TABLE, *b"other", *b"")) {
            Err(StoreError::ChangedTwice { table: TABLE, key }) => assert_eq!(key, b"key"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(all(store, TABLE), [(b"key".to_vec(), b"1".to_vec())]);
    store.commit(Batch::new().put(TABLE, *b"key", *b"2").delete(Table::Keks, *b"key")).unwrap();
}
