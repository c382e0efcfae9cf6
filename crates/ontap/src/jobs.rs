//! Jobs: those of the engine, and short ones of this API (conventions, section 7).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claviger::{Engine, Job, JobError, JobInfo, SvmId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::codes;
use crate::problem::Problem;

/// How long an ended job can be asked for.
const KEPT: SignedDuration = SignedDuration::from_secs(300);
/// How many ended jobs of the API's own are kept at most: a flood of small changes must not fill memory.
const MOST_KEPT: usize = 100_000;
/// How many jobs of the engine are remembered with the requests that began them.
const MOST_DESCRIBED: usize = 1_000;
/// How many jobs of the API's own run at a time: each is a thread that waits for a keeper.
const MOST_RUNNING: usize = 64;

/// The jobs that can be asked for. Those of the engine outlive the process; a job of the API's own is work of seconds at most, or one change
/// that waits for a keeper, and is forgotten with the process.
pub(crate) struct Jobs {
    engine: Arc<Engine>,
    own: Arc<Own>,
}

#[derive(Default)]
struct Own {
    jobs: Mutex<OwnJobs>,
    ended: Condvar,
}

#[derive(Default)]
struct OwnJobs {
    by_id: HashMap<Uuid, OwnJob>,
    /// Those that have ended, the first first.
    ended: VecDeque<(Timestamp, Uuid)>,
    /// Which requests began jobs of the engine, the first first.
    described: VecDeque<(Uuid, String)>,
}

/// A job of the API's own.
#[derive(Clone, Debug)]
pub(crate) struct OwnJob {
    pub(crate) id: Uuid,
    /// `POST /api/…`
    pub(crate) description: String,
    pub(crate) svm: Option<SvmId>,
    pub(crate) started: Timestamp,
    /// When and how it ended.
    pub(crate) end: Option<(Timestamp, Result<(), Problem>)>,
}

/// A job of either kind, as it stands.
pub(crate) enum AnyJob {
    Engine(JobInfo),
    Own(OwnJob),
}

/// A job that a request has begun.
pub(crate) enum Begun {
    Engine(Job),
    Own(Uuid),
}

impl Begun {
    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Engine(job) => job.id(),
            Self::Own(id) => *id,
        }
    }
}

impl Jobs {
    pub(crate) fn over(engine: Arc<Engine>) -> Self {
        Self { engine, own: Arc::default() }
    }

    /// A job for what is done already.
    pub(crate) fn done(&self, description: String, svm: Option<SvmId>) -> Begun {
        let now = Timestamp::now();
        self.own.add(OwnJob { id: Uuid::new_v4(), description, svm, started: now, end: Some((now, Ok(()))) })
    }

