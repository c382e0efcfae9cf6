//! Measures both kinds of store on disk in one run.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use claviger::store::{Batch, Expect, open_store};
use claviger::{ObjectRef, Store, StoreKind, StoreOptions, Table};
use claviger_benches::{Hierarchy, PAGE, create_all, record_of, resident};
use rustix::fs::{Advice, fadvise};
use serde_json::json;
use uuid::Uuid;

/// Measure sled and redb: what a commit, a bulk creation, a rekey, an opening and a read take, and how much disk and
/// memory.
#[derive(Parser)]
struct Cli {
    /// How many keys
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Where the stores are made, in a directory that is removed at the end [default: where temporary files are]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Rounds of what takes microseconds or milliseconds; the kinds take turns, and the median counts.
const ROUNDS: usize = 21;
/// Rounds of what takes seconds.
const LONG_ROUNDS: usize = 3;
const THREADS: usize = 8;

/// Something measured, of sled and of redb.
struct Measure {
    name: &'static str,
    unit: &'static str,
    of_each: [f64; 2],
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let dir = match &cli.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let mut measures = commits(dir.path())?;
    measures.extend(hierarchies(dir.path(), cli.keys)?);
    print(&cli, &measures);
    Ok(())
}

/// What one durable commit takes, alone and among others.
fn commits(dir: &Path) -> Result<Vec<Measure>> {
    let store = |kind: StoreKind| kind.create(&dir.join(format!("commits-{kind}")), &StoreOptions::default());
    let stores = each(|kind| Ok(store(kind)?))?;
    let mut number = 0_u64;
    let alone = take_turns(ROUNDS, |kind| {
        number += 1;
        commit_some(&**of(&stores, kind), number << 32, 20)
    })?;
    let among_others = take_turns(ROUNDS, |kind| {
        number += 1;
        let store = of(&stores, kind);
        thread::scope(|scope| {
            let commit = |thread: usize| {
                let first = (number << 32) + ((thread as u64) << 16);
                scope.spawn(move || commit_some(&**store, first, 20))
            };
            let threads: Vec<_> = (0..THREADS).map(commit).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
        })
    })?;
    Ok(vec![
        Measure { name: "durable commit, one thread", unit: "us", of_each: alone.map(|s| s / 20.0 * 1e6) },
        Measure {
            name: "durable commit, eight threads",
            unit: "us per commit",
            of_each: among_others.map(|s| s / (20 * THREADS) as f64 * 1e6),
        },
    ])
}

/// Commits as a creation of a key does: a record that must not be there, and one that must be unchanged.
fn commit_some(store: &dyn Store, first: u64, count: u64) -> Result<()> {
    for number in first..first + count {
        let key = number.to_be_bytes();
        let batch =
            Batch::new().require(Table::Keks, *b"kek", Expect::Absent).require(Table::Keys, key, Expect::Absent);
        store.commit(batch.put(Table::Keys, key, [7; 156]))?;
    }
    Ok(())
}

/// What a hierarchy of so many keys takes.
fn hierarchies(dir: &Path, keys: usize) -> Result<Vec<Measure>> {
    let place = |kind: StoreKind| dir.join(format!("keys-{kind}"));
    let mut hierarchies =
        each(|kind| Hierarchy::new(Arc::from(kind.create(&place(kind), &StoreOptions::default())?), 0))?;
    let mut create = [0.0; 2];
    let volumes: Vec<_> = (0..keys).map(|_| ObjectRef::Volume(Uuid::new_v4())).collect();
    for some in volumes.chunks(10 * PAGE) {
        for (kind, taken) in StoreKind::ALL.into_iter().zip(&mut create) {
            let Hierarchy { engine, svm, .. } = of(&hierarchies, kind);
            *taken += seconds(|| create_all(engine, *svm, some))?;
        }
    }
    let disk_after_create = each(|kind| disk_bytes(&place(kind)))?;

    let some: Vec<_> = volumes.iter().step_by(keys.div_ceil(2_000).max(1)).copied().collect();
    let per_one = |seconds: f64| seconds / some.len() as f64 * 1e6;
    let open_key = take_turns(ROUNDS, |kind| {
        let Hierarchy { engine, svm, .. } = of(&hierarchies, kind);
        some.iter().try_for_each(|volume| engine.open_key(*svm, *volume).map(drop))?;
        Ok(())
    })?;
    let get = take_turns(ROUNDS, |kind| {
        let Hierarchy { store, svm, .. } = of(&hierarchies, kind);
        some.iter().try_for_each(|volume| {
            store.get(Table::Keys, &record_of(*svm, *volume))?.context("a volume has no record").map(drop)
        })
    })?;
    let scan = take_turns(LONG_ROUNDS, |kind| scan_all(&*of(&hierarchies, kind).store, keys))?;

    let mut memory = [0.0_f64; 2];
    let rekey = take_turns(LONG_ROUNDS, |kind| {
        let Hierarchy { engine, svm, .. } = of(&hierarchies, kind);
        let before = resident("VmRSS")?;
        // Sets the peak back to what is resident now (proc_pid_clear_refs(5)).
        fs::write("/proc/self/clear_refs", "5").context("the peak of resident memory could not be set back")?;
        engine.rekey_internal(*svm)?.wait()?;
        let more = resident("VmHWM")?.saturating_sub(before) as f64;
        let of_kind = StoreKind::ALL.into_iter().zip(&mut memory).find(|(of, _)| *of == kind);
        of_kind.into_iter().for_each(|(_, most)| *most = most.max(more));
        Ok(())
    })?;
    let disk_after_rekeys = each(|kind| disk_bytes(&place(kind)))?;

    hierarchies.clear();
    let open = take_turns(LONG_ROUNDS, |kind| open_and_close(&place(kind)))?;
    let mut cold = Vec::new();
    for _ in 0..LONG_ROUNDS {
        cold.push(each(|kind| {
            drop_from_page_cache(&place(kind))?;
            seconds(|| open_and_close(&place(kind)))
        })?);
    }
    Ok(vec![
        Measure { name: "create all keys in bulk", unit: "s", of_each: create },
        Measure { name: "rekey all keys", unit: "s", of_each: rekey },
        Measure { name: "open and close, file in the page cache", unit: "s", of_each: open },
        Measure { name: "open and close, file on the disk", unit: "s", of_each: medians(&cold) },
        Measure { name: "get, random keys", unit: "us", of_each: get.map(per_one) },
        Measure { name: "open_key, random keys", unit: "us", of_each: open_key.map(per_one) },
        Measure { name: "scan all keys", unit: "s", of_each: scan },
        Measure { name: "disk after creation", unit: "MB", of_each: pair(&disk_after_create).map(megabytes) },
        Measure { name: "disk after three rekeys", unit: "MB", of_each: pair(&disk_after_rekeys).map(megabytes) },
        Measure { name: "memory that the rekey adds at its peak", unit: "MB", of_each: memory.map(megabytes) },
    ])
}

fn open_and_close(dir: &Path) -> Result<()> {
    open_store(dir, &StoreOptions::default())?;
    Ok(())
}

fn scan_all(store: &dyn Store, keys: usize) -> Result<()> {
    let (mut seen, mut after) = (0, None);
    loop {
        let page = store.scan(Table::Keys, &[], after.as_deref(), PAGE)?;
        seen += page.len();
        match page.into_iter().last() {
            Some(last) => after = Some(last.key),
            None => break,
        }
    }
    ensure!(seen == keys, "{seen} of {keys} records were found");
    Ok(())
}

/// Has each kind do the thing so often, one after the other, and returns the median of the seconds.
fn take_turns(rounds: usize, mut turn: impl FnMut(StoreKind) -> Result<()>) -> Result<[f64; 2]> {
    // The first does not count.
    for kind in StoreKind::ALL {
        turn(kind)?;
    }
    let rounds: Vec<_> = (0..rounds).map(|_| each(|kind| seconds(|| turn(kind)))).collect::<Result<_>>()?;
    Ok(medians(&rounds))
}

fn medians(rounds: &[Vec<f64>]) -> [f64; 2] {
    let median = |kind: usize| {
        let mut taken: Vec<_> = rounds.iter().filter_map(|round| round.get(kind).copied()).collect();
        taken.sort_by(f64::total_cmp);
        taken.get(taken.len() / 2).copied().unwrap_or(f64::NAN)
    };
    [median(0), median(1)]
}

fn seconds(act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    act()?;
    Ok(started.elapsed().as_secs_f64())
}

/// One of each kind, in the order of [`StoreKind::ALL`].
fn each<T>(make: impl FnMut(StoreKind) -> Result<T>) -> Result<Vec<T>> {
    StoreKind::ALL.into_iter().map(make).collect()
}

#[expect(clippy::indexing_slicing, reason = "there is one of each kind")]
fn of<T>(of_each: &[T], kind: StoreKind) -> &T {
    &of_each[usize::from(kind == StoreKind::Redb)]
}

fn pair(of_each: &[f64]) -> [f64; 2] {
    [StoreKind::Sled, StoreKind::Redb].map(|kind| *of(of_each, kind))
}

fn megabytes(bytes: f64) -> f64 {
    bytes / 1e6
}

/// Bytes that the files below a directory take of the disk.
fn disk_bytes(dir: &Path) -> Result<f64> {
    let mut bytes = 0.0;
    each_file(dir, &mut |file| {
        bytes += file.metadata()?.blocks() as f64 * 512.0;
        Ok(())
    })?;
    Ok(bytes)
}

/// Has the next reader fetch the files below a directory from the disk.
fn drop_from_page_cache(dir: &Path) -> Result<()> {
    each_file(dir, &mut |file| {
        file.sync_all()?;
        Ok(fadvise(file, 0, None, Advice::DontNeed)?)
    })
}

fn each_file(dir: &Path, act: &mut dyn FnMut(&File) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            each_file(&entry.path(), act)?;
        } else {
            act(&File::open(entry.path())?)?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a command")]
fn print(cli: &Cli, measures: &[Measure]) {
    if cli.json {
        let measures = measures.iter().map(|Measure { name, unit, of_each: [sled, redb] }| {
            json!({ "name": name, "unit": unit, "sled": sled, "redb": redb, "redb_over_sled": redb / sled })
        });
        println!("{}", json!({ "keys": cli.keys, "measures": measures.collect::<Vec<_>>() }));
        return;
    }
    println!("{} keys\n", cli.keys);
    println!("{:<40} {:>10} {:>10}  {:<13} redb / sled", "", "sled", "redb", "");
    for Measure { name, unit, of_each: [sled, redb] } in measures {
        println!("{name:<40} {sled:>10.3} {redb:>10.3}  {unit:<13} {:.2}", redb / sled);
    }
}
