//! The store on disk when its files are damaged: it may say so, or read less, but it neither panics nor makes things up.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use claviger_store::{Batch, Entry, OpenError, SledStore, Store, StoreError, Table};
use support::{copy, options};

const RECORDS: u16 = 300;
const VERSIONS: u8 = 3;

fn key(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

fn value(number: u16, version: u8) -> Vec<u8> {
    [&key(number)[..], &[version; 170]].concat()
}

/// A store whose records have been written three times, the last time since it was opened last.
fn written(dir: &Path) {
    drop(SledStore::create(dir, &options()).unwrap());
    for version in 0..VERSIONS {
        let store = SledStore::open(dir, &options()).unwrap();
        for numbers in (0..RECORDS).collect::<Vec<_>>().chunks(100) {
            let put = |batch: Batch, number: &u16| batch.put(Table::Keys, key(*number), value(*number, version));
            store.commit(numbers.iter().fold(Batch::new(), put)).unwrap();
        }
    }
}

/// What opening and using a damaged store came to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    DoesNotOpen,
    ReadsSome,
    ReadsOlder,
    ReadsAll,
}

fn use_damaged(dir: &Path) -> Outcome {
    let store = match SledStore::open(dir, &options()) {
        Ok(store) => store,
        Err(OpenError::Damaged { .. }) => return Outcome::DoesNotOpen,
        Err(error) => panic!("{error:?}"),
    };
    let mut result = Outcome::ReadsAll;
    let version_of = |number: u16, bytes: &[u8]| {
        let version = (0..VERSIONS).find(|version| bytes == value(number, *version));
        version.unwrap_or_else(|| panic!("record {number} was never {bytes:?}"))
    };
    for number in 0..RECORDS {
        let now = match store.get(Table::Keys, &key(number)) {
            Ok(Some(bytes)) if version_of(number, &bytes) == VERSIONS - 1 => Outcome::ReadsAll,
            Ok(Some(_)) => Outcome::ReadsOlder,
            Ok(None) | Err(StoreError::Damaged { .. }) => Outcome::ReadsSome,
            Err(error) => panic!("{error:?}"),
        };
        result = result.min(now);
    }
    match store.scan(Table::Keys, b"", None, usize::MAX) {
        Ok(entries) => {
            for Entry { key, value } in entries {
                version_of(u16::from_be_bytes(key.try_into().unwrap()), &value);
            }
        }
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
    for number in 0..RECORDS {
        match store.commit(Batch::new().put(Table::Keys, key(number), value(number, 0))) {
            Ok(()) => assert_eq!(store.get(Table::Keys, &key(number)).unwrap().unwrap(), value(number, 0)),
            Err(StoreError::Damaged { .. } | StoreError::Failed { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    result
}

/// Damages each file of a store at a time, in many places, and returns what it came to.
fn damage_each(damage: impl Fn(&mut Vec<u8>, usize)) -> BTreeSet<Outcome> {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    written(&whole);
    assert_eq!(
        use_damaged(&{
            let same = dir.path().join("same");
            copy(&whole, &same);
            same
        }),
        Outcome::ReadsAll
    );
    let mut results = BTreeSet::new();
    for name in files(&whole.join("sled")) {
        let bytes = fs::read(whole.join("sled").join(&name)).unwrap();
        // sled fills its log up to a whole segment.
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        for place in 0..25 {
            let damaged = dir.path().join("damaged");
            copy(&whole, &damaged);
            let mut bytes = bytes.clone();
            damage(&mut bytes, used * place / 25);
            fs::write(damaged.join("sled").join(&name), bytes).unwrap();
            results.insert(use_damaged(&damaged));
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
    results
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into()).collect()
}

#[test]
fn a_flipped_bit_invents_nothing() {
    let results = damage_each(|bytes, place| bytes[place] ^= 0x10);
    assert!(results.contains(&Outcome::DoesNotOpen) && results.len() > 1, "{results:?}");
}

#[test]
fn zeroed_bytes_invent_nothing() {
    let results = damage_each(|bytes, place| {
        let end = bytes.len().min(place + 4096);
        bytes[place..end].fill(0);
    });
    assert!(results.contains(&Outcome::DoesNotOpen) && results.len() > 1, "{results:?}");
}

#[test]
fn a_cut_off_file_invents_nothing() {
    let results = damage_each(Vec::truncate);
    assert!(results.contains(&Outcome::DoesNotOpen) && results.len() > 1, "{results:?}");
}
