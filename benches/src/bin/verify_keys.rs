//! How many keys a verification opens in a second of one core, beside the bare scan of the same store.
//!
//! Both run on one thread, and what counts is the time that this thread has a processor: so other work on the machine
//! counts for less.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use claviger::store::MemoryStore;
use claviger::{Store, StoreKind, StoreOptions, Table};
use claviger_benches::{Hierarchy, PAGE};
use serde_json::json;

/// Make keys, then scan and verify them in turns.
#[derive(Parser)]
struct Cli {
    /// How many keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// The store that they lie in: sled or redb [default: in memory]
    #[arg(long)]
    store: Option<StoreKind>,
    /// How often each of the two is done; the medians count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the store is made, in a directory that is removed at the end [default: where temporary files are]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "a command")]
fn main() -> Result<()> {
    let cli = Cli::parse();
    let dir = match &cli.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let store: Arc<dyn Store> = match cli.store {
        Some(kind) => kind.create(&dir.path().join("store"), &StoreOptions::default())?.into(),
        None => Arc::<MemoryStore>::default(),
    };
    let hierarchy = Hierarchy::new(store, cli.keys)?;
    let keys = u64::try_from(cli.keys)?;

    let (mut scans, mut verifications) = (Vec::new(), Vec::new());
    // The first round only warms up.
    for round in 0..=cli.rounds {
        let started = on_processor()?;
        let scanned = scan(&*hierarchy.store)?;
        let between = on_processor()?;
        let report = hierarchy.engine.verify(|_| ())?;
        let (scan, verification) = (between - started, on_processor()? - between);
        ensure!(report.is_sound() && report.opened == keys && scanned == keys, "{report:?}");
        if round > 0 {
            scans.push(scan);
            verifications.push(verification);
        }
    }
    let (scan, verification) = (median(scans), median(verifications));
    let per_second = keys as f64 / verification.as_secs_f64();
    let over_scan = keys as f64 / verification.saturating_sub(scan).as_secs_f64();
    let share = scan.as_secs_f64() / verification.as_secs_f64();
    if cli.json {
        let result = json!({
            "keys": keys,
            "verify_seconds": verification.as_secs_f64(),
            "scan_seconds": scan.as_secs_f64(),
            "keys_per_second": per_second,
            "keys_per_second_over_scan": over_scan,
            "scan_share": share,
        });
        println!("{result}");
    } else {
        println!("{keys} keys verified in {verification:.2?}: {per_second:.0} keys/s");
        println!(
            "the store's scan alone: {scan:.2?}, {:.0} % of it; verify / scan: {:.2}; over the scan: {over_scan:.0} keys/s",
            share * 100.0,
            1.0 / share,
        );
    }
    Ok(())
}

/// Reads all key records as a verification does, and does nothing with them.
fn scan(store: &dyn Store) -> Result<u64> {
    let mut count = 0;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = black_box(store.scan(Table::Keys, &[], after.as_deref(), PAGE)?);
        count += u64::try_from(page.len())?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(count),
        }
    }
}

/// How long this thread has had a processor (proc(5), `schedstat`).
fn on_processor() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split_whitespace().next().context("no time in /proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
