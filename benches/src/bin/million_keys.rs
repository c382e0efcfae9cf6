//! Rekeys a million keys and checks that resident memory stays below a limit while it does.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser;
use claviger::{Engine, ObjectRef, OnboardMode, Options};
use claviger_benches::{create_all, resident};
use serde_json::json;
use uuid::Uuid;

/// Make keys, rekey their SVM, and fail if that takes more memory than it may.
#[derive(Parser)]
struct Cli {
    /// How many keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// Resident memory that the process may have during the rekey, in MB of 1,000,000 bytes
    #[arg(long, default_value_t = 400)]
    limit_mb: u64,
    /// Where the hierarchy is made, in a directory that is removed at the end [default: where temporary files are]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "a command")]
fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let dir = match &cli.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let engine = Engine::create(&dir.path().join("hierarchy"), &"cluster".parse()?, Options::default())?;
    engine.create_onboard(
        OnboardMode::Unattended,
        &engine.passphrase(b"the passphrase of a benchmark, 32 bytes and more")?,
    )?;
    let svm = engine.create_svm(&"svm".parse()?)?.id();

    let started = Instant::now();
    let volumes: Vec<_> = (0..cli.keys).map(|_| ObjectRef::Volume(Uuid::new_v4())).collect();
    create_all(&engine, svm, &volumes)?;
    drop(volumes);
    let created = started.elapsed().as_secs_f64();

    let before = resident("VmRSS")?;
    // Sets the peak back to what is resident now (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").context("the peak of resident memory could not be set back")?;
    let started = Instant::now();
    let rekeyed = engine.rekey_internal(svm)?.wait()?.progress.done;
    let took = started.elapsed().as_secs_f64();
    let peak = resident("VmHWM")?;
    anyhow::ensure!(rekeyed == u64::try_from(cli.keys)?, "{rekeyed} of {} keys were rekeyed", cli.keys);

    let is_below = peak <= cli.limit_mb * 1_000_000;
    if cli.json {
        let result = json!({
            "keys": cli.keys,
            "create_seconds": created,
            "rekey_seconds": took,
            "resident_bytes_before": before,
            "resident_bytes_peak": peak,
            "limit_bytes": cli.limit_mb * 1_000_000,
            "below_limit": is_below,
        });
        println!("{result}");
    } else {
        let verdict = if is_below { "below" } else { "ABOVE" };
        println!("{} keys made in {created:.1} s and rekeyed in {took:.1} s", cli.keys);
        println!(
            "resident memory: {} MB before the rekey, {} MB at its peak, {verdict} the limit of {} MB",
            before / 1_000_000,
            peak / 1_000_000,
            cli.limit_mb
        );
    }
    Ok(if is_below { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
