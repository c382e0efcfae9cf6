//! The process under attack: an engine, driven step by step over standard input.
//!
//! It holds keys as an embedder should, and never copies one. It reads passphrases as the `claviger` command does: from a file
//! into key memory.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use claviger::{
    Arena, ArenaOptions, Engine, KeyAlgorithm, KeyError, KeyMemory, KeystoreError, NewKey, ObjectRef, OnboardMode,
    OpenKey, Options, Passphrase, Protection, StoreKind, StoreOptions, SvmId,
};
use claviger_store::open_store_copy;
use uuid::Uuid;

use super::{plant, primitives};

/// What the victim is told to do, in this order; the attacker looks at it after each.
pub(super) const STEPS: [Step; 12] = [
    Step::Create,
    Step::Open,
    Step::BeginRotations,
    Step::FinishRotations,
    Step::Delete,
    Step::Work,
    Step::Errors,
    Step::ChangePassphrase,
    Step::Backup,
    Step::CommonCriteria,
    Step::DropAll,
    Step::Primitives,
];

macro_rules! steps {
    ($($(#[doc = $doc:literal])* $step:ident $name:literal)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Step { $($(#[doc = $doc])* $step),+ }

        impl Step {
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$step => $name),+ }
            }

            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$step),)+ _ => None }
            }
        }
    };
}

steps! {
    /// A hierarchy that opens unattended; keys made one by one and many at once.
    Create "create"
    /// All keys opened; some of them held.
    Open "open"
    /// Two versions of some keys.
    BeginRotations "begin-rotations"
    FinishRotations "finish-rotations"
    Delete "delete"
    /// Keys opened and made while every SVM is rekeyed, each in a thread, until it is told that it is enough.
    Work "work"
    /// Wrong passphrases, missing keys, damaged records.
    Errors "errors"
    ChangePassphrase "change-passphrase"
    /// A backup, and the recovery from it with the keys of a copy.
    Backup "backup"
    /// A second hierarchy, in Common Criteria mode: locked, opened with the passphrase, put under another.
    CommonCriteria "common-criteria"
    /// Each use of a key alone.
    Primitives "primitives"
    /// Everything is given up.
    DropAll "drop-all"
    /// For the test of the search itself: copies where none may be.
    Plant "plant"
}

/// Where things are, for both sides.
#[derive(Clone, Debug)]
pub(super) struct Layout(PathBuf);

impl Layout {
    pub(super) fn new(base: &Path) -> Self {
        Self(base.to_owned())
    }

    /// The hierarchy that opens unattended.
    pub(super) fn unattended(&self) -> PathBuf {
        self.0.join("unattended")
    }

    fn common_criteria(&self) -> PathBuf {
        self.0.join("common-criteria")
    }

    pub(super) fn restored(&self) -> PathBuf {
        self.0.join("restored")
    }

    /// What the `quickstart` command makes.
    fn quickstart(&self) -> PathBuf {
        self.0.join("quickstart")
    }

    /// All of them, whether they are there yet or not.
    pub(super) fn hierarchies(&self) -> [PathBuf; 4] {
        [self.unattended(), self.common_criteria(), self.restored(), self.quickstart()]
    }

    /// A copy of the unattended hierarchy with damaged key records.
    pub(super) fn damaged(&self) -> PathBuf {
        self.0.join("damaged")
    }

    /// The attacker's copy of the unattended hierarchy, made after the last step.
    pub(super) fn copy(&self) -> PathBuf {
        self.0.join("copy")
    }

