//! sled as it is shipped: what is acknowledged after its own `flush`, and nothing else. It has to lose.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use serde::Serialize;

use super::disk::{self, Loss};
use super::journal::Record;
use super::recorder::{Recorder, Recording};

const RECORDS: u32 = 100;

/// Writes to a bare sled, and says what is flushed; for `powerloss`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let db = open(&args.dir)?;
    for number in 0..RECORDS {
        db.insert(number.to_be_bytes(), value(number))?;
        db.flush()?;
        let mut out = std::io::stdout().lock();
        out.write_all(format!("{number}\n").as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

fn value(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(39)
}

fn open(dir: &Path) -> sled::Result<sled::Db> {
    sled::Config::new().path(dir).flush_every_ms(None).open()
}

/// What the cuts of bare sled come to.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    store: &'static str,
    seed: u64,
    cuts: u32,
    operations: usize,
    bytes_dropped: u64,
    acknowledged: u64,
    /// Cuts that lost acknowledged records.
    lost: u32,
    /// Cuts after which it did not open.
    refused: u32,
    seconds: f64,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Whole,
    Lost,
    Refused,
}

/// Records a small load on a bare sled and cuts its power, always with the loss of all that was not synced.
pub(super) fn cut(recorder: &Recorder, place: &Path, cuts: u32, seed: u64) -> Result<Summary> {
    let started = Instant::now();
    let dir = place.join("watched");
    std::fs::create_dir_all(&dir)?;
    // Made before the recording, and so durable with its names: nothing but the missing syncs can lose anything.
    drop(open(&dir.join("sled"))?);
    let words = vec!["bare-sled".to_owned(), format!("--dir={}", dir.join("sled").display())];
    let recording = recorder.record(&dir, &place.join("journal"), &[words])?;
    let mut rng = Rng::with_seed(seed);
    let operations = recording.records.len();
    let mut summary = Summary {
        store: "bare sled",
        seed,
        cuts,
        operations,
        bytes_dropped: 0,
        acknowledged: 0,
        lost: 0,
        refused: 0,
        seconds: 0.0,
    };
    let acknowledgements: Vec<_> =
        (0..operations).filter(|at| matches!(recording.records.get(*at), Some(Record::Said { .. }))).collect();
    for number in 0..cuts {
        let at = rng.choice(&acknowledgements).context("bare sled acknowledged nothing")? + 1;
        let (verdict, acknowledged, dropped) = one(&recording, at, &place.join(number.to_string()), &mut rng)?;
        summary.acknowledged += acknowledged;
        summary.bytes_dropped += dropped;
        summary.lost += u32::from(verdict == Verdict::Lost);
        summary.refused += u32::from(verdict == Verdict::Refused);
    }
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

fn one(recording: &Recording, at: usize, image: &Path, rng: &mut Rng) -> Result<(Verdict, u64, u64)> {
    let said = String::from_utf8(recording.said(at))?;
    let acknowledged: Vec<u32> = said.lines().map(str::parse).collect::<Result<_, _>>()?;
    let (content, dropped) = recording.disk(at)?.after(Loss::All, rng);
    disk::write(&content, image)?;
    // It panics where it meets what it did not expect, and says so by itself.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let found = catch_unwind(AssertUnwindSafe(|| records(&image.join("sled"))));
    std::panic::set_hook(hook);
    let verdict = match found {
        Ok(Ok(found)) if acknowledged.iter().all(|number| found.get(number) == Some(&value(*number))) => Verdict::Whole,
        Ok(Ok(_)) => Verdict::Lost,
        Ok(Err(_)) | Err(_) => Verdict::Refused,
    };
    std::fs::remove_dir_all(image)?;
    Ok((verdict, acknowledged.len() as u64, dropped))
}

fn records(dir: &Path) -> Result<BTreeMap<u32, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for record in open(dir)?.iter() {
        let (key, value) = record?;
        found.insert(u32::from_be_bytes(key.as_ref().try_into()?), value.to_vec());
    }
    Ok(found)
}

impl Summary {
    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let Self { store, seed, cuts, operations, bytes_dropped, acknowledged, lost, refused, seconds } = self;
        println!(
            "powerloss: {store}: {cuts} cuts in {operations} recorded operations, {bytes_dropped} bytes dropped; of \
             {acknowledged} acknowledgements some were lost in {lost} cuts, and {refused} did not open (as it must be); \
             seed {seed}, {seconds:.1} s"
        );
        Ok(())
    }

    /// A simulation in which sled alone loses nothing could not find a loss of ours.
    pub(super) fn must_have_failed(&self) -> Result<()> {
        let failed = self.lost + self.refused;
        if failed * 10 < self.cuts * 9 {
            bail!(
                "bare sled survived {} of {} cuts, and it syncs nothing: the simulation finds no losses",
                self.cuts - failed,
                self.cuts
            );
        }
        Ok(())
    }
}
