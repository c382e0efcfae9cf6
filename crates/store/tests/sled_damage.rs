//! The store on disk when its files are damaged: it says so, and neither panics nor makes things up.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use claviger_store::{Batch, Entry, OpenError, SledStore, Store, StoreError, Table};
use support::{copy, options};

const RECORDS: u16 = 300;
const VERSIONS: u8 = 3;
/// Records of 172 bytes: their log is within one of sled's segments.
const SMALL: usize = 170;
/// Records of 16 KiB: each version of all of them takes more than a segment.
const LARGE: usize = 16 * 1024 - 2;

fn key(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

fn value(number: u16, version: u8, len: usize) -> Vec<u8> {
    [&key(number)[..], &vec![version; len]].concat()
}

fn put_all(store: &SledStore, version: u8, len: usize) {
    for numbers in (0..RECORDS).collect::<Vec<_>>().chunks(100) {
        let put = |batch: Batch, number: &u16| batch.put(Table::Keys, key(*number), value(*number, version, len));
        store.commit(numbers.iter().fold(Batch::new(), put)).unwrap();
    }
}

/// A store that was closed in good order, and whose records have been written three times since it was opened.
fn written(dir: &Path, len: usize) {
    let store = SledStore::create(dir, &options()).unwrap();
    (0..VERSIONS).for_each(|version| put_all(&store, version, len));
}

/// What opening and using a damaged store came to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    DoesNotOpen,
    MissesSome,
    ReadsOlder,
    ReadsAll,
}

fn try_to_use(dir: &Path, len: usize) -> Use {
    let store = match SledStore::open(dir, &options()) {
        Ok(store) => store,
        Err(OpenError::Damaged { .. } | OpenError::UnknownFormat { .. }) => return Use::DoesNotOpen,
        Err(error) => panic!("{error:?}"),
    };
    let version_of = |number: u16, bytes: &[u8]| {
        let version = (0..VERSIONS).find(|version| bytes == value(number, *version, len));
        version.unwrap_or_else(|| panic!("record {number} was never {bytes:?}"))
    };
    let read = |number: u16| match store.get(Table::Keys, &key(number)) {
        Ok(Some(bytes)) if version_of(number, &bytes) == VERSIONS - 1 => Use::ReadsAll,
        Ok(Some(_)) => Use::ReadsOlder,
        Ok(None) | Err(StoreError::Damaged { .. }) => Use::MissesSome,
        Err(error) => panic!("{error:?}"),
    };
    let worst = (0..RECORDS).map(read).min().unwrap();
    match store.scan(Table::Keys, b"", None, usize::MAX) {
        Ok(entries) => {
            for Entry { key, value } in entries {
                version_of(u16::from_be_bytes(key.try_into().unwrap()), &value);
            }
        }
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
    for number in (0..RECORDS).step_by(10) {
        let new = value(number, 0, len);
        match store.commit(Batch::new().put(Table::Keys, key(number), new.clone())) {
            Ok(()) => assert_eq!(store.get(Table::Keys, &key(number)).unwrap().unwrap(), new),
            Err(StoreError::Damaged { .. } | StoreError::Failed { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    worst
}

/// Damages a file of a copy of the store, in `places` places after one another, and returns what using each came to.
fn damage(whole: &Path, len: usize, file: &Path, places: usize, way: &Way) -> BTreeSet<Use> {
    let bytes = fs::read(whole.join(file)).unwrap();
    // sled fills its log up to a whole segment.
    let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let damaged = whole.with_extension("damaged");
    let mut uses = BTreeSet::new();
    for place in 0..places {
        copy(whole, &damaged);
        let mut bytes = bytes.clone();
        way(&mut bytes, used * place / places);
        fs::write(damaged.join(file), bytes).unwrap();
        uses.insert(try_to_use(&damaged, len));
        fs::remove_dir_all(&damaged).unwrap();
    }
    uses
}

/// Damages a file's bytes at a place.
type Way = dyn Fn(&mut Vec<u8>, usize);

const DAMAGES: [&Way; 3] = [
    &|bytes, place| bytes[place] ^= 0x10,
    &|bytes, place| {
        let end = bytes.len().min(place + 512);
        bytes[place..end].fill(0);
    },
    &Vec::truncate,
];

fn snapshot(store: &Path) -> PathBuf {
    let mut names = fs::read_dir(store.join("sled")).unwrap().map(|entry| entry.unwrap().file_name());
    Path::new("sled").join(names.find(|name| name.to_string_lossy().starts_with("snap.")).unwrap())
}

#[test]
fn damage_to_a_small_store_is_noticed_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    written(&whole, SMALL);
    let undamaged = damage(&whole, SMALL, Path::new("sled/db"), 1, &|_, _| ());
    assert_eq!(undamaged, BTreeSet::from([Use::ReadsAll]));
    for way in DAMAGES {
        let log = damage(&whole, SMALL, Path::new("sled/db"), 15, way);
        assert_eq!(log, BTreeSet::from([Use::DoesNotOpen]));
        // In the others there are bytes that do not matter.
        for file in [&snapshot(&whole), Path::new("sled/conf"), Path::new("mark"), Path::new("store.json")] {
            let uses = damage(&whole, SMALL, file, 6, way);
            assert!(uses.contains(&Use::DoesNotOpen), "{}", file.display());
            assert!(uses.is_subset(&BTreeSet::from([Use::DoesNotOpen, Use::ReadsAll])), "{}: {uses:?}", file.display());
        }
    }
}

/// Not all of it is noticed, see `SledStore`. But what is read was once written.
#[test]
fn damage_to_a_large_store_invents_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    written(&whole, LARGE);
    for way in DAMAGES {
        let log = damage(&whole, LARGE, Path::new("sled/db"), 5, way);
        assert!(log.contains(&Use::DoesNotOpen), "{log:?}");
    }
}

#[test]
fn damage_from_before_the_last_opening_is_noticed_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), LARGE);
    drop(SledStore::open(dir.path(), &options()).unwrap());
    let store = SledStore::open(dir.path(), &options()).unwrap();
    // In the middle of each record's newest version, wherever that lies.
    let log = fs::read(dir.path().join("sled/db")).unwrap();
    let newest = [VERSIONS - 1; 4096];
    let file = fs::OpenOptions::new().write(true).open(dir.path().join("sled/db")).unwrap();
    for (number, page) in log.chunks(newest.len()).enumerate() {
        if page == newest {
            file.write_all_at(b"damage", u64::try_from(number * newest.len()).unwrap()).unwrap();
        }
    }
    for number in 0..RECORDS {
        let read = store.get(Table::Keys, &key(number));
        assert!(matches!(read, Err(StoreError::Damaged { .. })), "{number}: {read:?}");
    }
    assert!(matches!(store.scan(Table::Keys, b"", None, 1), Err(StoreError::Damaged { .. })));
    assert_eq!(store.get(Table::Svms, b"vs0").unwrap_or(None), None);
}

