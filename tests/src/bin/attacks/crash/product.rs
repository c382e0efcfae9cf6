//! Rounds of the product's own binary: `claviger rekey` and `claviger key create` are killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use claviger::{Engine, KeyAlgorithm, NewKey, ObjectRef, OnboardMode, SvmId};
use fastrand::Rng;
use uuid::Uuid;

use super::round::{Moment, kill};
use crate::ledger::{Counts, Violations};
use crate::workload::{self, Store, Versions, digests};

const SVM: &str = "vs0";
/// So many keys there are at first, and so many at most before a new hierarchy is made.
const KEYS: std::ops::Range<usize> = 5_000..15_000;
/// `key create` makes so many at a time.
const NEW_KEYS: usize = 3_000;

/// A hierarchy that the binary works on, and what is known of it.
pub(super) struct Product {
    binary: PathBuf,
    place: PathBuf,
    store: Store,
    hierarchy: Option<Hierarchy>,
    made: u32,
    counts: Counts,
}

struct Hierarchy {
    dir: PathBuf,
    svm: SvmId,
    keys: BTreeMap<ObjectRef, Versions>,
    kek_version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Rekey,
    Create,
}

impl Product {
    pub(super) fn new(place: PathBuf, store: Store) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("claviger");
        if !binary.exists() {
            bail!("there is no {}: run `cargo build --release --package claviger-cli` first", binary.display());
        }
        std::fs::create_dir(&place)?;
        Ok(Self { binary, place, store, hierarchy: None, made: 0, counts: Counts::default() })
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// One round. Returns whether the binary was at work when it was killed, and what is wrong afterwards.
    pub(super) fn round(&mut self, rng: &mut Rng) -> Result<(bool, Violations)> {
        let mut hierarchy = match self.hierarchy.take() {
            Some(hierarchy) if hierarchy.keys.len() < KEYS.end => hierarchy,
            _ => {
                self.made += 1;
                Hierarchy::new(self.place.join(self.made.to_string()), self.store)?
            }
        };
        let work = if rng.u8(0..3) == 0 { Work::Create } else { Work::Rekey };
        let moment = Moment::FromStart(Duration::from_micros(rng.u64(0..250_000)));
        let mut command = Command::new(&self.binary);
        command.arg("--dir").arg(&hierarchy.dir).stderr(Stdio::null());
        match work {
            Work::Rekey => command.args(["rekey", "--svm", SVM]),
            Work::Create => command.args(["key", "create", "--svm", SVM, "--count", &NEW_KEYS.to_string()]),
        };
        let (killed, _) = kill(&mut command, moment)?;
        let wrong = hierarchy.check(work, killed, &mut self.counts)?;
        self.hierarchy = Some(hierarchy);
        Ok((killed, wrong))
    }
}

impl Hierarchy {
    fn new(dir: PathBuf, store: Store) -> Result<Self> {
        let engine = workload::create(&dir, store)?;
        engine.create_onboard(OnboardMode::Unattended, &workload::passphrase(&engine, 0)?)?;
        let svm = engine.create_svm(&SVM.parse()?)?.id();
        let new = |_| NewKey { object: ObjectRef::Volume(Uuid::new_v4()), algorithm: KeyAlgorithm::XtsAes256 };
        engine.create_keys(svm, &(0..KEYS.start).map(new).collect::<Vec<_>>())?;
        let keys = all_keys(&engine, svm)?;
        Ok(Self { dir, svm, keys, kek_version: 1 })
    }

    /// What was known is there unchanged, and what the binary has made is known from now on.
    fn check(&mut self, work: Work, killed: bool, counts: &mut Counts) -> Result<Violations> {
        let mut wrong = Vec::new();
        // Jobs are left to the binary.
        let engine = match Engine::open(&self.dir, workload::options(false)?) {
            Ok(engine) => engine,
            Err(error) => return Ok(vec![format!("the hierarchy does not open: {:#}", anyhow::Error::from(error))]),
        };
        let keys = all_keys(&engine, self.svm)?;
        counts.keys_checked += keys.len() as u64;
        for (object, before) in &self.keys {
            let now = keys.get(object);
            if now != Some(before) {
                wrong.push(format!("{object} was {before:?} and is {now:?}"));
            }
        }
        let new = keys.len().saturating_sub(self.keys.len());
        let asked = if work == Work::Create { NEW_KEYS } else { 0 };
        if new > asked || (new < asked && !killed) {
            wrong.push(format!("{work:?} made {new} keys and was to make {asked}; killed: {killed}"));
        }

        let kek = engine.kek(self.svm)?.context("an SVM with keys has a KEK")?;
        let version = kek.version.get();
        let newest = self.kek_version + u32::from(work == Work::Rekey);
        if !(self.kek_version..=newest).contains(&version) {
            wrong.push(format!("KEK version {version} is not {} to {newest}", self.kek_version));
        }
        if work == Work::Rekey && !killed && kek.retiring.is_some() {
            wrong.push(format!("the rekey has ended and KEK version {:?} is still there", kek.retiring));
        }
        let report = engine.verify(|_| ())?;
        wrong.extend(report.findings.iter().map(|finding| format!("verify found {finding:?}")));
        if !killed {
            counts.creates += new as u64;
            counts.rekeys += u64::from(work == Work::Rekey);
        }
        (self.keys, self.kek_version) = (keys, version);
        Ok(wrong)
    }
}

/// All keys of an SVM. One that does not open ends the campaign.
fn all_keys(engine: &Engine, svm: SvmId) -> Result<BTreeMap<ObjectRef, Versions>> {
    let (mut keys, mut failed) = (BTreeMap::new(), None);
    engine.open_all(svm, |object, opened| match opened {
        Ok(opened) => drop(keys.insert(object, digests(object, &opened))),
        Err(error) => failed = Some((object, error)),
    })?;
    match failed {
        None => Ok(keys),
        Some((object, error)) => Err(anyhow::Error::from(error).context(format!("{object} does not open"))),
    }
}
