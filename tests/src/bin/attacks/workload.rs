//! A process that works on a hierarchy without end, until it is killed or its power is cut, and says on its standard output
//! what it begins and what was acknowledged to it.
//!
//! Several threads create, rotate, open and delete keys, each its own; one rekeys two SVMs in turn; one makes SVMs, renames
//! and deletes them; one, where asked for, changes the passphrase. Each also checks what it opens.

mod event;
mod keys;
mod others;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use claviger::{
    Arena, ArenaOptions, Engine, KeyMemory, OnboardMode, OpenEngineError, Options, Passphrase, Protection, StoreKind,
    StoreOptions, SvmId, store,
};
use fastrand::Rng;

pub(crate) use self::event::{Begun, Done, Event, KeyChange, Said, Slot, Versions, digests, object, say};

/// The SVMs that are rekeyed, and that the threads of keys share.
pub(crate) const SVMS: [&str; 2] = ["vs0", "vs1"];
/// The names that an SVM goes through before it is deleted.
pub(crate) const TENANTS: [&str; 2] = ["tenant-0", "tenant-1"];
const WRITERS: u32 = 3;

/// Works on a hierarchy, and says what it does; for the other attacks
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The hierarchy's directory; it is made if there is none
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The store of a hierarchy that is made
    #[arg(long)]
    pub(crate) store: Store,
    #[arg(long)]
    pub(crate) seed: u64,
    /// So many keys lie there besides those that come and go, so that a rekey takes its time
    #[arg(long)]
    pub(crate) ballast: u32,
    /// The number of the passphrase that is in force
    #[arg(long)]
    pub(crate) passphrase: u32,
    /// Change the passphrase, over and over
    #[arg(long)]
    pub(crate) change_passphrase: bool,
    /// End after so many calls of each thread of keys
    #[arg(long)]
    pub(crate) calls: Option<u32>,
    /// Die at the end, rather than close the hierarchy
    #[arg(long, requires = "calls")]
    pub(crate) die: bool,
}

/// The stores that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Store {
    Sled,
    Redb,
}

impl Store {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }
}

impl From<Store> for StoreKind {
    fn from(store: Store) -> Self {
        match store {
            Store::Sled => Self::Sled,
            Store::Redb => Self::Redb,
        }
    }
}

impl Args {
    /// What `clap` makes these of.
    pub(crate) fn words(&self) -> Vec<String> {
        let Self { dir, store, seed, ballast, passphrase, change_passphrase, calls, die } = self;
        let mut words = vec![
            "workload".to_owned(),
            format!("--dir={}", dir.display()),
            format!("--store={}", store.name()),
            format!("--seed={seed}"),
            format!("--ballast={ballast}"),
            format!("--passphrase={passphrase}"),
        ];
        words.extend(change_passphrase.then(|| "--change-passphrase".to_owned()));
        words.extend(calls.map(|calls| format!("--calls={calls}")));
        words.extend(die.then(|| "--die".to_owned()));
        words
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    worked(args).inspect_err(|error| say(&Event::Failed { why: format!("{error:#}") }))
}

fn worked(args: &Args) -> Result<()> {
    let engine = begin(args)?;
    let svms = prepare(&engine, args)?;
    let ended = AtomicBool::new(false);
    let mut rng = Rng::with_seed(args.seed);
    std::thread::scope(|scope| {
        let (engine, svms, ended) = (&engine, &svms, &ended);
        scope.spawn(|| or_die(|| others::rekey(engine, svms, ended)));
        let tenants = rng.fork();
        scope.spawn(|| or_die(|| others::tenants(engine, tenants, ended)));
        if args.change_passphrase {
            scope.spawn(|| or_die(|| others::passphrases(engine, args.passphrase, ended)));
        }
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let rng = rng.fork();
                scope.spawn(move || or_die(|| keys::write(engine, svms, writer, rng, args.calls)));
            }
        });
        if args.die {
            say(&Event::Die);
        }
        ended.store(true, Ordering::Release);
    });
    Ok(())
}

/// The first failure ends the process, whoever else is still at work.
fn or_die(work: impl FnOnce() -> Result<()>) {
    let why = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "a thread panicked".to_owned(),
    };
    say(&Event::Failed { why });
    std::process::exit(1)
}

/// Opens the hierarchy, or makes it.
fn begin(args: &Args) -> Result<Engine> {
    match Engine::open(&args.dir, options(true)?) {
        Err(error) if is_no_hierarchy(&error) => {
            say(&Event::Begin(Begun::Hierarchy));
            let engine = create(&args.dir, args.store)?;
            say(&Event::Done(Done::Hierarchy));
            Ok(engine)
        }
        opened => Ok(opened.context("the hierarchy does not open")?),
    }
}

/// Makes the hierarchy, also after a creation that was interrupted.
pub(crate) fn create(dir: &Path, store: Store) -> Result<Engine> {
    Ok(Engine::create(dir, &"cluster".parse()?, Options { store: store.into(), ..options(true)? })?)
}

/// Whether there is no hierarchy, or one whose creation was interrupted.
pub(crate) fn is_no_hierarchy(error: &OpenEngineError) -> bool {
    matches!(error, OpenEngineError::Unfinished { .. } | OpenEngineError::Store(store::OpenError::Missing { .. }))
}

/// Makes what all threads need, as far as it is not there: the keystore, the SVMs, the keys that stay.
fn prepare(engine: &Engine, args: &Args) -> Result<Vec<SvmId>> {
    if engine.keystore().is_none() {
        say(&Event::Begin(Begun::Keystore));
        engine.create_onboard(OnboardMode::Unattended, &passphrase(engine, args.passphrase)?)?;
        say(&Event::Done(Done::Keystore));
    }
    let svms = SVMS.iter().map(|name| match engine.svm_named(name) {
        Ok(svm) => Ok(svm.id()),
        Err(_) => others::create_svm(engine, name),
    });
    let svms: Vec<_> = svms.collect::<Result<_>>()?;
    for &svm in &svms {
        keys::ballast(engine, svm, args.ballast)?;
    }
    Ok(svms)
}

/// The passphrase with this number.
pub(crate) fn passphrase(engine: &Engine, number: u32) -> Result<Passphrase> {
    Ok(engine.passphrase(format!("passphrase number {number} of the many that there are").as_bytes())?)
}

/// How the workload and whoever checks it open the hierarchy.
pub(crate) fn options(resume_jobs: bool) -> Result<Options> {
    let arena = Arena::new(&ArenaOptions { keys: 1_024, states: 64, accept: Protection::Unlocked })?;
    Ok(Options {
        memory: KeyMemory::Shared(arena),
        store_options: StoreOptions { cache_bytes: 16 << 20, ..StoreOptions::default() },
        // Else a long campaign would leave thousands of jobs behind.
        job_retention: Duration::ZERO,
        resume_jobs,
        ..Options::default()
    })
}
