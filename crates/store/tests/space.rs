//! What the stores on disk take of disk and memory.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use claviger_store::{Batch, Expect, Outcome, Replacement, StoreError, StoreKind, StoreOptions, Table, open_store};
use support::{assert_whole, create, database_file, open, options, this_test};

support::of_each_kind! {
    below_the_reserve_only_deletes_are_taken,
    memory_stays_bounded_in_bulk,
}

fn below_the_reserve_only_deletes_are_taken(kind: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    create(kind, dir.path());
    let all = StoreOptions { reserve_bytes: u64::MAX, ..options() };
    let store = open_store(dir.path(), &all).unwrap();
    let replacement = Replacement { key: b"vs0".to_vec(), expect: Expect::Exactly(b"here".to_vec()), value: vec![] };
    for refused in [
        store.commit(Batch::new().put(Table::Svms, *b"vs1", *b"")),
        store.commit(Batch::new().delete(Table::Svms, *b"vs0").put(Table::Svms, *b"vs1", *b"")),
        store.commit(Batch::new().put(Table::Svms, *b"vs1", *b"").require(Table::Svms, *b"vs0", Expect::Absent)),
        store.replace_each(Table::Svms, &[replacement], &[]).map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::DiskFull { reserve: u64::MAX, free: 1.. })), "{refused:?}");
    }
    assert_whole(&*store);
    assert_eq!(store.scan(Table::Svms, b"", None, 9).unwrap().len(), 1);
    store.commit(Batch::new().delete(Table::Svms, *b"vs1").delete(Table::Svms, *b"vs2")).unwrap();
    store.commit(Batch::new().delete(Table::Svms, *b"vs0").require(Table::Svms, *b"vs1", Expect::Absent)).unwrap();
    assert_eq!(store.get(Table::Svms, b"vs0").unwrap(), None);
}

fn memory_stays_bounded_in_bulk(kind: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    create(kind, dir.path());
    assert!(this_test("rewrites_in_bulk").env("STORE", dir.path()).status().unwrap().success());
}

#[test]
#[ignore = "the part of memory_stays_bounded_in_bulk that runs in a process of its own"]
fn rewrites_in_bulk() {
    const RECORDS: u32 = 200_000;
    const CHUNK: usize = 1000;
    let dir = PathBuf::from(std::env::var_os("STORE").unwrap());
    let store = open(&dir).unwrap();
    let key = |number: u32| format!("{number:033}").into_bytes();
    let numbers: Vec<u32> = (0..RECORDS).collect();
    for version in 0..3_u8 {
        let expect = || version.checked_sub(1).map_or(Expect::Absent, |before| Expect::Exactly(vec![before; 172]));
        let item = |number: &u32| Replacement { key: key(*number), expect: expect(), value: vec![version; 172] };
        for chunk in numbers.chunks(CHUNK) {
            let items: Vec<_> = chunk.iter().map(item).collect();
            assert_eq!(store.replace_each(Table::Keys, &items, &[]).unwrap(), [Outcome::Replaced; CHUNK]);
        }
    }
    let (memory, disk) =
        (resident_bytes(), fs::metadata(dir.join(database_file(StoreKind::of(&dir).unwrap()))).unwrap().len());
    // 41 MB of keys and values. The cache is 16 MiB.
    assert!(memory < 80_000_000, "{memory} bytes resident");
    assert!(disk < 250_000_000, "{disk} bytes on disk");
    println!("{memory} bytes resident, {disk} bytes on disk");
}

/// See proc_pid_status(5).
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")).unwrap();
    kib.trim().parse::<u64>().unwrap() * 1024
}
