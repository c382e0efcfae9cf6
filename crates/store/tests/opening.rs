//! Creating and opening the stores on disk: what is refused, what is taken up again, and what is left alone.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::error::Error as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use claviger_store::{
    Batch, Entry, Expect, OpenError, RedbStore, Replacement, SledStore, StoreError, StoreKind, Table,
};
use support::{assert_whole, contents, copy, create, database_file, open, open_copy, options, refused, this_test};
use tempfile::TempDir;

support::of_each_kind! {
    a_store_is_created_once,
    a_store_is_created_in_a_directory_that_is_there_but_makes_no_parents,
    one_handle_at_a_time,
    one_process_at_a_time,
    a_header_of_another_format_is_refused_by_field,
    a_creation_that_was_cut_short_anywhere_is_repeated,
    a_store_that_has_lost_a_part_is_neither_opened_nor_created_anew,
    a_copy_is_for_reading_and_leaves_no_trace,
    a_store_is_not_opened_while_it_is_copied,
    an_older_database_does_not_pass_for_the_store_s_own,
}

fn temporary() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    (dir, store)
}

#[test]
fn where_there_is_no_store_nothing_is_opened_or_made() {
    let (parent, dir) = temporary();
    for opened in [open(&dir), open_copy(&dir)] {
        assert!(matches!(opened, Err(OpenError::Missing { dir: named }) if named == dir));
    }
    fs::write(parent.path().join("other"), b"").unwrap();
    let before = contents(parent.path());
    for opened in [open(parent.path()), open_copy(parent.path())] {
        assert!(matches!(opened, Err(OpenError::Missing { .. })));
    }
    assert_eq!(contents(parent.path()), before);
}

fn a_store_is_created_once(kind: StoreKind) {
    let (_parent, dir) = temporary();
    create(kind, &dir);
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let created = kind.create(&dir, &options());
    assert!(matches!(created, Err(OpenError::Exists { dir: named }) if named == dir));
    assert_whole(&*open(&dir).unwrap());
}

fn a_store_is_created_in_a_directory_that_is_there_but_makes_no_parents(kind: StoreKind) {
    let (parent, dir) = temporary();
    drop(kind.create(parent.path(), &options()).unwrap());
    open(parent.path()).unwrap();
    let created = kind.create(&dir.join("deeper"), &options());
    assert!(matches!(refused(created), OpenError::Io { action: "create", .. }));
}

fn one_handle_at_a_time(kind: StoreKind) {
    let (_parent, dir) = temporary();
    create(kind, &dir);
    let store = open(&dir).unwrap();
    let us = Some(std::process::id());
    for second in [open(&dir), kind.create(&dir, &options()), open_copy(&dir)] {
        assert!(matches!(refused(second), OpenError::Locked { pid, .. } if pid == us));
    }
    assert_whole(&*store);
    drop(store);
    assert_eq!(fs::read(dir.join("lock")).unwrap(), b"");
    assert_whole(&*open(&dir).unwrap());
}

