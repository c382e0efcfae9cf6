//! The stores on disk when their files are damaged: they say so, and neither panic nor make things up.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use claviger_store::{Batch, Entry, OpenError, Store, StoreError, StoreKind, StoreOptions, Table, open_store};
use support::{copy, database_file, open, options};

support::of_each_kind! {
    damage_to_a_small_store_is_noticed_when_it_is_opened,
    damage_to_a_large_store_invents_nothing,
    damage_from_before_the_last_opening_is_noticed_when_it_is_read,
}

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

fn put_all(store: &dyn Store, version: u8, len: usize) {
    for numbers in (0..RECORDS).collect::<Vec<_>>().chunks(100) {
        let put = |batch: Batch, number: &u16| batch.put(Table::Keys, key(*number), value(*number, version, len));
        store.commit(numbers.iter().fold(Batch::new(), put)).unwrap();
    }
}

/// A store that was closed in good order, and whose records have been written three times since it was opened.
fn written(kind: StoreKind, dir: &Path, len: usize) {
    let store = kind.create(dir, &options()).unwrap();
    (0..VERSIONS).for_each(|version| put_all(&*store, version, len));
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
    let store = match open(dir) {
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
    for number in (0..RECORDS).step_by(60) {
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
    // sled fills its log up to a whole segment, redb makes its file larger than it needs.
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

fn damage_to_a_small_store_is_noticed_when_it_is_opened(kind: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    written(kind, &whole, SMALL);
    let database = database_file(kind);
    let undamaged = damage(&whole, SMALL, &database, 1, &|_, _| ());
    assert_eq!(undamaged, BTreeSet::from([Use::ReadsAll]));
    let mut files = vec![PathBuf::from("mark"), "store.json".into()];
    if kind == StoreKind::Sled {
        files.extend([snapshot(&whole), "sled/conf".into()]);
    }
    let harmless = BTreeSet::from([Use::DoesNotOpen, Use::ReadsAll]);
    for way in DAMAGES {
        let uses = damage(&whole, SMALL, &database, 15, way);
        match kind {
            StoreKind::Sled => assert_eq!(uses, BTreeSet::from([Use::DoesNotOpen])),
            // There are pages that are free.
            _ => assert!(uses.contains(&Use::DoesNotOpen) && uses.is_subset(&harmless), "{uses:?}"),
        }
        // In the others there are bytes that do not matter.
        for file in &files {
            let uses = damage(&whole, SMALL, file, 6, way);
            assert!(uses.contains(&Use::DoesNotOpen), "{}", file.display());
            assert!(uses.is_subset(&harmless), "{}: {uses:?}", file.display());
        }
    }
}

/// Of sled's, not all of it is noticed, see `SledStore`. But what is read was once written.
fn damage_to_a_large_store_invents_nothing(kind: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    written(kind, &whole, LARGE);
    for way in DAMAGES {
        let uses = damage(&whole, LARGE, &database_file(kind), 5, way);
        assert!(uses.contains(&Use::DoesNotOpen), "{uses:?}");
        let harmless = BTreeSet::from([Use::DoesNotOpen, Use::ReadsAll]);
        assert!(kind == StoreKind::Sled || uses.is_subset(&harmless), "{uses:?}");
    }
}

fn damage_from_before_the_last_opening_is_noticed_when_it_is_read(kind: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    written(kind, dir.path(), LARGE);
    drop(open(dir.path()).unwrap());
    let store = open_store(dir.path(), &StoreOptions { cache_bytes: 0, ..options() }).unwrap();
    damage_newest(&dir.path().join(database_file(kind)));
    for number in 0..RECORDS {
        let read = store.get(Table::Keys, &key(number));
        assert!(matches!(read, Err(StoreError::Damaged { .. })), "{number}: {read:?}");
    }
    assert!(matches!(store.scan(Table::Keys, b"", None, 1), Err(StoreError::Damaged { .. })));
    assert_eq!(store.get(Table::Svms, b"vs0").unwrap_or(None), None);
}

/// Damages each record's newest version in the middle, wherever that lies in the file.
fn damage_newest(file: &Path) {
    let bytes = fs::read(file).unwrap();
    let newest = [VERSIONS - 1; 4096];
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    for (number, block) in bytes.chunks(newest.len()).enumerate() {
        if block == newest {
            file.write_all_at(b"damage", u64::try_from(number * newest.len()).unwrap()).unwrap();
        }
    }
}

/// Of all that redb writes, it is the head of the file alone that is written in place, and says what is the newest state.
#[test]
fn damage_to_the_head_of_redb_s_file_loses_nothing_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let (closed, killed) = (dir.path().join("closed"), dir.path().join("killed"));
    let store = StoreKind::Redb.create(&closed, &options()).unwrap();
    (0..VERSIONS).for_each(|version| put_all(&*store, version, SMALL));
    // As a process leaves it that is killed.
    copy(&closed, &killed);
    drop(store);
    const HEAD: usize = 320;
    // Its bits are flags: which of two states is the newest, whether it was closed.
    const FLAGS: usize = 9;
    for whole in [closed, killed] {
        let bytes = fs::read(whole.join("redb/db")).unwrap();
        let damaged = whole.with_extension("damaged");
        copy(&whole, &damaged);
        let (mut unnoticed, mut noticed) = (0, 0);
        // A bit of every third byte, and all of the flags.
        let places = (0..HEAD).step_by(3).map(|place| (place, place % 8));
        for (place, bit) in places.chain((0..8).map(|bit| (FLAGS, bit))) {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1 << bit;
            for file in ["mark", "store.json"] {
                fs::copy(whole.join(file), damaged.join(file)).unwrap();
            }
            fs::write(damaged.join("redb/db"), bytes).unwrap();
            match try_to_use(&damaged, SMALL) {
                Use::DoesNotOpen => noticed += 1,
                Use::ReadsAll => unnoticed += 1,
                other => panic!("{other:?} with bit {bit} of byte {place} of {}", whole.display()),
            }
        }
        assert!(noticed > 20 && unnoticed > 20, "{noticed} noticed, {unnoticed} without consequence");
    }
}

/// The end of sled's log is lost wherever it may be cut: the batch that was written last is there as a whole or not at all.
#[test]
fn a_batch_is_recovered_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let store = StoreKind::Sled.create(&whole, &options()).unwrap();
    put_all(&*store, 0, SMALL);
    drop(store);
    let before = fs::read(whole.join("sled/db")).unwrap();
    // Far apart in the tree.
    let numbers = || (0..RECORDS).step_by(10);
    let put = |batch: Batch, number| batch.put(Table::Keys, key(number), value(number, 1, SMALL));
    open(&whole).unwrap().commit(numbers().fold(Batch::new(), put)).unwrap();
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
        let store = open(&cut).unwrap();
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
    written(StoreKind::Sled, &small, SMALL);
    written(StoreKind::Sled, &large, LARGE);
    // Once more, for a snapshot of what was written.
    drop(open(&large).unwrap());
    fs::copy(small.join("sled/db"), large.join("sled/db")).unwrap();
    assert_eq!(try_to_use(&large, SMALL), Use::DoesNotOpen);
}
