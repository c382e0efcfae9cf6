//! Jobs: long operations that are persisted, go on after a crash, and can be waited for and cancelled.

use std::collections::BTreeMap;
use std::io;
use std::mem::ManuallyDrop;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use claviger_store::{Batch, Expect, StoreError, Table};
use claviger_wrap::SvmId;
use jiff::Timestamp;
use uuid::Uuid;

use crate::cause::Cause;
use crate::engine::{Core, Engine};
use crate::error::{Advice, Fault};
use crate::job_error::JobError;
use crate::operations;
use crate::records::{
    Body, DisableStep, JobRecord, MoveStep, Phase, Purpose, Read, RecordError, RekeyStep, Stop, Task,
};

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The job's UUID.
    pub id: Uuid,
    /// What it does.
    pub operation: JobOperation,
    /// Whether it runs, and how it ended.
    pub status: JobStatus,
    /// How far it is.
    pub progress: Progress,
    /// When it was asked for.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobOperation {
    /// A new KEK for an SVM, and every key of it re-wrapped.
    RekeyInternal {
        /// The SVM.
        svm: SvmId,
    },
    /// The first keystore of an SVM is enabled.
    Enable {
        /// The SVM.
        svm: SvmId,
        /// The keystore.
        keystore: Uuid,
    },
    /// What the enabled keystore keeps is kept by another, which is the enabled one then.
    Switch {
        /// The SVM.
        svm: SvmId,
        /// The keystore that will keep it.
        to: Uuid,
    },
    /// What one of the cluster's keystore and the SVM's own keeps is kept by the other.
    Migrate {
        /// The SVM.
        svm: SvmId,
        /// The keystore that will keep it.
        to: Uuid,
    },
    /// What a keystore keeps is kept under another top-level key.
    RekeyExternal {
        /// The SVM.
        svm: SvmId,
        /// The keystore.
        keystore: Uuid,
        /// The keeper's name for the new top-level key; for Barbican, the secret's URL.
        key_id: String,
    },
    /// A keystore is enabled no longer.
    Disable {
        /// The SVM.
        svm: SvmId,
        /// The keystore.
        keystore: Uuid,
    },
    /// KEKs are fetched again.
    Restore {
        /// The SVM, or `None` for all.
        svm: Option<SvmId>,
    },
}

/// Whether a job runs, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobStatus {
    /// It runs in this process.
    Running,
    /// It has begun and nobody works on it; it goes on where it was with [`Engine::resume_jobs`] or when it is asked for
    /// again.
    Interrupted,
    /// All is done.
    Succeeded,
    /// It was cancelled.
    Cancelled,
    /// It could not go on.
    Failed {
        /// Why.
        message: String,
        /// Of which kind that is.
        cause: Cause,
        /// Whose fault it is.
        fault: Fault,
        /// What to do.
        advice: Advice,
    },
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Items done.
    pub done: u64,
    /// Items there are, once a whole pass has seen them all; more may have come since. Whoever wants to know it earlier asks
    /// [`Engine::count_keys`], which reads them all.
    pub total: Option<u64>,
}

/// A job that runs in this process.
#[derive(Clone)]
pub struct Job {
    cell: Arc<Cell>,
}

impl Job {
    /// The job's UUID.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.cell.info().id
    }

    /// The job as it stands.
    #[must_use]
    pub fn info(&self) -> JobInfo {
        self.cell.info().clone()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`JobError`] where it ended otherwise than with success.
    pub fn wait(&self) -> Result<JobInfo, JobError> {
        self.wait_with(|_| ())
    }

    /// Waits for its end, and calls `report` with each progress that is seen meanwhile.
    ///
    /// # Errors
    /// As [`Job::wait`].
    pub fn wait_with(&self, mut report: impl FnMut(Progress)) -> Result<JobInfo, JobError> {
        let mut reported = None;
        let mut info = self.cell.info();
        loop {
            let now = info.clone();
            if reported != Some(now.progress) {
                // Not under the lock: the job must not wait for whoever watches it.
                drop(info);
                report(now.progress);
                reported = Some(now.progress);
                info = self.cell.info();
                continue;
            }
            match outcome(now) {
                None => info = self.cell.changed.wait(info).unwrap_or_else(PoisonError::into_inner),
                Some(outcome) => return outcome,
            }
        }
    }

    /// Waits for its end, but no longer than `timeout`. `None` while it runs.
    ///
    /// # Errors
    /// As [`Job::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<JobInfo, JobError>> {
        let is_running = |info: &mut JobInfo| info.status == JobStatus::Running;
        let waited = self.cell.changed.wait_timeout_while(self.cell.info(), timeout, is_running);
        let (info, _) = waited.unwrap_or_else(PoisonError::into_inner);
        outcome(info.clone())
    }

    /// Asks the job to stop at its next durable point. What it has done stays done, and everything stays readable. The
    /// request itself is not durable: a job that a crash interrupts before that point goes on afterwards.
    pub fn cancel(&self) {
        self.cell.cancel.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cell.info().fmt(f)
    }
}

