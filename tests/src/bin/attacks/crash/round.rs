//! A round of the workload: start it, kill it, check what it leaves.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
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
    moment: Moment,
    change_passphrase: bool,
    /// Whether jobs are resumed by the check, or by the next round's process.
    resume: bool,
}

impl Plan {
    fn choose(rng: &mut Rng) -> Self {
        // A quarter dies while it starts and resumes jobs, or not much later; the others come to work.
        let moment = match rng.u8(0..8) {
            0 => Moment::FromStart(Duration::from_micros(rng.u64(0..30_000))),
            1 => Moment::FromStart(Duration::from_micros(rng.u64(0..300_000))),
            _ => Moment::AtWork(Duration::from_micros(rng.u64(0..400_000))),
        };
        Self { seed: rng.u64(..), moment, change_passphrase: rng.u8(0..3) == 0, resume: rng.u8(0..4) != 0 }
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
        let (killed, said) = kill(workload.args(args.words()), plan.moment)?;
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

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// So long after it was started.
    FromStart(Duration),
    /// So long after it has come to work: the workload says what it finds then.
    AtWork(Duration),
}

/// How a line begins that says what the workload finds.
const FOUND: &[u8] = b"{\"found\"";

/// Starts the process and kills it at that moment. Returns whether that hit it, and what it had said by then.
pub(super) fn kill(command: &mut Command, moment: Moment) -> Result<(bool, Vec<u8>)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("the process does not start")?;
    let out = child.stdout.take().context("its output is piped")?;
    let (came_to_work, at_work) = mpsc::channel();
    let said = std::thread::scope(|scope| {
        // Read meanwhile, so that it never waits for us.
        let reader = scope.spawn(move || read_all(out, &came_to_work));
        let delay = match moment {
            Moment::FromStart(delay) => delay,
            Moment::AtWork(delay) => {
                // An error means that it has ended before, which shows below.
                at_work.recv().ok();
                delay
            }
        };
        std::thread::sleep(delay);
        child.kill()?;
        reader.join().map_err(|_| anyhow::anyhow!("reading what it said panicked"))?
    })?;
    Ok((is_killed(&mut child)?, said))
}

/// All that is said, and a message when the process comes to work.
fn read_all(out: impl Read, came_to_work: &Sender<()>) -> Result<Vec<u8>> {
    let (mut out, mut said) = (BufReader::new(out), Vec::new());
    loop {
        let line = said.len();
        if out.read_until(b'\n', &mut said)? == 0 {
            return Ok(said);
        }
        if said.get(line..).is_some_and(|line| line.starts_with(FOUND)) {
            // Nobody may be waiting for it.
            came_to_work.send(()).ok();
        }
    }
}

fn is_killed(child: &mut Child) -> Result<bool> {
    const SIGKILL: i32 = 9;
    Ok(child.wait()?.signal() == Some(SIGKILL))
}
