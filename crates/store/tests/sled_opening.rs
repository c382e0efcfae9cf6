//! Creating and opening the store on disk: what is refused, what is taken up again, and what is left alone.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::error::Error as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use claviger_store::{Batch, Entry, Expect, OpenError, Replacement, SledStore, Store, StoreError, Table};
use support::{assert_whole, contents, copy, create, options, this_test};
use tempfile::TempDir;

fn temporary() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    (dir, store)
}

fn open(dir: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(dir, &options())
}

#[test]
fn where_there_is_no_store_nothing_is_opened_or_made() {
    let (parent, dir) = temporary();
    for opened in [open(&dir), SledStore::open_copy(&dir, &options())] {
        assert!(matches!(opened, Err(OpenError::Missing { dir: named }) if named == dir));
    }
    fs::write(parent.path().join("other"), b"").unwrap();
    let before = contents(parent.path());
    for opened in [open(parent.path()), SledStore::open_copy(parent.path(), &options())] {
        assert!(matches!(opened, Err(OpenError::Missing { .. })));
    }
    assert_eq!(contents(parent.path()), before);
}

#[test]
fn a_store_is_created_once() {
    let (_parent, dir) = temporary();
    create(&dir);
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let created = SledStore::create(&dir, &options());
    assert!(matches!(created, Err(OpenError::Exists { dir: named }) if named == dir));
    assert_whole(&open(&dir).unwrap());
}

#[test]
fn a_store_is_created_in_a_directory_that_is_there_but_makes_no_parents() {
    let (parent, dir) = temporary();
    drop(SledStore::create(parent.path(), &options()).unwrap());
    open(parent.path()).unwrap();
    let created = SledStore::create(&dir.join("deeper"), &options());
    assert!(matches!(created, Err(OpenError::Io { action: "create", .. })), "{created:?}");
}

#[test]
fn one_handle_at_a_time() {
    let (_parent, dir) = temporary();
    create(&dir);
    let store = open(&dir).unwrap();
    let us = Some(std::process::id());
    for second in [open(&dir), SledStore::create(&dir, &options()), SledStore::open_copy(&dir, &options())] {
        assert!(matches!(second, Err(OpenError::Locked { pid, .. }) if pid == us), "{second:?}");
    }
    assert_whole(&store);
    drop(store);
    assert_eq!(fs::read(dir.join("lock")).unwrap(), b"");
    assert_whole(&open(&dir).unwrap());
}

/// A process that has the store open, until it is killed.
fn process_with(dir: &Path) -> Child {
    let mut command = this_test("keeps_a_store_open");
    let mut child = command.env("STORE", dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.ends_with("open")));
    child
}