/// What a job that stands so has come to; `None` while it runs.
fn outcome(info: JobInfo) -> Option<Result<JobInfo, JobError>> {
    let job = info.id;
    match info.status {
        JobStatus::Running => None,
        JobStatus::Succeeded => Some(Ok(info)),
        JobStatus::Interrupted => Some(Err(JobError::Interrupted { job })),
        JobStatus::Cancelled => Some(Err(JobError::Cancelled { job })),
        JobStatus::Failed { message, cause, fault, advice } => {
            Some(Err(JobError::Failed { job, message, cause, fault, advice }))
        }
    }
}

/// What a job's thread and those who watch it share.
pub(crate) struct Cell {
    info: Mutex<JobInfo>,
    changed: Condvar,
    cancel: AtomicBool,
    stop: AtomicBool,
}

/// Why a job's thread must stop at its next durable point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Somebody cancelled the job.
    Cancel,
    /// The engine is closed.
    Close,
}

impl Cell {
    fn new(info: JobInfo) -> Self {
        Self {
            info: Mutex::new(info),
            changed: Condvar::new(),
            cancel: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    fn info(&self) -> MutexGuard<'_, JobInfo> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn halt(&self) -> Option<Halt> {
        match (self.stop.load(Ordering::Acquire), self.cancel.load(Ordering::Acquire)) {
            (true, _) => Some(Halt::Close),
            (false, true) => Some(Halt::Cancel),
            (false, false) => None,
        }
    }

    pub(crate) fn progress(&self, progress: Progress) {
        self.info().progress = progress;
        self.changed.notify_all();
    }

    fn show(&self, info: JobInfo) {
        *self.info() = info;
        self.changed.notify_all();
    }
}

/// The jobs that run in this process.
pub(crate) struct Jobs {
    running: Arc<Mutex<Running>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The process that has these threads.
    process: u32,
}

#[derive(Default)]
struct Running {
    cells: BTreeMap<Uuid, Arc<Cell>>,
    /// No other begins.
    stopped: bool,
}

impl Running {
    fn stop(&mut self) {
        self.stopped = true;
        for cell in self.cells.values() {
            cell.stop.store(true, Ordering::Release);
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self { running: Arc::default(), threads: Mutex::default(), process: process::id() }
    }
}

impl Jobs {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, job: Uuid) -> Option<Job> {
        self.running().cells.get(&job).map(|cell| Job { cell: cell.clone() })
    }

    /// Goes on with every job that was interrupted, where its keys are in memory.
    fn resume_all(&self, core: &Arc<Core>) -> Result<Vec<Job>, JobError> {
        let mut resumed = Vec::new();
        for record in core.job_records()? {
            if record.body.is_running() && operations::is_possible(core, &record.body) {
                resumed.push(self.run(core, record)?);
            }
        }
        Ok(resumed)
    }

    /// Runs a job in a thread of its own, unless it runs already. Once jobs are stopped, it is interrupted before it begins.
    pub(crate) fn run(&self, core: &Arc<Core>, record: Read<JobRecord>) -> Result<Job, io::Error> {
        let job = record.body.job;
        let cell = {
            let mut running = self.running();
            if let Some(cell) = running.cells.get(&job) {
                return Ok(Job { cell: cell.clone() });
            }
            if running.stopped {
                return Ok(Job { cell: Cell::new(info_of(&record.body, JobStatus::Interrupted)).into() });
            }
            let cell = Arc::new(Cell::new(info_of(&record.body, JobStatus::Running)));
            running.cells.insert(job, cell.clone());
            cell
        };
        let end = EndOfThread { job, cell: cell.clone(), running: self.running.clone(), last: None };
        let core = core.clone();
        let thread = std::thread::Builder::new().name("claviger-job".to_owned()).spawn(move || {
            let mut end = end;
            // It may have ended, in another thread, since the caller read it. From now on nobody else changes it.
            let record = core.job_record(job).unwrap_or(record);
            let last = operations::run(&core, &end.cell, record);
            let status = status_of(&last.phase).unwrap_or(JobStatus::Interrupted);
            end.last = Some(info_of(&last, status));
        })?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(Job { cell })
    }
}

/// Goes on with what was interrupted. What cannot go on now is left interrupted.
pub(crate) fn resume_possible(core: &Arc<Core>, jobs: &Jobs) {
    if let Err(error) = jobs.resume_all(core) {
        tracing::error!(%error, "an interrupted job could not be resumed");
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        let threads = ManuallyDrop::new(std::mem::take(threads));
        if self.process != process::id() {
            // A forked child: there are no such threads in it, and what they had locked stays locked.
            return;
        }
        self.running().stop();
        for thread in ManuallyDrop::into_inner(threads) {
            if thread.join().is_err() {
                tracing::error!("a job's thread panicked; the job can be resumed");
            }
        }
    }
}

/// Whatever ends a job's thread, nobody waits for it for ever.
struct EndOfThread {
    job: Uuid,
    cell: Arc<Cell>,
    running: Arc<Mutex<Running>>,
    /// The job as the thread leaves it; `None` where the thread panicked.
    last: Option<JobInfo>,
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        // Whoever is told of the end no longer finds the job running.
        self.running.lock().unwrap_or_else(PoisonError::into_inner).cells.remove(&self.job);
        let last = self.last.take();
        let last = last.unwrap_or_else(|| JobInfo { status: JobStatus::Interrupted, ..self.cell.info().clone() });
        self.cell.show(last);
    }
}

