//! `claviger quickstart`: the whole story, each step checked and timed.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use claviger::{Engine, KeyAlgorithm, OnboardMode, Options, StoreKind, SvmInfo, SvmName};
use serde::Serialize;

use super::key::create_volumes;
use super::rekey::rekey;
use super::show::Hierarchy;
use super::verify::{exit_of_report, verify};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::passphrase;
use crate::screen::Screen;
use crate::secret::Source;
use crate::session::{Directory, Session, name_of};

const ADMIN: &str = "cluster";
const SVMS: [&str; 2] = ["vs0", "vs1"];

/// What came of it.
#[derive(Serialize)]
struct Story {
    /// Keys made.
    keys: u64,
    /// Keys that opened before the rekey.
    opened: u64,
    /// Keys re-wrapped under the new KEKs.
    rekeyed: u64,
    /// Keys that opened after all, in a hierarchy opened anew.
    verified: u64,
    protection: &'static str,
    svms: Vec<Svm>,
    times_ms: Times,
    /// Where the hierarchy is, if it was kept.
    dir: Option<String>,
    #[serde(skip)]
    hierarchy: Hierarchy,
}

#[derive(Serialize)]
struct Svm {
    name: String,
    kek_version: Option<u32>,
    keys: u64,
}

/// How long each step took, in milliseconds, in the order of the steps.
#[derive(Default)]
struct Times(Vec<(&'static str, u64)>);

impl Times {
    /// Runs a step of this name.
    fn step<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let begun = Instant::now();
        let done = step()?;
        self.0.push((name, u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)));
        Ok(done)
    }
}

impl Serialize for Times {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.hierarchy)?;
        for (step, millis) in &self.times_ms.0 {
            writeln!(f, "{step:10} {millis:>7} ms")?;
        }
        let Self { keys, opened, rekeyed, verified, .. } = self;
        write!(f, "\n{keys} keys made, {opened} opened, {rekeyed} rekeyed, {verified} verified")?;
        match &self.dir {
            Some(dir) => write!(f, "\nThe hierarchy is in {dir}; see `claviger show --dir {dir}`."),
            None => Ok(()),
        }
    }
}

/// What of the command stays in this process.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) screen: &'a Screen,
    pub(crate) directory: &'a Directory,
    pub(crate) passphrase: &'a Source,
}

pub(crate) fn run(session: &Session<'_>, here: Here<'_>, keys: u64, store: StoreKind) -> Result<Exit, Failure> {
    match here.directory.path_if_named() {
        Some(dir) => story(session, here, dir, keys, store),
        None => {
            let scratch = tempfile::tempdir().map_err(Failure::Scratch)?;
            story(session, here, &scratch.path().join("hierarchy"), keys, store)
        }
    }
}

fn story(session: &Session<'_>, here: Here<'_>, dir: &Path, wanted: u64, store: StoreKind) -> Result<Exit, Failure> {
    let mut times = Times::default();
    let kept = here.directory.path_if_named().is_some();
    let options = || here.directory.options();
    let admin = name(ADMIN)?;
    let engine = times.step("init", || Ok(Engine::create(dir, &admin, Options { store, ..options() })?))?;
    times.step("keystore", || create_keystore(here, &engine, kept))?;
    let svms = times.step("svms", || create_svms(&engine))?;
    let keys = times.step("create", || create_keys(session, &engine, &svms, wanted))?;
    let opened = times.step("open", || open_all(&engine, &svms))?;
    let rekeyed = times.step("rekey", || rekey_all(session, &engine, &svms))?;
    let engine = times.step("reopen", || {
        drop(engine);
        Ok(Engine::open(dir, options())?)
    })?;
    let report = times.step("verify", || verify(session, &engine))?;
    for finding in &report.findings {
        session.output.note(&finding.to_string());
    }

    let story = Story {
        keys,
        opened,
        rekeyed,
        verified: report.opened,
        protection: engine.protection().as_str(),
        svms: svms.iter().map(|svm| Svm::of(&engine, svm)).collect::<Result<_, _>>()?,
        times_ms: times,
        dir: kept.then(|| dir.display().to_string()),
        hierarchy: Hierarchy::of(&engine, store)?,
    };
    session.output.result(&story)?;
    match exit_of_report(&report) {
        Exit::Done if [keys, opened, rekeyed, report.opened] != [wanted; 4] => Ok(Exit::Failed),
        exit => Ok(exit),
    }
}

fn name(name: &str) -> Result<SvmName, Failure> {
    name.parse().map_err(|_| Failure::Usage { message: format!("{name} is no name of an SVM") })
}

/// Where the hierarchy is kept and no passphrase was given, whoever keeps it is told the one that was made: backups need it.
fn create_keystore(here: Here<'_>, engine: &Engine, kept: bool) -> Result<(), Failure> {
    let arena = &here.directory.arena;
    if let Some(passphrase) = here.passphrase.given_passphrase(arena)? {
        engine.create_onboard(OnboardMode::Unattended, &passphrase)?;
        return Ok(());
    }
    let made = passphrase::generate(arena)?;
    engine.create_onboard(OnboardMode::Unattended, &engine.passphrase(made.expose())?)?;
    match kept {
        true => here.screen.show_once("onboard passphrase (shown once; keep it, backups need it)", &made),
        false => Ok(()),
    }
}

fn create_svms(engine: &Engine) -> Result<Vec<SvmInfo>, Failure> {
    SVMS.iter().map(|svm| Ok(engine.create_svm(&name(svm)?)?)).collect()
}

/// Divides the keys among the SVMs.
fn create_keys(session: &Session<'_>, engine: &Engine, svms: &[SvmInfo], wanted: u64) -> Result<u64, Failure> {
    let mut created = 0;
    let mut left = wanted;
    for (svm, sharing) in svms.iter().zip((1..=svms.len() as u64).rev()) {
        let share = left.div_ceil(sharing);
        created += create_volumes(session, engine, svm, share, KeyAlgorithm::XtsAes256)?;
        left -= share;
    }
    Ok(created)
}

/// Opens all keys; one that does not open ends the story.
fn open_all(engine: &Engine, svms: &[SvmInfo]) -> Result<u64, Failure> {
    let mut opened = 0;
    let mut unopened = None;
    for svm in svms {
        engine.open_all(svm.id(), |_, key| match key {
            Ok(_) => opened += 1,
            Err(error) => unopened = Some(error),
        })?;
    }
    match unopened {
        None => Ok(opened),
        Some(error) => Err(error.into()),
    }
}

fn rekey_all(session: &Session<'_>, engine: &Engine, svms: &[SvmInfo]) -> Result<u64, Failure> {
    let mut rekeyed = 0;
    for svm in svms {
        // With a single key, the second SVM has none.
        if engine.kek(svm.id())?.is_some() {
            rekeyed += rekey(session, engine, svm)?.keys;
        }
    }
    Ok(rekeyed)
}

impl Svm {
    fn of(engine: &Engine, svm: &SvmInfo) -> Result<Self, Failure> {
        Ok(Self {
            name: name_of(svm),
            kek_version: engine.kek(svm.id())?.map(|kek| kek.version.get()),
            keys: engine.count_keys(svm.id())?.values().sum(),
        })
    }
}
