//! KEKs that a keeper did not give at the start: asked for again in the background until they are in memory.

use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use claviger_wrap::{SystemRandom, random_uuid};

use crate::engine::Core;
use crate::jobs::{Jobs, resume_possible};
use crate::live::{Closed, Keks};
use crate::opening::{ToOpen, open_all};
use crate::options::Fetching;

/// The first wait after a round that left something; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The thread that fetches, as the engine holds it. It goes when nothing is left to fetch, or when this is dropped; a keeper that is
/// being asked then is not waited for.
pub(crate) struct Recovery {
    shared: Arc<Shared>,
    /// The process that has the thread.
    process: u32,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Every SVM has been asked for once.
    first_round_done: bool,
    /// The engine is closed. Held while the thread has hold of what the engine owns, so that a closed store is free.
    stopped: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_of_round(&self) {
        self.state().first_round_done = true;
        self.changed.notify_all();
    }
}

impl Drop for Recovery {
    fn drop(&mut self) {
        // A forked child has no such thread, and what that had locked stays locked.
        if self.process != process::id() {
            return;
        }
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Recovery {
    /// Begins to fetch what is not in memory, and waits for the first answers as long as `fetching` says.
    pub(crate) fn begin(core: &Arc<Core>, jobs: &Arc<Jobs>, fetching: Fetching, resumes: bool) -> Self {
        let shared = Arc::<Shared>::default();
        let recovery = Self { shared: shared.clone(), process: process::id() };
        let Fetching::Automatic { wait } = fetching else { return recovery };
        if is_complete(core) {
            return recovery;
        }
        let job = Recover { core: Arc::downgrade(core), jobs: Arc::downgrade(jobs), shared: shared.clone(), resumes };
        let thread = std::thread::Builder::new().name("claviger-recovery".to_owned()).spawn(move || job.run());
        if let Err(error) = thread {
            tracing::error!(%error, "no thread could be started to fetch KEKs; restore them");
            return recovery;
        }
        let began = Instant::now();
        let mut state = shared.state();
        while !state.first_round_done {
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                tracing::warn!("keepers have not answered yet; KEKs come into memory when they do");
                break;
            }
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        recovery
    }
}

/// Whether a keeper outside the node is to be asked for these. What the cluster's keystore did not give, its passphrase brings.
fn is_to_be_fetched(core: &Core, keks: &Keks) -> bool {
    let is_of_the_cluster = core.keystore.id().is_some_and(|cluster| keks.is_kept_by(cluster));
    matches!(keks.why_closed(), Some(Closed::NotFetched | Closed::Keeper(_))) && !is_of_the_cluster
}

fn is_complete(core: &Core) -> bool {
    !core.live.svms().values().any(|svm| is_to_be_fetched(core, &svm.keks.load()))
}

struct Recover {
    core: Weak<Core>,
    jobs: Weak<Jobs>,
    shared: Arc<Shared>,
    resumes: bool,
}

impl Recover {
    fn run(self) {
        let mut wait = FIRST_WAIT;
        while let Some(to_open) = self.with_engine(|core, _| to_open(core)) {
            // Nothing of the engine is held while keepers are asked.
            let go_on = || !self.shared.state().stopped;
            open_all(to_open, go_on, |svm, _, outcome| match outcome {
                Ok(()) => tracing::info!(svm = %svm.id, "the SVM's KEKs are in memory"),
                Err(why) => tracing::warn!(svm = %svm.id, ?why, "the SVM's KEKs are still not in memory"),
            });
            self.shared.end_of_round();
            let done = self.with_engine(|core, jobs| {
                if self.resumes {
                    resume_possible(core, jobs);
                }
                is_complete(core)
            });
            if done != Some(false) || !self.sleep(jittered(wait)) {
                break;
            }
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
        self.shared.end_of_round();
    }

    /// Lends out the engine, unless it is closed. It is not closed meanwhile.
    fn with_engine<T>(&self, use_it: impl FnOnce(&Arc<Core>, &Jobs) -> T) -> Option<T> {
        let state = self.shared.state();
        if state.stopped {
            return None;
        }
        Some(use_it(&self.core.upgrade()?, &*self.jobs.upgrade()?))
    }

    /// Returns whether to go on.
    fn sleep(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut state = self.shared.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.stopped || left.is_zero() {
                return !state.stopped;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn to_open(core: &Core) -> Vec<ToOpen> {
    core.to_open(core.live.svms().values().cloned(), |keks| is_to_be_fetched(core, keks)).unwrap_or_else(|error| {
        tracing::error!(%error, "what is to be fetched could not be read");
        Vec::new()
    })
}

/// Three quarters to five quarters of it, so that nodes that started together do not ask together.
fn jittered(wait: Duration) -> Duration {
    let random =
        random_uuid(&mut SystemRandom).map_or(128, |uuid| u32::from(uuid.into_bytes().first().copied().unwrap_or(128)));
    wait * 3 / 4 + wait * random / 512
}
