//! An opening that was cut short: what sled had begun to write is moved out of its way, and takes no space twice.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use claviger_store::StoreKind;
use support::{assert_whole, contents, create, open, open_copy};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_unfinished_snapshot_is_set_aside_and_the_last_one_kept() {
    let dir = tempfile::tempdir().unwrap();
    create(StoreKind::Sled, dir.path());
    let aside = dir.path().join("sled.unfinished");
    for number in 1..4 {
        // One of sled's, and in the last round several, whichever way they came to be.
        let strays: Vec<_> = (0..number).map(|n| format!("sled/snap.00000000FFFFFFF{n}.generating")).collect();
        let part = format!("a part of snapshot {number}");
        strays.iter().for_each(|stray| fs::write(dir.path().join(stray), &part).unwrap());
        let before = contents(dir.path());
        assert_whole(&*open_copy(dir.path()).unwrap());
        assert_eq!(contents(dir.path()), before);

        assert_whole(&*open(dir.path()).unwrap());
        assert!(strays.iter().all(|stray| !dir.path().join(stray).exists()));
        assert_eq!(fs::read(&aside).unwrap(), part.as_bytes());
        assert_eq!(names(dir.path()), ["lock", "mark", "sled", "sled.unfinished", "store.json"]);
    }
}

/// What is moved aside is nothing that sled needs: it makes the same snapshot again.
#[test]
fn a_snapshot_that_was_cut_short_anywhere_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    create(StoreKind::Sled, dir.path());
    let database = dir.path().join("sled");
    let snapshot = || names(&database).into_iter().find(|name| name.starts_with("snap.")).unwrap();
    let before = fs::read(database.join(snapshot())).unwrap();
    assert_whole(&*open(dir.path()).unwrap());
    let (made, whole) = (snapshot(), fs::read(database.join(snapshot())).unwrap());
    for len in [0, whole.len() / 2, whole.len()] {
        // As it was before the rename: the old one is there, and a part of the new one.
        fs::remove_file(database.join(snapshot())).unwrap();
        fs::write(database.join("snap.0000000000000000"), &before).unwrap();
        fs::write(database.join(format!("{made}.generating")), &whole[..len]).unwrap();
        assert_whole(&*open(dir.path()).unwrap());
    }
}
