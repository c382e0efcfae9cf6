use super::put;
use crate::{Store, Table};

fn keys(store: &dyn Store, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    store.scan(Table::Keys, prefix, after, limit).unwrap().into_iter().map(|entry| entry.key).collect()
}

/// Puts records with these keys, backwards, each with its key as its value.
fn fill(store: &dyn Store, keys: &[&[u8]]) {
    for key in keys.iter().rev() {
        put(store, Table::Keys, key, key);
    }
}

pub(super) fn keys_are_ordered_as_unsigned_bytes(store: &dyn Store) {
    let ordered: [&[u8]; 8] = [b"", &[0], &[0, 0], &[1], &[127], &[128], &[255], &[255, 0]];
    fill(store, &ordered);
    assert_eq!(keys(store, b"", None, usize::MAX), ordered);
    for entry in store.scan(Table::Keys, b"", None, usize::MAX).unwrap() {
        assert_eq!(entry.value, entry.key);
    }
}

pub(super) fn a_prefix_selects_the_keys_that_begin_with_it(store: &dyn Store) {
    fill(store, &[b"a", b"ab", b"abc", b"ac", b"b", &[255], &[255, 255], &[255, 255, 0], &[255, 255, 255, 255]]);
    let select = |prefix: &[u8]| keys(store, prefix, None, usize::MAX);
    assert_eq!(select(b"a"), [&b"a"[..], b"ab", b"abc", b"ac"]);
    assert_eq!(select(b"ab"), [&b"ab"[..], b"abc"]);
    assert_eq!(select(b"abc"), [b"abc"]);
    assert_eq!(select(b"abcd"), [b""; 0]);
    assert_eq!(select(b"aa"), [b""; 0]);
    assert_eq!(select(&[255]), [&[255][..], &[255, 255], &[255, 255, 0], &[255, 255, 255, 255]]);
    assert_eq!(select(&[255, 255]), [&[255, 255][..], &[255, 255, 0], &[255, 255, 255, 255]]);
    assert_eq!(select(&[255, 255, 255]), [[255, 255, 255, 255]]);
    assert_eq!(select(b"").len(), 9);
}

pub(super) fn after_is_exclusive_and_need_not_be_a_record(store: &dyn Store) {
    fill(store, &[b"a", b"b", b"b1", b"b2", b"b3", b"c"]);
    let behind = |after: &[u8]| keys(store, b"b", Some(after), usize::MAX);
    assert_eq!(behind(b"b"), [b"b1", b"b2", b"b3"]);
    assert_eq!(behind(b"b1"), [b"b2", b"b3"]);
    assert_eq!(behind(b"b11"), [b"b2", b"b3"]);
    assert_eq!(behind(b"b3"), [b""; 0]);
    // Outside of the prefix: before it, and behind it.
    assert_eq!(behind(b"a"), [&b"b"[..], b"b1", b"b2", b"b3"]);
    assert_eq!(behind(b""), [&b"b"[..], b"b1", b"b2", b"b3"]);
    assert_eq!(behind(b"c"), [b""; 0]);
    assert_eq!(behind(&[255; 8]), [b""; 0]);
    assert_eq!(keys(store, b"", Some(b""), usize::MAX).len(), 6);
}

pub(super) fn a_limit_divides_a_scan_into_pages(store: &dyn Store) {
    let all: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![7, number]).collect();
    fill(store, &all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    put(store, Table::Keys, &[8], b"");
    assert_eq!(keys(store, &[7], None, 0), [b""; 0]);
    for limit in [1, 7, 50, 99, 100, 101] {
        let mut found = Vec::new();
        loop {
            let page = keys(store, &[7], found.last().map(Vec::as_slice), limit);
            found.extend_from_slice(&page);
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(found, all, "in pages of {limit}");
    }
}

pub(super) fn tables_do_not_mix(store: &dyn Store) {
    for table in Table::ALL {
        // The first and the last keys there can be.
        for key in [&b""[..], &[0], &[255; 40]] {
            put(store, table, key, &[table.number()]);
        }
    }
    for table in Table::ALL {
        assert_eq!(store.get(table, &[0]).unwrap().unwrap(), [table.number()]);
        assert_eq!(store.get(table, &[table.number()]).unwrap(), None);
        let entries = store.scan(table, b"", None, usize::MAX).unwrap();
        assert_eq!(entries.len(), 3);
        assert!(entries.iter().all(|entry| entry.value == [table.number()]));
        assert_eq!(store.scan(table, b"", Some(&[255; 40]), 1).unwrap(), []);
        assert_eq!(store.scan(table, &[255; 41], None, 1).unwrap(), []);
    }
}