#[test]
#[ignore = "the part of one_process_at_a_time that runs in the other process"]
fn keeps_a_store_open() {
    let _store = open(Path::new(&std::env::var_os("STORE").unwrap())).unwrap();
    println!("open");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn one_process_at_a_time() {
    let (_parent, dir) = temporary();
    create(&dir);
    let mut child = process_with(&dir);
    let message = open(&dir).unwrap_err().to_string();
    assert!(message.contains(&format!("open elsewhere by process {}", child.id())), "{message}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_whole(&open(&dir).unwrap());
}

#[test]
fn a_header_of_another_format_is_refused_by_field() {
    let (_parent, dir) = temporary();
    create(&dir);
    let header = dir.join("store.json");
    let good = fs::read_to_string(&header).unwrap();
    for (from, to, field) in [
        ("\"format\": 1", "\"format\": 2", "format"),
        ("\"sled\",", "\"lmdb\",", "kind"),
        ("0.34.7", "0.34.6", "sled"),
        ("4194304", "524288", "segment_bytes"),
        ("false", "true", "compression"),
        ("\"kind\"", "\"kinds\"", "kind"),
        ("{", "{\"mirror\": 1,", "mirror"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        fs::write(&header, bad).unwrap();
        let before = contents(&dir.join("sled"));
        for opened in [open(&dir), SledStore::open_copy(&dir, &options())] {
            assert!(
                matches!(&opened, Err(OpenError::UnknownFormat { field: named, .. }) if named == field),
                "{opened:?}"
            );
        }
        assert_eq!(contents(&dir.join("sled")), before);
    }
    for bad in ["", "{", &good[1..], &format!("{good} ")] {
        fs::write(&header, bad).unwrap();
        assert!(matches!(open(&dir), Err(OpenError::Damaged { .. })));
    }
    fs::write(&header, good).unwrap();
    assert_whole(&open(&dir).unwrap());
}

#[test]
fn a_creation_that_was_cut_short_anywhere_is_repeated() {
    let (parent, whole) = temporary();
    create(&whole);
    // What is there when the creation is cut short, in the order of its steps.
    let steps: [&[(&str, &str)]; 7] = [
        &[],
        &[("sled/conf", "sled.new/conf")],
        &[("sled", "sled.new")],
        &[("sled", "sled.new"), ("lock", "mark")],
        &[("sled", "sled.new"), ("mark", "mark"), ("lock", "store.json.new")],
        &[("sled", "sled.new"), ("mark", "mark"), ("store.json", "store.json.new")],
        &[("sled", "sled.new"), ("mark", "mark"), ("store.json", "store.json")],
    ];
    for (number, step) in steps.iter().enumerate() {
        let dir = parent.path().join(number.to_string());
        fs::create_dir(&dir).unwrap();
        for (from, to) in [("lock", "lock")].iter().chain(*step) {
            let (from, to) = (whole.join(from), dir.join(to));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if from.is_dir() {
                copy(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
        let before = contents(&dir);
        for opened in [open(&dir), SledStore::open_copy(&dir, &options())] {
            assert!(matches!(opened, Err(OpenError::Missing { .. })), "step {number}: {opened:?}");
        }
        assert_eq!(contents(&dir), before);
        create(&dir);
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["lock", "mark", "sled", "store.json"], "step {number}");
        assert_whole(&open(&dir).unwrap());
    }
}

#[test]
fn a_store_that_has_lost_a_part_is_neither_opened_nor_created_anew() {
    let (parent, dir) = temporary();
    create(&dir);
    let snapshot = fs::read_dir(dir.join("sled")).unwrap().map(|entry| entry.unwrap().file_name());
    let snapshot =
        Path::new("sled").join(snapshot.into_iter().find(|name| name.to_string_lossy().starts_with("snap.")).unwrap());
    let aside = parent.path().join("aside");
    for part in [Path::new("store.json"), Path::new("mark"), Path::new("sled"), Path::new("sled/db"), &snapshot] {
        fs::rename(dir.join(part), &aside).unwrap();
        let before = contents(&dir);
        for opened in [open(&dir), SledStore::open_copy(&dir, &options())] {
            assert!(matches!(opened, Err(OpenError::Damaged { .. })), "without {}: {opened:?}", part.display());
        }
        let created = SledStore::create(&dir, &options());
        assert!(matches!(created, Err(OpenError::Damaged { .. } | OpenError::Exists { .. })), "{created:?}");
        assert_eq!(contents(&dir), before, "without {}", part.display());
        fs::rename(&aside, dir.join(part)).unwrap();
    }
    let log = fs::read(dir.join("sled/db")).unwrap();
    fs::write(dir.join("sled/db"), b"").unwrap();
    assert!(matches!(open(&dir), Err(OpenError::Damaged { .. })));
    assert_eq!(fs::read(dir.join("sled/db")).unwrap(), b"");
    fs::write(dir.join("sled/db"), log).unwrap();
    assert_whole(&open(&dir).unwrap());
}

#[test]
fn an_unfinished_snapshot_is_set_aside() {
    let (_parent, dir) = temporary();
    create(&dir);
    for number in 1..3 {
        let stray = dir.join("sled/snap.00000000FFFFFFFF.generating");
        fs::write(&stray, format!("a part of snapshot {number}")).unwrap();
        let database = contents(&dir.join("sled"));
        let copied = SledStore::open_copy(&dir, &options()).unwrap();
        assert_whole(&copied);
        assert_eq!(contents(&dir.join("sled")), database);

        assert_whole(&open(&dir).unwrap());
        assert!(!stray.exists());
        let copy = dir.join(format!("sled.copy-{number}"));
        let names = |found: Vec<(PathBuf, Option<Vec<u8>>)>, dir: &Path| -> Vec<_> {
            found.into_iter().map(|(path, bytes)| (path.strip_prefix(dir).unwrap().to_owned(), bytes)).collect()
        };
        assert_eq!(names(contents(&copy), &copy), names(database, &dir.join("sled")));
    }
}

#[test]
fn a_copy_is_for_reading_and_leaves_no_trace() {
    let (parent, dir) = temporary();
    create(&dir);
    let before = contents(&dir);
    let scratch = parent.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let status = this_test("reads_a_copy").env("STORE", &dir).env("TMPDIR", &scratch).status().unwrap();
    assert!(status.success());
    assert_eq!(contents(&dir), before);
    assert_eq!(contents(&scratch), []);
}

#[test]
#[ignore = "the part of a_copy_is_for_reading_and_leaves_no_trace that runs with a temporary directory of its own"]
fn reads_a_copy() {
    let dir = PathBuf::from(std::env::var_os("STORE").unwrap());
    let copy = SledStore::open_copy(&dir, &options()).unwrap();
    assert_eq!(fs::read_dir(std::env::temp_dir()).unwrap().count(), 1);
    assert_whole(&copy);
    let entry = Entry { key: b"vs0".to_vec(), value: b"here".to_vec() };
    assert_eq!(copy.scan(Table::Svms, b"", None, 9).unwrap(), [entry]);

    let replacement = Replacement { key: b"vs0".to_vec(), expect: Expect::Exactly(b"here".to_vec()), value: vec![] };
    for refused in [
        copy.commit(Batch::new().put(Table::Svms, *b"vs0", *b"gone")),
        copy.commit(Batch::new().delete(Table::Svms, *b"vs0")),
        copy.commit(Batch::new()),
        copy.replace_each(Table::Svms, &[replacement], &[]).map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::ReadOnly)), "{refused:?}");
    }
    assert_whole(&copy);
    // The store itself is free.
    assert_whole(&SledStore::open_copy(&dir, &options()).unwrap());
}

#[test]
fn a_store_is_not_opened_while_it_is_copied() {
    let (_parent, dir) = temporary();
    create(&dir);
    let copying = fs::File::open(dir.join("lock")).unwrap();
    copying.try_lock_shared().unwrap();
    assert!(matches!(open(&dir), Err(OpenError::Locked { pid: None, .. })));
    assert_whole(&SledStore::open_copy(&dir, &options()).unwrap());
    drop(copying);
    fs::remove_file(dir.join("lock")).unwrap();
    assert_whole(&SledStore::open_copy(&dir, &options()).unwrap());
    assert!(!dir.join("lock").exists());
    assert_whole(&open(&dir).unwrap());
}

#[test]
fn an_older_database_does_not_pass_for_the_store_s_own() {
    let (parent, dir) = temporary();
    create(&dir);
    let older = parent.path().join("older");
    copy(&dir.join("sled"), &older);
    open(&dir).unwrap().commit(Batch::new().delete(Table::Svms, *b"vs0")).unwrap();
    fs::rename(dir.join("sled"), parent.path().join("aside")).unwrap();
    for _ in 0..2 {
        copy(&older, &dir.join("sled"));
        for opened in [SledStore::open_copy(&dir, &options()), open(&dir), open(&dir)] {
            let error = opened.unwrap_err();
            assert!(error.source().unwrap().to_string().contains("or is an older one"), "{error:?}");
        }
        fs::remove_dir_all(dir.join("sled")).unwrap();
    }
    fs::rename(parent.path().join("aside"), dir.join("sled")).unwrap();
    assert_eq!(open(&dir).unwrap().get(Table::Svms, b"vs0").unwrap(), None);
}
