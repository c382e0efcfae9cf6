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
/// The losses, in turn: the worst one more often.
const LOSSES: [Loss; 8] =
    [Loss::All, Loss::Some, Loss::Data, Loss::Some, Loss::All, Loss::Names, Loss::Some, Loss::None];

/// The recording of one hierarchy's life, and the cuts that were made in it.
pub(super) struct Cuts {
    place: PathBuf,
    store: Store,
    recording: Recording,
    /// Positions right behind an acknowledgement.
    acknowledgements: Vec<usize>,
    rng: Rng,
    summary: Summary,
}

impl Cuts {
    /// Records three processes that follow one another: the first makes the hierarchy and dies, the second comes after it
    /// and dies, the third closes it.
    pub(super) fn record(recorder: &Recorder, place: &Path, store: Store, mut rng: Rng) -> Result<Self> {
        let watched = place.join("watched");
        std::fs::create_dir_all(&watched)?;
        let mut run = |change_passphrase, die| {
            let args = workload::Args {
                dir: watched.join("hierarchy"),
                store,
                seed: rng.u64(..),
                ballast: BALLAST,
                passphrase: 0,
                change_passphrase,
                calls: Some(40),
                die,
            };
            args.words()
        };
        let runs = [run(false, true), run(false, true), run(true, false)];
        let recording = recorder.record(&watched, &place.join("journal"), &runs)?;
        let is_done = |record: &Record| matches!(record, Record::Said { line } if line.starts_with(br#"{"done""#));
        let positions = recording.records.iter().enumerate().filter(|(_, record)| is_done(record));
        let acknowledgements = positions.map(|(at, _)| at + 1).collect();
        let summary = Summary { store: store.name(), operations: recording.records.len(), ..Summary::default() };
        Ok(Self { place: place.to_owned(), store, recording, acknowledgements, rng, summary })
    }

    pub(super) const fn made(&self) -> u32 {
        self.summary.cuts
    }

    pub(super) fn summary(self) -> Summary {
        self.summary
    }

    /// Makes one more cut, and tells what is wrong after it.
    pub(super) fn next(&mut self) -> Result<Violations> {
        let number = self.summary.cuts;
        let first = *self.acknowledgements.first().context("nothing was acknowledged")?;
        let at = match number % 4 {
            // Right behind an acknowledgement is the worst moment.
            0 | 2 => *self.rng.choice(&self.acknowledgements).context("nothing was acknowledged")?,
            1 => self.rng.usize(0..=self.recording.records.len()),
            // While the hierarchy is made.
            _ => self.rng.usize(0..=first),
        };
        let loss = usize::try_from(number).ok().and_then(|number| LOSSES.get(number % LOSSES.len()));
        let loss = *loss.context("there are losses")?;
        let image = self.place.join(format!("cut-{number}"));
        let (content, dropped) = self.recording.disk(at)?.after(loss, &mut self.rng);
        disk::write(&content, &image)?;

        let mut ledger = Ledger::default();
        for event in &Said::parse(&self.recording.said(at))?.0 {
            ledger.note(event);
        }
        let acknowledged = ledger.counts.acknowledged();
        let wrong = check(&mut ledger, &image.join("hierarchy"), self.store)?;
        self.summary.cuts += 1;
        self.summary.bytes_dropped += dropped;
        self.summary.acknowledged += acknowledged;
        self.summary.keys_checked += ledger.counts.keys_checked;
        if wrong.is_empty() {
            std::fs::remove_dir_all(&image)?;
        } else {
            // The check has changed what the cut had left.
            disk::write(&content, &image.with_extension("untouched"))?;
        }
        let place = |wrong| format!("at {at} of {}, loss {loss:?}: {wrong}", self.recording.records.len());
        Ok(wrong.into_iter().map(place).collect())
    }
}

/// Opens what the cut has left, resumes jobs, and looks for all that was acknowledged. A creation that was cut short can
/// be repeated.
fn check(ledger: &mut Ledger, dir: &Path, store: Store) -> Result<Violations> {
    match Engine::open(dir, workload::options(true)?) {
        Ok(engine) => ledger.check(&engine, Look { resumed: true, passphrase: true }),
        Err(error) if workload::is_no_hierarchy(&error) && ledger.may_be_missing() => {
            match workload::create(dir, store) {
                Ok(_) => Ok(Vec::new()),
                Err(error) => Ok(vec![format!("the creation cannot be repeated: {error:#}")]),
            }
        }
        Err(error) => Ok(vec![format!("the hierarchy does not open: {:#}", anyhow::Error::from(error))]),
    }
}
