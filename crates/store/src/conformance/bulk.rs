use super::{all, exactly, put};
use crate::Outcome::{Changed, Refused, Replaced};
use crate::{Expect, Expectation, MAX_RECORD_BYTES, Replacement, Store, StoreError, Table};

const TABLE: Table = Table::Keys;

fn item(key: &[u8], expect: Expect, value: &[u8]) -> Replacement {
    Replacement { key: key.to_vec(), expect, value: value.to_vec() }
}

pub(super) fn each_item_has_its_own_outcome(store: &dyn Store) {
    assert_eq!(store.replace_each(TABLE, &[], &[]).unwrap(), []);
    put(store, TABLE, b"a", b"1");
    put(store, TABLE, b"b", b"1");
    put(store, TABLE, b"c", b"");
    let items = [
        item(b"a", exactly(b"1"), b"2"),
        item(b"b", exactly(b"0"), b"2"),
        item(b"c", exactly(b""), b""),
        item(b"d", exactly(b"1"), b"2"),
        item(b"e", Expect::Absent, b"2"),
        item(b"b", Expect::Absent, b"2"),
        // Each in its turn: this one finds what the first has left.
        item(b"a", exactly(b"1"), b"3"),
        item(b"a", exactly(b"2"), b"4"),
    ];
    let outcomes = store.replace_each(TABLE, &items, &[]).unwrap();
    assert_eq!(outcomes, [Replaced, Changed, Replaced, Changed, Replaced, Changed, Changed, Replaced]);
    let records = all(store, TABLE);
    let expected = [(&b"a"[..], &b"4"[..]), (b"b", b"1"), (b"c", b""), (b"e", b"2")];
    assert_eq!(records, expected.map(|(key, value)| (key.to_vec(), value.to_vec())));
}

pub(super) fn outcomes_are_in_the_order_of_many_items(store: &dyn Store) {
    let key = |number: u16| number.to_be_bytes();
    let items: Vec<_> = (0..1000).map(|number| item(&key(number), Expect::Absent, &key(number))).collect();
    assert!(store.replace_each(TABLE, &items, &[]).unwrap().iter().all(|outcome| *outcome == Replaced));
    let expected = |number: u16| if number.is_multiple_of(3) { Changed } else { Replaced };
    let items = (0..1000).map(|number| match expected(number) {
        Changed => item(&key(number), Expect::Absent, b""),
        _ => item(&key(number), exactly(&key(number)), b"new"),
    });
    let outcomes = store.replace_each(TABLE, &items.collect::<Vec<_>>(), &[]).unwrap();
    assert_eq!(outcomes, (0..1000).map(expected).collect::<Vec<_>>());
    for number in 0..1000 {
        let value = if expected(number) == Changed { key(number).to_vec() } else { b"new".to_vec() };
        assert_eq!(store.get(TABLE, &key(number)).unwrap(), Some(value));
    }
}

pub(super) fn guards_are_about_any_table(store: &dyn Store) {
    put(store, TABLE, b"a", b"1");
    put(store, Table::Keks, b"kek", b"7");
    let guard = |key: &[u8], expect| Expectation { table: Table::Keks, key: key.to_vec(), expect };
    let holds = [guard(b"kek", exactly(b"7")), guard(b"other", Expect::Absent)];
    for unmet in [guard(b"kek", exactly(b"8")), guard(b"kek", Expect::Absent), guard(b"other", exactly(b"7"))] {
        let items = [item(b"a", exactly(b"1"), b"2"), item(b"a", exactly(b"0"), b"2")];
        let [first, second] = &holds;
        let guard = [first.clone(), unmet, second.clone()];
        assert_eq!(store.replace_each(TABLE, &items, &guard).unwrap(), [Refused, Refused]);
        assert_eq!(store.get(TABLE, b"a").unwrap().unwrap(), b"1");
    }
    assert_eq!(store.replace_each(TABLE, &[item(b"a", exactly(b"1"), b"2")], &holds).unwrap(), [Replaced]);
    assert_eq!(store.get(TABLE, b"a").unwrap().unwrap(), b"2");
}

pub(super) fn a_guard_that_the_call_itself_changes_holds_no_more(store: &dyn Store) {
    put(store, TABLE, b"guard", b"1");
    let guard = [Expectation { table: TABLE, key: b"guard".to_vec(), expect: exactly(b"1") }];
    let items = [
        item(b"a", Expect::Absent, b""),
        item(b"guard", exactly(b"0"), b"2"),
        item(b"b", Expect::Absent, b""),
        item(b"guard", exactly(b"1"), b"2"),
        item(b"c", Expect::Absent, b""),
        item(b"guard", exactly(b"2"), b"1"),
    ];
    let outcomes = store.replace_each(TABLE, &items, &guard).unwrap();
    assert_eq!(outcomes, [Replaced, Changed, Replaced, Replaced, Refused, Refused]);
    assert_eq!(store.get(TABLE, b"guard").unwrap().unwrap(), b"2");
}

pub(super) fn an_item_that_is_too_large_stops_all(store: &dyn Store) {
    let items = [item(b"a", Expect::Absent, b""), item(b"b", Expect::Absent, &vec![0; MAX_RECORD_BYTES + 1])];
    let refused = store.replace_each(TABLE, &items, &[]);
    assert!(matches!(refused, Err(StoreError::RecordTooLarge { .. })), "{refused:?}");
    assert_eq!(all(store, TABLE), []);
}
