//! The cuts of a hierarchy: where, what is left, and whether it is as it has to be.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use claviger::Engine;
use fastrand::Rng;

use super::Summary;
use super::disk::{self, Loss};
use super::journal::Record;
use super::recorder::{Recorder, Recording};
use crate::ledger::{Ledger, Look, Violations};
use crate::workload::{self, Said, Store};

const BALLAST: u32 = 100;
/// Calls of each thread of keys in each recorded process.
const CALLS: u32 = 40;
/// The losses, in turn: the worst one more often.
const LOSSES: [Loss; 8] =
    [Loss::All, Loss::Some, Loss::Data, Loss::Some, Loss::All, Loss::Names, Loss::Some, Loss::None];
/// The hierarchy's directory, within the one that is watched: its own name can be lost too.
const HIERARCHY: &str = "hierarchy";

/// The recording of one hierarchy's life, and the cuts that were made in it.
pub(super) struct Cuts<'a> {
    recorder: &'a Recorder,
    place: PathBuf,
    store: Store,
    recording: Recording,
    /// Positions right behind an acknowledgement.
    acknowledgements: Vec<usize>,
    rng: Rng,
    summary: Summary,
}

impl<'a> Cuts<'a> {
    /// Records three processes that follow one another: the first makes the hierarchy and dies, the second comes after it
    /// and dies, the third closes it.
    pub(super) fn record(recorder: &'a Recorder, place: &Path, store: Store, mut rng: Rng) -> Result<Self> {
        let watched = place.join("watched");
        std::fs::create_dir_all(&watched)?;
        let run = |(change_passphrase, die)| work(&watched, store, &mut rng, 0, CALLS, change_passphrase, die);
        let runs = [(false, true), (false, true), (true, false)].map(run);
        let recording = recorder.record(&watched, &place.join("journal"), &runs)?;
        let is_done = |record: &Record| matches!(record, Record::Said { line } if line.starts_with(br#"{"done""#));
        let positions = recording.records.iter().enumerate().filter(|(_, record)| is_done(record));
        let acknowledgements = positions.map(|(at, _)| at + 1).collect();
        let summary = Summary { store: store.name(), operations: recording.records.len(), ..Summary::default() };
        Ok(Self { recorder, place: place.to_owned(), store, recording, acknowledgements, rng, summary })
    }

    pub(super) const fn made(&self) -> u32 {
        self.summary.cuts
    }

    pub(super) fn summary(self) -> Summary {
        self.summary
    }

    /// Makes one more cut, and tells what is wrong after it. Every third is followed by another one, in what comes after it.
    pub(super) fn next(&mut self) -> Result<Violations> {
        let number = self.summary.cuts;
        self.summary.cuts += 1;
        let image = self.place.join(format!("cut-{number}"));
        let (at, loss) = self.choose(number)?;
        let mut ledger = Ledger::default();
        ledger.note_all(&Said::parse(&self.recording.said(at))?);
        self.summary.acknowledged += ledger.counts.acknowledged();
        self.summary.bytes_dropped += leave(&self.recording, at, loss, &mut self.rng, &image)?;
        // As the cut has left it, for whoever looks for the cause: opening changes it.
        let untouched = image.with_extension("untouched");
        copy(&image, &untouched)?;

        let is_double = number % 3 == 2;
        let mut wrong = check(&mut ledger, &image, self.store, !is_double)?;
        if wrong.is_empty() && is_double {
            wrong = self.cut_again(&mut ledger, &untouched)?;
        }
        self.summary.keys_checked += ledger.counts.keys_checked;
        if wrong.is_empty() {
            std::fs::remove_dir_all(&image)?;
            std::fs::remove_dir_all(&untouched)?;
        }
        let place = |wrong| format!("{}: at {at}, loss {loss:?}: {wrong}", untouched.display());
        Ok(wrong.into_iter().map(place).collect())
    }

    fn choose(&mut self, number: u32) -> Result<(usize, Loss)> {
        let first = *self.acknowledgements.first().context("nothing was acknowledged")?;
        let at = match number % 4 {
            // Right behind an acknowledgement is the worst moment.
            0 | 2 => *self.rng.choice(&self.acknowledgements).context("nothing was acknowledged")?,
            1 => self.rng.usize(0..=self.recording.records.len()),
            // While the hierarchy is made.
            _ => self.rng.usize(0..=first),
        };
        let loss = LOSSES.iter().cycle().nth(usize::try_from(number)?).context("there are losses")?;
        Ok((at, *loss))
    }

    /// Records a process on what a cut has left, from its recovery on, and cuts its power too.
    fn cut_again(&mut self, ledger: &mut Ledger, image: &Path) -> Result<Violations> {
        let watched = image.with_extension("again");
        copy(image, &watched)?;
        let run = work(&watched, self.store, &mut self.rng, ledger.passphrase(), CALLS / 8, false, true);
        let recording = self.recorder.record(&watched, &image.with_extension("journal"), &[run])?;
        let end = recording.records.len();
        let recovered = recording.records.iter().position(|record| matches!(record, Record::Said { .. }));
        let latest = if self.rng.bool() { recovered.unwrap_or(end) } else { end };
        let at = self.rng.usize(0..=latest);
        let loss = self.rng.choice(LOSSES).context("there are losses")?;

        let second = image.with_extension("second");
        let before = ledger.counts.acknowledged();
        ledger.note_all(&Said::parse(&recording.said(at))?);
        self.summary.operations += end;
        self.summary.acknowledged += ledger.counts.acknowledged() - before;
        self.summary.bytes_dropped += leave(&recording, at, loss, &mut self.rng, &second)?;
        let untouched = image.with_extension("second-untouched");
        copy(&second, &untouched)?;
        let wrong = check(ledger, &second, self.store, true)?;
        if wrong.is_empty() {
            for place in [watched, second, untouched] {
                std::fs::remove_dir_all(place)?;
            }
            std::fs::remove_file(image.with_extension("journal"))?;
        }
        Ok(wrong.into_iter().map(|wrong| format!("and again at {at} of {end}, loss {loss:?}: {wrong}")).collect())
    }
}

/// The words that have a process work on the hierarchy below the watched directory.
fn work(
    watched: &Path,
    store: Store,
    rng: &mut Rng,
    passphrase: u32,
    calls: u32,
    change_passphrase: bool,
    die: bool,
) -> Vec<String> {
    let (dir, seed, calls) = (watched.join(HIERARCHY), rng.u64(..), Some(calls));
    workload::Args { dir, store, seed, ballast: BALLAST, passphrase, change_passphrase, calls, die }.words()
}

/// Makes what a cut leaves, and returns how many written bytes are not in it.
fn leave(recording: &Recording, at: usize, loss: Loss, rng: &mut Rng, image: &Path) -> Result<u64> {
    let (content, dropped) = recording.disk(at)?.after(loss, rng);
    disk::write(&content, image)?;
    Ok(dropped)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    disk::write(&disk::Disk::read(from)?.live(), to)
}

/// Opens what a cut has left and looks for all that was acknowledged. A creation that was cut short can be repeated.
fn check(ledger: &mut Ledger, image: &Path, store: Store, resume: bool) -> Result<Violations> {
    let dir = image.join(HIERARCHY);
    match Engine::open(&dir, workload::options(resume)?) {
        Ok(engine) => ledger.check(&engine, Look { resumed: resume, passphrase: true }),
        Err(error) if workload::is_no_hierarchy(&error) && ledger.may_be_missing() => {
            match workload::create(&dir, store) {
                Ok(_) => Ok(Vec::new()),
                Err(error) => Ok(vec![format!("the creation cannot be repeated: {error:#}")]),
            }
        }
        Err(error) => Ok(vec![format!("the hierarchy does not open: {:#}", anyhow::Error::from(error))]),
    }
}