#[test]
fn a_store_of_one_kind_is_not_opened_as_another_nor_made_another() {
    for kind in StoreKind::ALL {
        let (_parent, dir) = temporary();
        create(kind, &dir);
        let before = contents(&dir);
        let other_kind = |error| matches!(error, OpenError::OtherKind { kind: named, .. } if named == kind);
        match kind {
            StoreKind::Sled => {
                assert!(other_kind(RedbStore::open(&dir, &options()).unwrap_err()));
                assert!(other_kind(RedbStore::open_copy(&dir, &options()).unwrap_err()));
            }
            _ => {
                assert!(other_kind(SledStore::open(&dir, &options()).unwrap_err()));
                assert!(other_kind(SledStore::open_copy(&dir, &options()).unwrap_err()));
            }
        }
        for other in StoreKind::ALL {
            assert!(matches!(refused(other.create(&dir, &options())), OpenError::Exists { .. }));
        }
        assert_eq!(contents(&dir), before);
        assert_eq!(StoreKind::of(&dir).unwrap(), kind);
        assert_whole(&*open(&dir).unwrap());
    }
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

fn one_process_at_a_time(kind: StoreKind) {
    let (_parent, dir) = temporary();
    create(kind, &dir);
    let mut child = process_with(&dir);
    let message = refused(open(&dir)).to_string();
    assert!(message.contains(&format!("open elsewhere by process {}", child.id())), "{message}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_whole(&*open(&dir).unwrap());
}

fn a_header_of_another_format_is_refused_by_field(kind: StoreKind) {
    let (_parent, dir) = temporary();
    create(kind, &dir);
    let header = dir.join("store.json");
    let good = fs::read_to_string(&header).unwrap();
    let of_kind: &[(&str, &str, &str)] = match kind {
        StoreKind::Sled => &[
            ("0.34.7", "0.34.6", "sled"),
            ("4194304", "524288", "segment_bytes"),
            ("false", "true", "compression"),
            ("\"sled\",", "\"lmdb\",", "kind"),
        ],
        StoreKind::Redb => &[("3", "4", "file_format"), ("\"redb\"", "\"lmdb\"", "kind")],
        other => panic!("{other}"),
    };
    let of_all = [
        ("\"format\": 1", "\"format\": 2", "format"),
        ("\"kind\"", "\"kinds\"", "kind"),
        ("{", "{\"mirror\": 1,", "mirror"),
    ];
    for (from, to, field) in of_all.iter().chain(of_kind) {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        fs::write(&header, bad).unwrap();
        let before = contents(&dir.join(kind.name()));
        for opened in [open(&dir), open_copy(&dir)] {
            assert!(
                matches!(&refused(opened), OpenError::UnknownFormat { field: named, .. } if named == field),
                "{field}"
            );
        }
        assert_eq!(contents(&dir.join(kind.name())), before);
    }
    for bad in ["", "{", &good[1..], &format!("{good} ")] {
        fs::write(&header, bad).unwrap();
        assert!(matches!(open(&dir), Err(OpenError::Damaged { .. })));
    }
    fs::write(&header, good).unwrap();
    assert_whole(&*open(&dir).unwrap());
}

fn a_creation_that_was_cut_short_anywhere_is_repeated(kind: StoreKind) {
    let (parent, whole) = temporary();
    create(kind, &whole);
    let (database, new) = (kind.name(), format!("{kind}.new"));
    let made = (database, new.as_str());
    // What is there when the creation is cut short, in the order of its steps.
    let steps: [&[(&str, &str)]; 7] = [
        &[],
        // The other kind's, which is cleared away too.
        &[("mark", "redb.new/db"), ("mark", "sled.new/db")],
        &[made],
        &[made, ("lock", "mark")],
        &[made, ("mark", "mark"), ("lock", "store.json.new")],
        &[made, ("mark", "mark"), ("store.json", "store.json.new")],
        &[made, ("mark", "mark"), ("store.json", "store.json")],
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
        for opened in [open(&dir), open_copy(&dir)] {
            assert!(matches!(refused(opened), OpenError::Missing { .. }), "step {number}");
        }
        assert_eq!(contents(&dir), before);
        create(kind, &dir);
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let mut whole = ["lock", "mark", database, "store.json"];
        whole.sort_unstable();
        assert_eq!(names, whole, "step {number}");
        assert_whole(&*open(&dir).unwrap());
    }
}

fn a_store_that_has_lost_a_part_is_neither_opened_nor_created_anew(kind: StoreKind) {
    let (parent, dir) = temporary();
    create(kind, &dir);
    let aside = parent.path().join("aside");
    let mut parts = vec![PathBuf::from("store.json"), "mark".into(), kind.name().into(), database_file(kind)];
    if kind == StoreKind::Sled {
        let mut names = fs::read_dir(dir.join("sled")).unwrap().map(|entry| entry.unwrap().file_name());
        let snapshot = names.find(|name| name.to_string_lossy().starts_with("snap.")).unwrap();
        parts.push(Path::new("sled").join(snapshot));
    }
    for part in &parts {
        fs::rename(dir.join(part), &aside).unwrap();
        let before = contents(&dir);
        for opened in [open(&dir), open_copy(&dir)] {
            assert!(matches!(refused(opened), OpenError::Damaged { .. }), "without {}", part.display());
        }
        let created = refused(kind.create(&dir, &options()));
        assert!(matches!(created, OpenError::Damaged { .. } | OpenError::Exists { .. }), "{created:?}");
        assert_eq!(contents(&dir), before, "without {}", part.display());
        fs::rename(&aside, dir.join(part)).unwrap();
    }
    let log = fs::read(dir.join(database_file(kind))).unwrap();
    fs::write(dir.join(database_file(kind)), b"").unwrap();
    assert!(matches!(open(&dir), Err(OpenError::Damaged { .. })));
    assert_eq!(fs::read(dir.join(database_file(kind))).unwrap(), b"");
    fs::write(dir.join(database_file(kind)), log).unwrap();
    assert_whole(&*open(&dir).unwrap());
}

fn a_copy_is_for_reading_and_leaves_no_trace(kind: StoreKind) {
    let (parent, dir) = temporary();
    create(kind, &dir);
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
    let copy = open_copy(&dir).unwrap();
    assert_eq!(fs::read_dir(std::env::temp_dir()).unwrap().count(), 1);
    assert_whole(&*copy);
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
    assert_whole(&*copy);
    // The store itself is free.
    assert_whole(&*open_copy(&dir).unwrap());
}

fn a_store_is_not_opened_while_it_is_copied(kind: StoreKind) {
    let (_parent, dir) = temporary();
    create(kind, &dir);
    let copying = fs::File::open(dir.join("lock")).unwrap();
    copying.try_lock_shared().unwrap();
    assert!(matches!(open(&dir), Err(OpenError::Locked { pid: None, .. })));
    assert_whole(&*open_copy(&dir).unwrap());
    drop(copying);
    fs::remove_file(dir.join("lock")).unwrap();
    assert_whole(&*open_copy(&dir).unwrap());
    assert!(!dir.join("lock").exists());
    assert_whole(&*open(&dir).unwrap());
}

fn an_older_database_does_not_pass_for_the_store_s_own(kind: StoreKind) {
    let (parent, dir) = temporary();
    create(kind, &dir);
    let older = parent.path().join("older");
    copy(&dir.join(kind.name()), &older);
    open(&dir).unwrap().commit(Batch::new().delete(Table::Svms, *b"vs0")).unwrap();
    fs::rename(dir.join(kind.name()), parent.path().join("aside")).unwrap();
    for _ in 0..2 {
        copy(&older, &dir.join(kind.name()));
        for opened in [open_copy(&dir), open(&dir), open(&dir)] {
            let error = refused(opened);
            assert!(error.source().unwrap().to_string().contains("or is an older one"), "{error:?}");
        }
        fs::remove_dir_all(dir.join(kind.name())).unwrap();
    }
    fs::rename(parent.path().join("aside"), dir.join(kind.name())).unwrap();
    assert_eq!(open(&dir).unwrap().get(Table::Svms, b"vs0").unwrap(), None);
}
