//! The stores on disk when its process is killed, or its writes fail: what was acknowledged is there afterwards.
//!
//! A child process writes without end, and says on its standard output what was acknowledged to it.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use claviger_store::{
    Batch, Expect, MAX_RECORD_BYTES, Outcome, Replacement, Store, StoreError, StoreKind, StoreOptions, Table,
    open_store,
};
use support::{open, options, this_test};

support::of_each_kind! {
    what_was_acknowledged_survives_kills,
    what_was_acknowledged_survives_failing_writes,
}

/// Records that are written one at a time, each writer its own.
const SINGLES: Table = Table::Svms;
/// Large records, of which each is kept, so that the database grows: every 16th time that one of the above is written.
const LARGE: Table = Table::Certificates;
/// Records that one commit writes together.
const TOGETHER: Table = Table::Keks;
/// Records that are replaced in bulk.
const BULK: Table = Table::Keys;

/// How often a record has been written: its first eight bytes.
fn count(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

fn value(count: u64, len: usize) -> Vec<u8> {
    let mut value = vec![count.to_be_bytes()[7]; len];
    value[..8].copy_from_slice(&count.to_be_bytes());
    value
}

/// The key of a large record.
fn large(writer: u8, count: u64) -> Vec<u8> {
    [&[writer][..], &count.to_be_bytes()].concat()
}

fn current(store: &dyn Store, table: Table, key: &[u8]) -> u64 {
    store.get(table, key).unwrap().map_or(0, |value| count(&value))
}

/// What to write, and how to tell: each writer returns when the store fails.
fn write_without_end(store: &dyn Store) {
    let acknowledged = |writer: &str, count: u64| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {writer} {count}").and_then(|()| out.flush()).unwrap();
    };
    let singles = |writer: u8| {
        let mut next = current(store, SINGLES, &[writer]) + 1;
        loop {
            let mut created = Batch::new().put(SINGLES, [writer], value(next, 100)).put(Table::Jobs, [writer], []);
            if next.is_multiple_of(16) {
                created = created.put(LARGE, large(writer, next), value(next, MAX_RECORD_BYTES));
            }
            store.commit(if next.is_multiple_of(2) { created } else { created.delete(Table::Node, *b"-") })?;
            store.commit(Batch::new().delete(Table::Jobs, [writer]).require(
                Table::Jobs,
                [writer],
                Expect::Exactly(vec![]),
            ))?;
            acknowledged(&format!("single-{writer}"), next);
            next += 1;
        }
    };
    let together = || {
        let mut next = current(store, TOGETHER, &[0]) + 1;
        loop {
            let put = |batch: Batch, slot: u8| batch.put(TOGETHER, [slot], value(next, 100));
            store.commit((0..32).fold(Batch::new(), put))?;
            acknowledged("together", next);
            next += 1;
        }
    };
    let bulk = || {
        let mut next =
            store.scan(BULK, b"", None, usize::MAX)?.iter().map(|entry| count(&entry.value)).max().unwrap_or(0) + 1;
        loop {
            let items = (0..500_u16).map(|number| {
                let before = store.get(BULK, &number.to_be_bytes())?;
                let expect = before.map_or(Expect::Absent, Expect::Exactly);
                Ok(Replacement { key: number.to_be_bytes().to_vec(), expect, value: value(next, 172) })
            });
            let outcomes = store.replace_each(BULK, &items.collect::<Result<Vec<_>, _>>()?, &[])?;
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Replaced));
            acknowledged("bulk", next);
            next += 1;
        }
    };
    let failed = |result: Result<std::convert::Infallible, StoreError>| match result {
        Err(error) => drop(writeln!(std::io::stdout(), "failed {error}")),
        Ok(never) => match never {},
    };
    thread::scope(|scope| {
        for writer in 0..3 {
            scope.spawn(move || failed(singles(writer)));
        }
        scope.spawn(|| failed(together()));
        scope.spawn(|| failed(bulk()));
    });
    for answer in [store.get(SINGLES, b"").map(drop), store.commit(Batch::new().put(SINGLES, [0], []))] {
        assert!(matches!(answer, Err(StoreError::Failed { .. })), "{answer:?}");
    }
}