/// The end of the log is lost wherever it may be cut: the batch that was written last is there as a whole or not at all.
#[test]
fn a_batch_is_recovered_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let store = SledStore::create(&whole, &options()).unwrap();
    put_all(&store, 0, SMALL);
    drop(store);
    let before = fs::read(whole.join("sled/db")).unwrap();
    // Far apart in the tree.
    let numbers = || (0..RECORDS).step_by(10);
    let put = |batch: Batch, number| batch.put(Table::Keys, key(number), value(number, 1, SMALL));
    SledStore::open(&whole, &options()).unwrap().commit(numbers().fold(Batch::new(), put)).unwrap();
    let after = fs::read(whole.join("sled/db")).unwrap();

    let begin = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
    let end = after.len() - after.iter().rev().take_while(|byte| **byte == 0).count();
    assert!(end - begin > 30 * SMALL, "{begin} to {end}");
    let cut = dir.path().join("cut");
    let mut seen = BTreeSet::new();
    for place in (begin..end).step_by(211).chain([end]) {
        copy(&whole, &cut);
        let lost = vec![0; after.len() - place];
        fs::write(cut.join("sled/db"), [&after[..place], &lost].concat()).unwrap();
        // As if the write had never been acknowledged.
        fs::write(cut.join("mark"), "0000000000000000\n").unwrap();
        let store = SledStore::open(&cut, &options()).unwrap();
        let version = |number| store.get(Table::Keys, &key(number)).unwrap().unwrap()[2];
        let versions: BTreeSet<u8> = numbers().map(version).collect();
        assert_eq!(versions.len(), 1, "cut at {place} of {begin} to {end}");
        seen.extend(versions);
        drop(store);
        fs::remove_dir_all(&cut).unwrap();
    }
    assert_eq!(seen, BTreeSet::from([0, 1]));
}

/// Each is whole, but they do not belong together. sled finds out by an assertion that fails.
#[test]
fn a_log_and_the_snapshot_of_another_are_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let (small, large) = (dir.path().join("small"), dir.path().join("large"));
    written(&small, SMALL);
    written(&large, LARGE);
    // Once more, for a snapshot of what was written.
    drop(SledStore::open(&large, &options()).unwrap());
    fs::copy(small.join("sled/db"), large.join("sled/db")).unwrap();
    assert_eq!(try_to_use(&large, SMALL), Use::DoesNotOpen);
}