    /// A job that does `work` on a thread of its own.
    pub(crate) fn begin(
        &self,
        description: String,
        svm: Option<SvmId>,
        work: impl FnOnce(&Engine) -> Result<(), Problem> + Send + 'static,
    ) -> Result<Begun, Problem> {
        let id = Uuid::new_v4();
        let begun = self.own.add_running(OwnJob { id, description, svm, started: Timestamp::now(), end: None })?;
        let (engine, own) = (self.engine.clone(), self.own.clone());
        let run = move || {
            // Whatever becomes of the work, the job has an end.
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&engine)));
            own.end(id, end.unwrap_or_else(|_| Err(codes::internal())));
        };
        match std::thread::Builder::new().name("claviger-request".to_owned()).spawn(run) {
            Ok(_) => Ok(begun),
            Err(_) => {
                self.own.lock().by_id.remove(&id);
                Err(codes::failed("The node has no thread to spare; try again later."))
            }
        }
    }

    /// Notes which request began a job of the engine.
    pub(crate) fn describe(&self, begun: &Begun, description: String) {
        if let Begun::Engine(job) = begun {
            let mut jobs = self.own.lock();
            jobs.described.push_back((job.id(), description));
            if jobs.described.len() > MOST_DESCRIBED {
                jobs.described.pop_front();
            }
        }
    }

    /// The request that began a job of the engine, where this process has seen it.
    pub(crate) fn description(&self, job: Uuid) -> Option<String> {
        let jobs = self.own.lock();
        jobs.described.iter().rev().find(|(id, _)| *id == job).map(|(_, description)| description.clone())
    }

    /// Waits for the end of a job, `limit` at most. `None` where it is still running.
    pub(crate) fn wait(&self, begun: &Begun, limit: Duration) -> Option<Result<(), Problem>> {
        match begun {
            Begun::Engine(job) => {
                match job.wait_timeout(limit)? {
                    Ok(_) => Some(Ok(())),
                    // It goes on later.
                    Err(JobError::Interrupted { .. }) => None,
                    Err(error) => Some(Err(codes::of_job(&job.info().operation, &error))),
                }
            }
            Begun::Own(id) => self.own.wait(*id, limit),
        }
    }

    /// All jobs that run, wait, or ended a short while ago, the oldest first.
    pub(crate) fn all(&self) -> Result<Vec<AnyJob>, Problem> {
        let now = Timestamp::now();
        let engine = self.engine.jobs().map_err(|error| codes::failed(error.to_string()))?.into_iter();
        let engine = engine.filter(|job| job.ended.is_none_or(|ended| is_kept(ended, now))).map(AnyJob::Engine);
        let own = self.own.lock().kept(now).values().cloned().map(AnyJob::Own).collect::<Vec<_>>();
        Ok(engine.chain(own).collect())
    }

    /// One of them.
    pub(crate) fn one(&self, id: Uuid) -> Result<Option<AnyJob>, Problem> {
        let now = Timestamp::now();
        if let Some(job) = self.own.lock().kept(now).get(&id) {
            return Ok(Some(AnyJob::Own(job.clone())));
        }
        match self.engine.job(id) {
            Ok(job) => {
                Ok(Some(job).filter(|job| job.ended.is_none_or(|ended| is_kept(ended, now))).map(AnyJob::Engine))
            }
            Err(JobError::Unknown { .. }) => Ok(None),
            Err(error) => Err(codes::failed(codes::chain(&error))),
        }
    }
}

impl AnyJob {
    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Engine(job) => job.id,
            Self::Own(job) => job.id,
        }
    }
}

impl Own {
    fn lock(&self) -> MutexGuard<'_, OwnJobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, job: OwnJob) -> Begun {
        let id = job.id;
        let mut jobs = self.lock();
        if let Some((ended, _)) = &job.end {
            jobs.ended.push_back((*ended, id));
        }
        jobs.by_id.insert(id, job);
        jobs.kept(Timestamp::now());
        Begun::Own(id)
    }

    /// One change at a time of one thing, and not too many of all.
    fn add_running(&self, job: OwnJob) -> Result<Begun, Problem> {
        let id = job.id;
        let mut jobs = self.lock();
        let running = || jobs.by_id.values().filter(|job| job.end.is_none());
        if running().any(|other| other.description == job.description) {
            return Err(codes::in_use("The same is being changed already; try again when that job has ended."));
        }
        if running().count() >= MOST_RUNNING {
            return Err(codes::in_use("Too many changes wait for their keepers; try again when some have ended."));
        }
        jobs.by_id.insert(id, job);
        Ok(Begun::Own(id))
    }

    fn end(&self, id: Uuid, end: Result<(), Problem>) {
        let now = Timestamp::now();
        let mut jobs = self.lock();
        if let Some(job) = jobs.by_id.get_mut(&id) {
            job.end = Some((now, end));
            jobs.ended.push_back((now, id));
        }
        drop(jobs);
        self.ended.notify_all();
    }

    fn wait(&self, id: Uuid, limit: Duration) -> Option<Result<(), Problem>> {
        let until = Instant::now() + limit;
        let mut jobs = self.lock();
        loop {
            // One that is forgotten has ended, and nobody knows how.
            let job = jobs.by_id.get(&id)?;
            if let Some((_, end)) = &job.end {
                return Some(end.clone());
            }
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            jobs = self.ended.wait_timeout(jobs, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl OwnJobs {
    /// The jobs, without those that ended too long ago.
    fn kept(&mut self, now: Timestamp) -> &HashMap<Uuid, OwnJob> {
        while let Some((ended, id)) = self.ended.front().copied() {
            if is_kept(ended, now) && self.ended.len() <= MOST_KEPT {
                break;
            }
            self.ended.pop_front();
            self.by_id.remove(&id);
        }
        &self.by_id
    }
}

fn is_kept(ended: Timestamp, now: Timestamp) -> bool {
    now.duration_since(ended) <= KEPT
}