    /// The file of a passphrase: `first`, `second`, `long`, `longer` or `wrong`.
    pub(super) fn passphrase(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

const SVMS: [&str; 4] = ["vs0", "vs1", "vs2", "vs3"];
/// Keys of each SVM that are made one by one.
const KEYS: u128 = 24;
/// Keys of each SVM that are made at once.
const MANY: u128 = 400;

/// What the victim has.
struct Victim {
    layout: Layout,
    store: StoreKind,
    arena: Arena,
    engine: Option<Engine>,
    other_engines: Vec<Engine>,
    held: Vec<OpenKey>,
}

/// Says what memory it has, then does each step that a line of standard input names, and says so.
pub(super) fn run(base: &Path, store: StoreKind, accept: Protection) -> Result<()> {
    let arena = Arena::new(&ArenaOptions { keys: 20_000, states: 300, accept })?;
    let mut victim =
        Victim { layout: Layout::new(base), store, arena, engine: None, other_engines: Vec::new(), held: Vec::new() };
    say(victim.arena.protection().as_str())?;
    let mut line = String::new();
    while io::stdin().lock().read_line(&mut line)? > 0 {
        let step = Step::named(line.trim()).with_context(|| format!("no step {line}"))?;
        victim.step(step)?;
        say("done")?;
        line.clear();
    }
    Ok(())
}

fn say(what: &str) -> Result<()> {
    println!("{what}");
    Ok(io::stdout().flush()?)
}

impl Victim {
    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Create => self.create(),
            Step::Open => self.open(),
            Step::BeginRotations => self.begin_rotations(),
            Step::FinishRotations => self.finish_rotations(),
            Step::Delete => self.delete(),
            Step::Work => self.work(),
            Step::Errors => self.errors(),
            Step::ChangePassphrase => {
                Ok(self.engine()?.change_passphrase(&self.read("first")?, &self.read("second")?)?)
            }
            Step::Backup => self.backup(),
            Step::CommonCriteria => self.common_criteria(),
            Step::Primitives => primitives::run(&self.layout.0, &self.arena),
            Step::DropAll => {
                self.held.clear();
                self.other_engines.clear();
                self.engine = None;
                Ok(())
            }
            Step::Plant => {
                self.create()?;
                plant::plant(self.engine()?, svm(self.engine()?, "vs0")?)
            }
        }
    }

    fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().context("the first step is to create")
    }

    fn options(&self) -> Options {
        Options {
            memory: KeyMemory::Shared(self.arena.clone()),
            store: self.store,
            store_options: StoreOptions { cache_bytes: 8 << 20, reserve_bytes: 0 },
            ..Options::default()
        }
    }

    fn read(&self, name: &str) -> Result<Passphrase> {
        let mut file = File::open(self.layout.passphrase(name))?;
        let mut bytes = self.arena.bytes(usize::try_from(file.metadata()?.len())?)?;
        file.read_exact(bytes.expose_mut())?;
        Ok(Passphrase::new(bytes)?)
    }

    fn create(&mut self) -> Result<()> {
        let engine = Engine::create(&self.layout.unattended(), &"cluster1".parse()?, self.options())?;
        engine.create_onboard(OnboardMode::Unattended, &self.read("first")?)?;
        for name in SVMS {
            let svm = engine.create_svm(&name.parse()?)?.id();
            for number in 1..=KEYS {
                let (object, algorithm) = nth(number);
                let key = engine.create_key(svm, object, algorithm)?;
                if number <= 2 {
                    self.held.push(OpenKey::Current(key));
                }
            }
            let many: Vec<_> = (KEYS + 1..=KEYS + MANY)
                .map(|number| NewKey { object: nth(number).0, algorithm: nth(number).1 })
                .collect();
            engine.create_keys(svm, &many)?;
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let engine = self.engine()?;
        let mut held = Vec::new();
        for name in SVMS {
            let svm = svm(engine, name)?;
            let mut failed = None;
            engine.open_all(svm, |_, key| drop(key.map_err(|error| failed = Some(error))))?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            for number in 3..=6 {
                held.push(engine.open_key(svm, nth(number).0)?);
            }
        }
        self.held.extend(held);
        Ok(())
    }

    fn begin_rotations(&mut self) -> Result<()> {
        let engine = self.engine()?;
        let svm = svm(engine, "vs0")?;
        let rotating =
            (3..=5).map(|number| engine.begin_rotation(svm, nth(number).0)).collect::<Result<Vec<_>, _>>()?;
        self.held.extend(rotating);
        Ok(())
    }

    fn finish_rotations(&mut self) -> Result<()> {
        let engine = self.engine()?;
        let svm = svm(engine, "vs0")?;
        (3..=5).try_for_each(|number| engine.finish_rotation(svm, nth(number).0).map(drop))?;
        Ok(())
    }

    fn delete(&mut self) -> Result<()> {
        let engine = self.engine()?;
        let svm = svm(engine, "vs1")?;
        (7..=10).try_for_each(|number| engine.delete_key(svm, nth(number).0))?;
        Ok(())
    }

    fn work(&mut self) -> Result<()> {
        let engine = self.engine()?;
        let svms = SVMS.iter().map(|name| svm(engine, name)).collect::<Result<Vec<_>>>()?;
        let is_enough = AtomicBool::new(false);
        thread::scope(|scope| -> Result<()> {
            let open = scope.spawn(|| -> Result<(), KeyError> {
                while !is_enough.load(Ordering::Relaxed) {
                    for svm in &svms {
                        (11..=KEYS).try_for_each(|number| engine.open_key(*svm, nth(number).0).map(drop))?;
                    }
                }
                Ok(())
            });
            let create = scope.spawn(|| -> Result<(), KeyError> {
                for number in 10_000..10_200 {
                    let (object, algorithm) = nth(number);
                    engine.create_key(*svms.first().unwrap_or(&SvmId::from(Uuid::nil())), object, algorithm)?;
                }
                Ok(())
            });
            let jobs = svms.iter().map(|svm| engine.rekey_internal(*svm)).collect::<Result<Vec<_>, _>>()?;
            jobs.iter().try_for_each(|job| job.wait().map(drop))?;
            // The attacker says when it has seen enough.
            io::stdin().lock().read_line(&mut String::new())?;
            is_enough.store(true, Ordering::Relaxed);
            create.join().ok().context("a thread panicked")??;
            open.join().ok().context("a thread panicked")??;
            Ok(())
        })
    }

    fn errors(&mut self) -> Result<()> {
        let engine = self.engine()?;
        let vs0 = svm(engine, "vs0")?;
        let wrong = self.read("wrong")?;
        ensure!(matches!(engine.unlock(&wrong), Err(KeystoreError::WrongPassphrase)));
        ensure!(matches!(engine.change_passphrase(&wrong, &wrong), Err(KeystoreError::WrongPassphrase)));
        let first = self.read("first")?;
        ensure!(matches!(engine.change_passphrase(&first, &first), Err(KeystoreError::SamePassphrase)));
        ensure!(engine.open_key(vs0, ObjectRef::Volume(Uuid::nil())).is_err());
        ensure!(engine.create_key(vs0, nth(1).0, nth(1).1).is_err());

        let damaged = Engine::open(&self.layout.damaged(), self.options())?;
        let mut failures = 0;
        for name in SVMS {
            damaged.open_all(svm(&damaged, name)?, |_, key| failures += u32::from(key.is_err()))?;
        }
        ensure!(failures > 0 && !damaged.verify(|_| ())?.findings.is_empty(), "no damage was found");
        ensure!(damaged.rekey_internal(vs0)?.wait().is_err(), "a rekey went over damage");
        Ok(())
    }

    fn backup(&mut self) -> Result<()> {
        let backup = self.engine()?.backup()?;
        let second = self.read("second")?;
        let restored = Engine::restore(&self.layout.restored(), &backup, &second, self.options())?;
        let source = open_store_copy(&self.layout.copy().join("store"), &StoreOptions::default())?;
        let import = restored.import_keys(&*source, |_| ())?;
        ensure!(import.imported > 0 && import.findings.is_empty(), "{import:?}");
        self.other_engines.push(restored);
        Ok(())
    }

    fn common_criteria(&mut self) -> Result<()> {
        let dir = self.layout.common_criteria();
        let engine = Engine::create(&dir, &"cluster2".parse()?, self.options())?;
        engine.create_onboard(OnboardMode::CommonCriteria, &self.read("long")?)?;
        let vs0 = engine.create_svm(&"vs0".parse()?)?.id();
        (1..=KEYS).try_for_each(|number| engine.create_key(vs0, nth(number).0, nth(number).1).map(drop))?;
        drop(engine);
        let engine = Engine::open(&dir, self.options())?;
        if !matches!(engine.open_key(vs0, nth(1).0), Err(KeyError::Locked { .. })) {
            bail!("Common Criteria mode opened a key without the passphrase");
        }
        engine.unlock(&self.read("long")?)?;
        self.held.push(engine.open_key(vs0, nth(1).0)?);
        engine.change_passphrase(&self.read("long")?, &self.read("longer")?)?;
        ensure!(matches!(engine.unlock(&self.read("wrong")?), Err(KeystoreError::WrongPassphrase)));
        self.other_engines.push(engine);
        Ok(())
    }
}

fn svm(engine: &Engine, name: &str) -> Result<SvmId> {
    Ok(engine.svm_named(name)?.id())
}

/// Some object and the cipher of its key: of all kinds.
fn nth(number: u128) -> (ObjectRef, KeyAlgorithm) {
    let uuid = Uuid::from_u128(number);
    match number % 4 {
        0 => (ObjectRef::Drive(uuid), KeyAlgorithm::Aes256),
        3 => (ObjectRef::Aggregate(uuid), KeyAlgorithm::XtsAes256),
        2 => (ObjectRef::Volume(uuid), KeyAlgorithm::Aes256),
        _ => (ObjectRef::Volume(uuid), KeyAlgorithm::XtsAes256),
    }
}