#[test]
#[ignore = "what the tests of this file run in a process of its own"]
fn writes_without_end() {
    let dir = PathBuf::from(std::env::var_os("STORE").unwrap());
    let options = StoreOptions { cache_bytes: 0, reserve_bytes: 0 };
    write_without_end(&*open_store(&dir, &options).unwrap());
}

/// Checks that all that was acknowledged is there, and no commit in part. What was found counts as acknowledged from then
/// on.
fn check(dir: &Path, acknowledged: &mut BTreeMap<String, u64>) {
    let store = open(dir).unwrap();
    let mut expect = |writer: String, found: &[u64]| {
        let acknowledged = acknowledged.entry(writer.clone()).or_insert(0);
        let all_there = found.iter().all(|found| *found >= *acknowledged);
        assert!(all_there, "{writer}: {found:?} where {acknowledged} was acknowledged");
        *acknowledged = found.iter().copied().min().unwrap();
    };
    for writer in 0..3_u8 {
        let single = current(&*store, SINGLES, &[writer]);
        expect(format!("single-{writer}"), &[single]);
        for written in (16..=single).step_by(16) {
            assert_eq!(current(&*store, LARGE, &large(writer, written)), written);
        }
    }
    let together: Vec<u64> = (0..32).map(|slot| current(&*store, TOGETHER, &[slot])).collect();
    assert!(together.iter().all(|found| *found == together[0]), "a part of a commit: {together:?}");
    expect("together".to_owned(), &together);
    let bulk: Vec<u64> = (0..500_u16).map(|number| current(&*store, BULK, &number.to_be_bytes())).collect();
    expect("bulk".to_owned(), &bulk);
}

/// Runs the child until it has said `lines` lines, or has ended, then kills it and notes what was acknowledged.
fn run(mut command: Command, dir: &Path, lines: usize, acknowledged: &mut BTreeMap<String, u64>) -> Vec<String> {
    let mut child = command.env("STORE", dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut failures = Vec::new();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut count = 0;
    for line in said {
        // What it said before it was killed counts, too.
        // The test harness begins the first line.
        let rest = line.split_once("acknowledged ").map(|(_, rest)| rest);
        if let Some((writer, number)) = rest.and_then(|rest| rest.split_once(' ')) {
            acknowledged.insert(writer.to_owned(), number.parse().unwrap());
            count += 1;
            if count == lines {
                child.kill().unwrap();
            }
        } else if line.starts_with("failed ") {
            failures.push(line);
        }
    }
    let status = child.wait().unwrap();
    assert!(status.success() || count >= lines, "{status}");
    failures
}

fn what_was_acknowledged_survives_kills(kind: StoreKind) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("store");
    drop(kind.create(&dir, &options()).unwrap());
    let mut acknowledged = BTreeMap::new();
    for lines in [1, 300, 40, 700, 5, 150, 90, 500] {
        let failures = run(this_test("writes_without_end"), &dir, lines, &mut acknowledged);
        assert!(failures.is_empty(), "{failures:?}");
        check(&dir, &mut acknowledged);
    }
}

/// The child may not make files larger than a limit, which the database's file meets sooner or later.
fn what_was_acknowledged_survives_failing_writes(kind: StoreKind) {
    let test = this_test("writes_without_end");
    let parent = tempfile::tempdir().unwrap();
    let limits = match kind {
        StoreKind::Sled => [9_000, 13_333, 17_500],
        // It grows only as the records do.
        _ => [3_000, 4_444, 5_800],
    };
    for (number, kib) in limits.into_iter().enumerate() {
        let dir = parent.path().join(number.to_string());
        drop(kind.create(&dir, &options()).unwrap());
        let mut limited = Command::new("sh");
        // Ignored, the signal leaves the error.
        limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kib * 2), "sh"]);
        limited.arg(test.get_program()).args(test.get_args());
        let mut acknowledged = BTreeMap::new();
        let failures = run(limited, &dir, usize::MAX, &mut acknowledged);
        assert_eq!(failures.len(), 5, "{failures:?}");
        assert!(!acknowledged.is_empty());
        check(&dir, &mut acknowledged);
    }
}
