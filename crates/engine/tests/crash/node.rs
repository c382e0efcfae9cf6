//! A node: its disk, its anchor and its keeper, which outlive the process, and the process, which may die.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use claviger::faults::KeeperFaults;
use claviger::store::faults::{FaultClock, FaultyStore, Strike};
use claviger::store::{Batch, Entry, Expectation, MemoryStore, Outcome, Replacement};
use claviger::{
    Anchor, AnchorError, AnchorSource, Blame, Engine, Fetching, JobError, JobInfo, JobOperation, JobStatus,
    KeystoreError, OpenEngineError, Options, Store, StoreError, SvmId, Table,
};
use uuid::Uuid;

use crate::common::{self, LONG_PASSPHRASE, OTHER_PASSPHRASE, passphrase, vault};
use crate::setups::Source;
use crate::view::{Closed, View, patiently};

/// Why something that was asked for did not succeed.
pub(crate) struct Failed(pub(crate) Box<dyn Blame>);

pub(crate) struct Node {
    pub(crate) disk: Arc<MemoryStore>,
    pub(crate) anchored: Arc<Anchored>,
    pub(crate) clock: FaultClock,
    /// Whether something befalls the process.
    is_struck: bool,
    pub(crate) keepers: KeeperFaults,
    pub(crate) source: Option<Arc<Source>>,
    /// How KEKs come into memory: on request, so that events come in one order.
    pub(crate) fetching: Fetching,
    pub(crate) store: Arc<Hooked<FaultyStore<MemoryStore>>>,
    /// What the next process tries first.
    pub(crate) passphrase: &'static [u8],
    /// `None` while the process does not run, and where there is no hierarchy yet.
    pub(crate) engine: Option<Engine>,
}

impl Node {
    /// A node whose process does not run yet.
    pub(crate) fn new(disk: Arc<MemoryStore>, anchored: Arc<Anchored>, source: Option<Arc<Source>>) -> Self {
        let clock = FaultClock::counting();
        let keepers = KeeperFaults::on(clock.clone()).with_vault(vault::vault());
        let store = Arc::new(Hooked::over(FaultyStore::over(disk.clone(), clock.clone())));
        Self {
            disk,
            anchored,
            clock,
            is_struck: false,
            keepers,
            source,
            fetching: Fetching::OnRequest,
            store,
            passphrase: LONG_PASSPHRASE,
            engine: None,
        }
    }

    /// Ends the process, which may be dead, and makes ready for another, which is to meet this.
    pub(crate) fn restart(&mut self, life: &[(usize, Strike)]) {
        let clock = FaultClock::striking(life.iter().copied());
        self.is_struck = !life.is_empty();
        // A job's thread ends with it.
        self.engine = None;
        self.keepers = self.keepers.after_restart(clock.clone());
        self.store = Arc::new(Hooked::over(FaultyStore::over(self.disk.clone(), clock.clone())));
        self.clock = clock;
    }

    pub(crate) fn options(&self) -> Options {
        let anchor = AnchorSource::Provided(Arc::new(FaultyAnchor(self.anchored.clone(), self.clock.clone())));
        let keeper_faults = Some(self.keepers.clone());
        Options { anchor, keeper_faults, fetching: self.fetching, ..common::options() }
    }

    /// The same for a hierarchy that nothing befalls.
    pub(crate) fn unharmed(&self) -> Options {
        vault::options_with(&vault::vault())
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("a process that runs")
    }

