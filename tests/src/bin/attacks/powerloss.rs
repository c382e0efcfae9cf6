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

use std::time::Instant;

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use serde::Serialize;
use tempfile::TempDir;

pub(crate) use self::bare::{Args as BareArgs, run as run_bare};
use self::cut::Cuts;
use self::recorder::Recorder;

/// Cut the power below the store, and check every acknowledged key
///
/// The same is done to sled as it is shipped, without what claviger puts around it. That has to lose acknowledged data:
/// else the simulation could not find a loss.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Cuts per store; 100 and more for a campaign
    #[arg(long, value_name = "N", default_value_t = 12)]
    cuts: u32,
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
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    let place = tempfile::Builder::new().prefix("claviger-powerloss-").tempdir().context("no directory to work in")?;
    let recorder = Recorder::compile(place.path())?;

    let bare = bare::cut(&recorder, &place.path().join("bare"), args.cuts, seed)?;
    bare.print(args.json)?;
    bare.must_have_failed()?;

    let started = Instant::now();
    let mut cuts = Cuts::record(&recorder, &place.path().join("sled"), Rng::with_seed(seed))?;
    let mut violations = Vec::new();
    while cuts.made() < args.cuts && violations.is_empty() {
        violations = cuts.next()?;
    }
    let summary =
        Summary { store: "sled", seed, seconds: started.elapsed().as_secs_f64(), ..cuts.summary(violations.len()) };
    summary.print(args.json)?;
    if violations.is_empty() { Ok(()) } else { keep(place, &summary, &violations) }
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

/// Keeps the directory, and says what is wrong with the last cut.
fn keep(place: TempDir, summary: &Summary, violations: &[String]) -> Result<()> {
    let kept = place.keep();
    for violation in violations.iter().take(20) {
        eprintln!("violation: {violation}");
    }
    bail!(
        "{} violations in cut {} of {} (seed {}); the recording and the cut are kept: {}",
        violations.len(),
        summary.cuts,
        summary.store,
        summary.seed,
        kept.display()
    )
}
