//! A redb database with a damaged page: closed for work, and open for reading what is left.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;

use claviger_store::{Batch, OpenError, RedbStore, Store as _, StoreError, Table};
use support::options;

const RECORDS: u32 = 2_000;

fn value(number: u32) -> Vec<u8> {
    format!("the value of record {number:08}").into_bytes()
}

#[test]
fn all_records_but_the_damaged_one_are_read_from_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("store");
    let store = RedbStore::create(&whole, &options()).unwrap();
    for numbers in (0..RECORDS).collect::<Vec<_>>().chunks(100) {
        let put = |batch: Batch, number: &u32| batch.put(Table::Keys, number.to_be_bytes(), value(*number));
        store.commit(numbers.iter().fold(Batch::new(), put)).unwrap();
    }
    drop(store);
    let file = whole.join("redb/db");
    let sound = fs::read(&file).unwrap();

    for number in [0, 700, RECORDS - 1] {
        let mut bytes = sound.clone();
        // Wherever the record ever was: the newest place is among them.
        let places: Vec<_> = bytes.windows(value(number).len()).enumerate().collect();
        let places: Vec<_> = places.into_iter().filter(|(_, at)| *at == value(number)).map(|(at, _)| at).collect();
        places.iter().for_each(|at| bytes[at + 5] ^= 1);
        fs::write(&file, &bytes).unwrap();

        assert!(matches!(RedbStore::open(&whole, &options()), Err(OpenError::Damaged { .. })));
        let copy = RedbStore::open_copy(&whole, &options()).unwrap();
        let found = copy.scan(Table::Keys, b"", None, usize::MAX).unwrap();
        let other: BTreeSet<_> = (0..RECORDS)
            .filter(|number| copy.get(Table::Keys, &number.to_be_bytes()).unwrap() != Some(value(*number)))
            .collect();
        assert_eq!((found.len(), other), (RECORDS as usize, BTreeSet::from([number])));
        let refused = copy.commit(Batch::new().put(Table::Keys, *b"new", *b"new"));
        assert!(matches!(refused, Err(StoreError::ReadOnly)));
        drop(copy);
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

/// Where a damaged page keeps records out of reach, nothing is read: what is missing would look as if it had never been.
#[test]
fn a_database_with_records_out_of_reach_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("store");
    let store = RedbStore::create(&whole, &options()).unwrap();
    for number in 0..200_u32 {
        store.commit(Batch::new().put(Table::Keys, number.to_be_bytes(), vec![7; 1_000])).unwrap();
    }
    drop(store);
    let file = whole.join("redb/db");
    let sound = fs::read(&file).unwrap();
    let keys = |number: u32| [&[Table::Keys as u8][..], &number.to_be_bytes()].concat();
    let mut refused = 0;
    for number in (0..200).step_by(10) {
        let mut bytes = sound.clone();
        let key = keys(number);
        let places: Vec<_> =
            bytes.windows(key.len()).enumerate().filter(|(_, at)| *at == key).map(|(at, _)| at).collect();
        // The key sorts behind all others now, in leaves and in branches alike.
        places.iter().for_each(|at| bytes[*at + 1] = 0xFF);
        fs::write(&file, &bytes).unwrap();
        match RedbStore::open_copy(&whole, &options()) {
            Err(OpenError::Damaged { .. }) => refused += 1,
            Ok(_) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    // The last key of all may be any: there the order still holds.
    assert!(refused >= 19, "{refused}");
}
