//! Cut the power below the store, and check every acknowledged key.
//!
//! One run of the workload is recorded: what it does to the files, in order, with what it says. A cut is a position in that
//! recording. What a disk may hold at a cut is made in a directory of its own, opened, and checked against what had been
//! said by then.

mod bare;
mod cut;
mod disk;
mod journal;
mod recorder;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

pub(crate) use self::bare::{Args as BareArgs, run as run_bare};
use self::cut::Cuts;
use self::recorder::Recorder;
use crate::ledger::{kept, none};
use crate::workload::Store;

/// Cut the power below the store, and check every acknowledged key
///
/// The same is done to sled as it is shipped, without what claviger puts around it. That has to lose acknowledged data:
/// else the simulation could not find a loss.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Cuts per store; 100 and more for a campaign
    #[arg(long, value_name = "N", default_value_t = 12)]
    cuts: u32,
    /// The stores whose power is cut
    #[arg(long, default_value = "both")]
    store: Stores,
    /// Choose the work and the cuts as an earlier run with this seed did; only its order of events is chance
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print the summaries as JSON, one line each
    #[arg(long)]
    json: bool,
}

/// What the cuts of one store come to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    store: &'static str,
    seed: u64,
    cuts: u32,
    /// Calls that were recorded.
    operations: usize,
    /// Bytes that were written before a cut and did not arrive.
    bytes_dropped: u64,
    /// Acknowledgements that lay before a cut.
    acknowledged: u64,
    keys_checked: u64,
    violations: usize,
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let place = tempfile::Builder::new().prefix("claviger-powerloss-").tempdir().context("no directory to work in")?;
    attack(args, place.path()).map_err(|error| kept(place, error))
}

fn attack(args: &Args, place: &Path) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    let recorder = Recorder::compile(place)?;
    let bare = bare::cut(&recorder, &place.join("bare"), args.cuts, seed)?;
    bare.print(args.json)?;
    bare.must_have_failed()?;
    for store in args.store.each() {
        let started = Instant::now();
        let bar = bar(store, args.cuts)?;
        let mut cuts = Cuts::record(&recorder, &place.join(store.name()), *store, Rng::with_seed(seed))?;
        let mut violations = Vec::new();
        while cuts.made() < args.cuts && violations.is_empty() {
            violations = cuts.next()?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        let summary = Summary { seed, seconds, violations: violations.len(), ..cuts.summary() };
        summary.print(args.json)?;
        none(&violations, seed)?;
    }
    Ok(())
}

/// Which stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Stores {
    Sled,
    Redb,
    Both,
}

impl Stores {
    const fn each(self) -> &'static [Store] {
        match self {
            Self::Sled => &[Store::Sled],
            Self::Redb => &[Store::Redb],
            Self::Both => &[Store::Sled, Store::Redb],
        }
    }
}

/// Shown on a terminal only.
fn bar(store: &Store, cuts: u32) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} cuts, {eta} left")?;
    Ok(ProgressBar::new(cuts.into()).with_style(style).with_prefix(format!("powerloss: {}", store.name())))
}

impl Summary {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let Self { store, seed, cuts, operations, bytes_dropped, acknowledged, keys_checked, violations, seconds } =
            self;
        println!(
            "powerloss: {store}: {cuts} cuts in {operations} recorded operations, {bytes_dropped} bytes dropped; \
             {acknowledged} acknowledgements and {keys_checked} keys checked, {violations} violations; seed {seed}, \
             {seconds:.1} s"
        );
        Ok(())
    }
}
