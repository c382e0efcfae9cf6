//! Kill a process under load with SIGKILL, over and over, and check every acknowledged key.

mod product;
mod round;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::product::Product;
use self::round::Hierarchy;
use crate::ledger::{Counts, kept, none};
use crate::workload::Store;

/// So many rounds are of the workload before one of the product's own binary.
const WORKLOADS_PER_PRODUCT: u32 = 7;

/// Kill a process under load with SIGKILL, over and over, and check every acknowledged key
///
/// Each round starts a process on what the last one left, kills it at a random moment, also while it starts and resumes
/// jobs, opens the hierarchy again and checks it against what was acknowledged. Some rounds kill the `claviger` binary.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often to kill; 500 and more for a campaign
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u32,
    /// The store of the hierarchies
    #[arg(long, default_value = "sled")]
    store: Store,
    /// Choose the moments and the work as an earlier run with this seed did; only its order of events is chance
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What a run comes to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    store: &'static str,
    seed: u64,
    rounds: u32,
    /// Rounds whose process was at work when it was killed.
    kills: u32,
    #[serde(flatten)]
    counts: Counts,
    violations: usize,
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let place = tempfile::Builder::new().prefix("claviger-crash-").tempdir().context("no directory to work in")?;
    attack(args, place.path()).map_err(|error| kept(place, error))
}

fn attack(args: &Args, place: &Path) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    let mut rng = Rng::with_seed(seed);
    let mut hierarchy = Hierarchy::new(place.join("workload"), args.store);
    let mut product = Product::new(place.join("product"), args.store)?;
    let bar = bar(args.rounds)?;
    let started = Instant::now();

    let mut summary = Summary { store: args.store.name(), seed, ..Summary::default() };
    let mut violations = Vec::new();
    while summary.rounds < args.rounds && violations.is_empty() {
        let is_product = summary.rounds % (WORKLOADS_PER_PRODUCT + 1) == WORKLOADS_PER_PRODUCT;
        let is_last = summary.rounds + 1 == args.rounds;
        let (killed, found) = if is_product { product.round(&mut rng)? } else { hierarchy.round(&mut rng, is_last)? };
        summary.rounds += 1;
        summary.kills += u32::from(killed);
        violations = found;
        bar.inc(1);
    }
    bar.finish_and_clear();
    summary.counts = hierarchy.counts() + product.counts();
    summary.violations = violations.len();
    summary.seconds = started.elapsed().as_secs_f64();
    summary.print(args.json)?;
    none(&violations, seed)?;
    check_something_happened(&summary)
}

impl Summary {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let Self { store, seed, rounds, kills, counts, violations, seconds } = self;
        let Counts { creates, deletes, rotations, rekeys, svm_changes, passphrase_changes, keys_checked } = counts;
        println!(
            "crash: {store}: {rounds} rounds, {kills} kills of a running process; acknowledged: {creates} creates, {deletes} deletes, \
             {rotations} rotation steps, {rekeys} rekeys, {svm_changes} SVM changes, {passphrase_changes} passphrase \
             changes; {keys_checked} keys checked, {violations} violations; seed {seed}, {seconds:.1} s"
        );
        Ok(())
    }
}

/// A run in which nothing was killed, or nothing acknowledged, says nothing.
fn check_something_happened(summary: &Summary) -> Result<()> {
    if summary.rounds > 0 && (summary.kills == 0 || summary.counts.acknowledged() == 0) {
        bail!("nothing was killed at work, so nothing is shown; run more rounds");
    }
    Ok(())
}

/// Shown on a terminal only.
fn bar(rounds: u32) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} rounds, {eta} left")?;
    Ok(ProgressBar::new(rounds.into()).with_style(style).with_prefix("crash"))
}