impl Engine {
    /// All jobs: those that run, those that wait to be resumed, and those that ended within
    /// [`Options::job_retention`](crate::Options::job_retention); in the order in which they were asked for.
    ///
    /// # Errors
    /// [`JobError::Records`] where the store fails. A job whose record is damaged is left out; `verify` names it.
    pub fn jobs(&self) -> Result<Vec<JobInfo>, JobError> {
        let records = self.core.job_records()?.into_iter();
        let mut jobs: Vec<_> = records.map(|record| self.stand_of(record.body)).collect::<Result<_, _>>()?;
        jobs.sort_by_key(|job| (job.started, job.id));
        Ok(jobs)
    }

    /// One job.
    ///
    /// # Errors
    /// [`JobError::Unknown`], [`JobError::Records`].
    pub fn job(&self, job: Uuid) -> Result<JobInfo, JobError> {
        self.stand_of(self.core.job_record(job)?.body)
    }

    /// Goes on with every job that was interrupted, where its keys are in memory. Returns those that now run.
    ///
    /// After [`Engine::stop_jobs`] none does, and those that could are returned interrupted.
    ///
    /// # Errors
    /// [`JobError::Records`] where the store fails; [`JobError::Thread`].
    pub fn resume_jobs(&self) -> Result<Vec<Job>, JobError> {
        self.jobs.resume_all(&self.core)
    }

    /// Stops all jobs at their next durable point, and begins no more: for a process that is about to close the engine, and has
    /// threads that wait for jobs. They are told [`JobError::Interrupted`]. What is asked for afterwards is written down and interrupted
    /// at once. All of it goes on when the hierarchy is opened again.
    pub fn stop_jobs(&self) {
        self.jobs.running().stop();
    }

    /// Goes on with what was interrupted. What cannot go on now is left interrupted.
    pub(crate) fn resume_what_can_be(&self) {
        resume_possible(&self.core, &self.jobs);
    }

    /// Goes on with one job that was interrupted, or finds it where it runs.
    ///
    /// # Errors
    /// [`JobError::Unknown`], [`JobError::Ended`], [`JobError::Locked`], [`JobError::Records`], [`JobError::Thread`].
    pub fn resume_job(&self, job: Uuid) -> Result<Job, JobError> {
        let record = self.core.job_record(job)?;
        match record.body.phase {
            Phase::Ended { .. } => Err(JobError::Ended { job }),
            Phase::Running if !operations::is_possible(&self.core, &record.body) => Err(JobError::Locked { job }),
            Phase::Running => Ok(self.jobs.run(&self.core, record)?),
        }
    }

    /// Cancels a job: it stops at its next durable point, see [`Job::cancel`]. One that was interrupted is ended at once.
    ///
    /// # Errors
    /// [`JobError::Unknown`], [`JobError::Ended`], [`JobError::TooLate`], [`JobError::Records`].
    pub fn cancel_job(&self, job: Uuid) -> Result<(), JobError> {
        if let Some(running) = self.jobs.get(job) {
            running.cancel();
            return Ok(());
        }
        let record = self.core.job_record(job)?;
        match record.body.phase {
            Phase::Ended { .. } => Err(JobError::Ended { job }),
            Phase::Running if has_only_to_discard(&record.body.task) => Err(JobError::TooLate { job }),
            Phase::Running => Ok(operations::end(&self.core, &record, Stop::Cancelled).map(|_| ())?),
        }
    }

