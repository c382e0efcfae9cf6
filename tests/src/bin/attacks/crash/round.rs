//! A round of the workload: start it, kill it, check what it leaves.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use claviger::Engine;
use fastrand::Rng;

use crate::ledger::{Counts, Ledger, Look, Violations};
use crate::workload::{self, Said, Store};

/// Keys that stay: two pages and a half, so that kills hit the middle of a rekey.
const BALLAST: u32 = 2_500;

/// The hierarchy that survives from round to round, and what is known of it.
pub(super) struct Hierarchy {
    dir: PathBuf,
    store: Store,
    ledger: Ledger,
}

/// What is chosen for one round.
#[derive(Debug)]
struct Plan {
    seed: u64,
    /// When to kill, from the start of the process.
    delay: Duration,
    change_passphrase: bool,
    /// Whether jobs are resumed by the check, or by the next round's process.
    resume: bool,
}

impl Plan {
    fn choose(rng: &mut Rng) -> Self {
        // A quarter dies while it starts; the others come to work.
        let millis = if rng.u8(0..4) == 0 { rng.u64(0..40) } else { rng.u64(40..500) };
        let micros = millis * 1_000 + rng.u64(0..1_000);
        Self {
            seed: rng.u64(..),
            delay: Duration::from_micros(micros),
            change_passphrase: rng.u8(0..3) == 0,
            resume: rng.u8(0..4) != 0,
        }
    }
}

impl Hierarchy {
    pub(super) fn new(dir: PathBuf, store: Store) -> Self {
        Self { dir, store, ledger: Ledger::default() }
    }

    pub(super) const fn counts(&self) -> Counts {
        self.ledger.counts
    }

    /// One round. Returns whether the process was at work when it was killed, and what is wrong afterwards.
    pub(super) fn round(&mut self, rng: &mut Rng, is_last: bool) -> Result<(bool, Violations)> {
        let plan = Plan::choose(rng);
        let args = workload::Args {
            dir: self.dir.clone(),
            store: self.store,
            seed: plan.seed,
            ballast: BALLAST,
            passphrase: self.ledger.passphrase(),
            change_passphrase: plan.change_passphrase,
            calls: None,
            die: false,
        };
        let mut workload = Command::new(std::env::current_exe()?);
        let (killed, said) = kill(workload.args(args.words()), plan.delay)?;
        self.ledger.note_all(&Said::parse(&said)?);
        let mut wrong = Vec::new();
        if !killed {
            wrong.push("the workload ended by itself".to_owned());
        }
        let look = Look { resumed: plan.resume || is_last, passphrase: plan.change_passphrase || is_last };
        wrong.extend(self.check(look)?);
        Ok((killed, wrong))
    }

    fn check(&mut self, look: Look) -> Result<Violations> {
        match Engine::open(&self.dir, workload::options(look.resumed)?) {
            Ok(engine) => self.ledger.check(&engine, look),
            Err(error) if workload::is_no_hierarchy(&error) && self.ledger.may_be_missing() => Ok(Vec::new()),
            Err(error) => Ok(vec![format!("the hierarchy does not open: {:#}", anyhow::Error::from(error))]),
        }
    }
}

/// Starts the process and kills it after a time. Returns whether that hit it, and what it had said by then.
pub(super) fn kill(command: &mut Command, delay: Duration) -> Result<(bool, Vec<u8>)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("the process does not start")?;
    let said = std::thread::scope(|scope| {
        // Read meanwhile, so that it never waits for us.
        let out = child.stdout.take();
        let reader = scope.spawn(move || read_all(out));
        std::thread::sleep(delay);
        child.kill()?;
        reader.join().map_err(|_| anyhow::anyhow!("reading what it said panicked"))?
    })?;
    Ok((is_killed(&mut child)?, said))
}

fn read_all(out: Option<impl std::io::Read>) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    if let Some(mut out) = out {
        out.read_to_end(&mut said)?;
    }
    Ok(said)
}

fn is_killed(child: &mut Child) -> Result<bool> {
    const SIGKILL: i32 = 9;
    Ok(child.wait()?.signal() == Some(SIGKILL))
}