    /// Starts the process: the keystore is unlocked where it asks for that, and jobs go on to their ends. A hierarchy that is
    /// not complete is none.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        let engine = match Engine::open_on(self.store.clone(), self.options()) {
            Ok(engine) => engine,
            Err(OpenEngineError::Unfinished { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if engine.keystore().is_some_and(|keystore| keystore.locked) {
            self.unlock(&engine)?;
        }
        let waits = |job: &JobInfo| svm_of(&job.operation).is_some_and(|svm| is_kept_outside(&engine, svm));
        let left: Vec<_> = engine.jobs()?.into_iter().map(|job| (waits(&job), job)).collect();
        self.engine = Some(engine);
        self.fetch()?;
        let engine = self.engine();
        for (waits, job) in left {
            let is_left = job.status == JobStatus::Interrupted && !waits;
            assert!(self.is_struck || !is_left, "a job did not go on by itself");
            match engine.resume_job(job.id) {
                Ok(job) => drop(job.wait()?),
                Err(JobError::Ended { .. }) => {}
                // Its KEKs did not come: the view shows it.
                Err(JobError::Locked { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Has the KEKs fetched that are not in memory.
    pub(crate) fn fetch(&self) -> Result<(), Failed> {
        let engine = self.engine();
        if engine.svms().iter().any(|svm| is_closed(engine, svm.id())) {
            engine.restore_keks(None)?.wait()?;
        }
        Ok(())
    }

    /// With the passphrase that worked last, or with the one that it was being changed to.
    fn unlock(&mut self, engine: &Engine) -> Result<(), Failed> {
        for secret in [self.passphrase, LONG_PASSPHRASE, OTHER_PASSPHRASE] {
            match patiently(|| engine.unlock(&passphrase(secret))) {
                Err(KeystoreError::WrongPassphrase) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.passphrase = secret;
                    return Ok(());
                }
            }
        }
        panic!("no passphrase of the scenario unlocks the keystore");
    }

    pub(crate) fn view(&self) -> Result<View, Closed> {
        self.engine.as_ref().map_or(Ok(View::default()), |engine| View::of(engine, &self.disk))
    }

    /// Whether a job waits to be resumed that changes something: KEKs may still be asked for.
    pub(crate) fn has_unfinished_jobs(&self) -> bool {
        let is_unfinished = |job: &JobInfo| {
            matches!(job.status, JobStatus::Running | JobStatus::Interrupted)
                && !matches!(job.operation, JobOperation::Restore { .. })
        };
        self.engine.as_ref().is_some_and(|engine| engine.jobs().unwrap().iter().any(is_unfinished))
    }
}

fn is_closed(engine: &Engine, svm: SvmId) -> bool {
    engine.kek(svm).is_ok_and(|kek| kek.is_some_and(|kek| !kek.in_memory))
}

/// Whether jobs of the SVM wait for KEKs that come on request.
fn is_kept_outside(engine: &Engine, svm: SvmId) -> bool {
    let cluster = engine.keystore().map(|keystore| keystore.id);
    engine.kept_keks(svm).is_ok_and(|all| all.iter().any(|kept| Some(kept.keystore) != cluster))
}

/// The SVM whose KEKs must be in memory for the job to go on.
fn svm_of(operation: &JobOperation) -> Option<SvmId> {
    match operation {
        JobOperation::RekeyInternal { svm }
        | JobOperation::Switch { svm, .. }
        | JobOperation::Migrate { svm, .. }
        | JobOperation::RekeyExternal { svm, .. } => Some(*svm),
        _ => None,
    }
}

impl<E: Blame + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// What the anchor remembers.
pub(crate) type Anchored = Mutex<BTreeMap<Uuid, u64>>;

/// An anchor whose calls are events.
struct FaultyAnchor(Arc<Anchored>, FaultClock);

impl Anchor for FaultyAnchor {
    fn epoch(&self, hierarchy: Uuid) -> Result<Option<u64>, AnchorError> {
        let epoch = || self.0.lock().unwrap().get(&hierarchy).copied();
        self.1.call(ANCHOR, epoch).map_err(|struck| AnchorError::Other(struck.into()))
    }

    fn raise(&self, hierarchy: Uuid, epoch: u64) -> Result<(), AnchorError> {
        let raise = || {
            let before = self.0.lock().unwrap().insert(hierarchy, epoch);
            assert!(before <= Some(epoch), "the anchor goes back");
        };
        self.1.call(ANCHOR, raise).map_err(|struck| AnchorError::Other(struck.into()))
    }
}

/// The name of its events.
pub(crate) const ANCHOR: &str = "anchor";

/// Calls what a step asks for before the next `replace_each`.
pub(crate) struct Hooked<S> {
    inner: S,
    hook: Mutex<Option<Hook>>,
}

type Hook = Box<dyn FnOnce() + Send>;

impl<S> Hooked<S> {
    fn over(inner: S) -> Self {
        Self { inner, hook: Mutex::new(None) }
    }

    pub(crate) fn before_next_replace(&self, hook: impl FnOnce() + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }
}

impl<S: Store> Store for Hooked<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.inner.replace_each(table, items, guard)
    }
}