    fn stand_of(&self, record: JobRecord) -> Result<JobInfo, JobError> {
        // A job whose end is durable has ended, also while its thread is still about to say so.
        if let Some(ended) = status_of(&record.phase) {
            return Ok(info_of(&record, ended));
        }
        if let Some(running) = self.jobs.get(record.job) {
            return Ok(running.info());
        }
        // Nobody runs it now. It may have ended since it was read, and been forgotten.
        let now = self.core.records.read::<JobRecord>(&record.key())?.map_or(record, |read| read.body);
        Ok(info_of(&now, status_of(&now.phase).unwrap_or(JobStatus::Interrupted)))
    }
}

impl Core {
    pub(crate) fn job_record(&self, job: Uuid) -> Result<Read<JobRecord>, JobError> {
        self.records.read(job.as_bytes())?.ok_or(JobError::Unknown { job })
    }

    /// All job records that open.
    fn job_records(&self) -> Result<Vec<Read<JobRecord>>, RecordError> {
        Ok(self.records.scan::<JobRecord>(&[])?.into_iter().filter_map(|scanned| scanned.read.ok()).collect())
    }

    /// Deletes the records of jobs that ended long ago.
    pub(crate) fn forget_old_jobs(&self) -> Result<(), RecordError> {
        let now = self.clock.now();
        for record in self.job_records()? {
            let Phase::Ended { at, .. } = record.body.phase else { continue };
            let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
            if age <= self.job_retention {
                continue;
            }
            let key = record.body.key();
            let batch = Batch::new().require(Table::Jobs, key.clone(), record.unchanged()).delete(Table::Jobs, key);
            match self.records.store().commit(batch) {
                Ok(()) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Adds to `batch` that `old` is replaced by `body`, and returns it as it will be read.
    pub(crate) fn put_job(
        &self,
        batch: Batch,
        old: Option<&Read<JobRecord>>,
        body: JobRecord,
    ) -> Result<(Batch, Read<JobRecord>), RecordError> {
        let raw = self.records.seal(&body)?;
        let expect = old.map_or(Expect::Absent, Read::unchanged);
        let batch = batch.require(Table::Jobs, body.key(), expect).put(Table::Jobs, body.key(), raw.clone());
        Ok((batch, Read { body, raw }))
    }
}

/// Whether the job has done its work, and only the keeper has yet to forget what it kept.
fn has_only_to_discard(task: &Task) -> bool {
    match task {
        Task::RekeyInternal { step, .. } => matches!(step, RekeyStep::Discard { .. }),
        Task::Move { step, .. } => matches!(step, MoveStep::Discard { .. }),
        Task::Disable { step, .. } => matches!(step, DisableStep::Discard { .. }),
        Task::Enable { .. } | Task::Restore { .. } => false,
    }
}

fn info_of(record: &JobRecord, status: JobStatus) -> JobInfo {
    JobInfo {
        id: record.job,
        operation: operation_of(&record.task),
        status,
        progress: Progress { done: record.done, total: record.total },
        started: record.started,
        ended: match record.phase {
            Phase::Running => None,
            Phase::Ended { at, .. } => Some(at),
        },
    }
}

pub(crate) fn operation_of(task: &Task) -> JobOperation {
    match task.clone() {
        Task::RekeyInternal { svm, .. } => JobOperation::RekeyInternal { svm: svm.into() },
        Task::Enable { svm, keystore } => JobOperation::Enable { svm: svm.into(), keystore },
        Task::Move { svm, to, purpose, .. } => {
            let svm = svm.into();
            match purpose {
                Purpose::Switch => JobOperation::Switch { svm, to },
                Purpose::Migrate => JobOperation::Migrate { svm, to },
                Purpose::RekeyExternal { key_id } => JobOperation::RekeyExternal { svm, keystore: to, key_id },
            }
        }
        Task::Disable { svm, keystore, .. } => JobOperation::Disable { svm: svm.into(), keystore },
        Task::Restore { svm } => JobOperation::Restore { svm: svm.map(SvmId::from) },
    }
}

/// How the job ended; `None` while it has not.
fn status_of(phase: &Phase) -> Option<JobStatus> {
    match phase {
        Phase::Running => None,
        Phase::Ended { stop, .. } => Some(match stop {
            Stop::Succeeded => JobStatus::Succeeded,
            Stop::Cancelled => JobStatus::Cancelled,
            Stop::Failed { message, cause, fault, advice } => {
                JobStatus::Failed { message: message.clone(), cause: *cause, fault: *fault, advice: *advice }
            }
        }),
    }
}
