//! Jobs: those of the engine, and short ones of this API (conventions, section 7).

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claviger::{Engine, Job, JobError, JobInfo, SvmId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::codes;
use crate::problem::Problem;

/// How long an ended job can be asked for.
const KEPT: SignedDuration = SignedDuration::from_secs(300);

/// The jobs that can be asked for. Those of the engine outlive the process; a job of the API's own is work of seconds at most, or one change
/// that waits for a keeper, and is forgotten with the process.
pub(crate) struct Jobs {
    engine: Arc<Engine>,
    own: Arc<Own>,
}

#[derive(Default)]
struct Own {
    jobs: Mutex<BTreeMap<Uuid, OwnJob>>,
    ended: Condvar,
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
        let begun = self.own.add(OwnJob { id, description, svm, started: Timestamp::now(), end: None });
        let (engine, own) = (self.engine.clone(), self.own.clone());
        let run = move || {
            // Whatever becomes of the work, the job has an end.
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&engine)));
            own.end(id, end.unwrap_or_else(|_| Err(codes::internal())));
        };
        match std::thread::Builder::new().name("claviger-request".to_owned()).spawn(run) {
            Ok(_) => Ok(begun),
            Err(_) => {
                self.own.lock().remove(&id);
                Err(codes::failed("The node has no thread to spare; try again later."))
            }
        }
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
        self.own.forget_old();
        let now = Timestamp::now();
        let engine = self.engine.jobs().map_err(|error| codes::failed(error.to_string()))?.into_iter();
        let engine = engine.filter(|job| job.ended.is_none_or(|ended| is_kept(ended, now))).map(AnyJob::Engine);
        let own = self.own.lock().values().cloned().map(AnyJob::Own).collect::<Vec<_>>();
        Ok(engine.chain(own).collect())
    }

    /// One of them.
    pub(crate) fn one(&self, id: Uuid) -> Result<Option<AnyJob>, Problem> {
        Ok(self.all()?.into_iter().find(|job| job.id() == id))
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
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, OwnJob>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, job: OwnJob) -> Begun {
        self.forget_old();
        let id = job.id;
        self.lock().insert(id, job);
        Begun::Own(id)
    }

    fn end(&self, id: Uuid, end: Result<(), Problem>) {
        if let Some(job) = self.lock().get_mut(&id) {
            job.end = Some((Timestamp::now(), end));
        }
        self.ended.notify_all();
    }

    fn wait(&self, id: Uuid, limit: Duration) -> Option<Result<(), Problem>> {
        let until = Instant::now() + limit;
        let mut jobs = self.lock();
        loop {
            // One that is forgotten has ended.
            let Some(job) = jobs.get(&id) else { return Some(Ok(())) };
            if let Some((_, end)) = &job.end {
                return Some(end.clone());
            }
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            jobs = self.ended.wait_timeout(jobs, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn forget_old(&self) {
        let now = Timestamp::now();
        self.lock().retain(|_, job| job.end.as_ref().is_none_or(|(ended, _)| is_kept(*ended, now)));
    }
}

fn is_kept(ended: Timestamp, now: Timestamp) -> bool {
    now.duration_since(ended) <= KEPT
}
