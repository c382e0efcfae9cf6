//! `claviger job`.

use std::fmt;

use claviger::{Engine, Job, JobError, JobInfo, JobOperation, JobStatus, SvmId};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::args::JobCommand;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Session, name_of};

/// A job, as it is printed.
#[derive(Serialize)]
pub(crate) struct JobView {
    id: Uuid,
    operation: &'static str,
    svm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keystore: Option<Uuid>,
    /// What `done` and `total` are numbers of.
    #[serde(skip)]
    counts: Option<&'static str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    done: u64,
    total: Option<u64>,
    started: Timestamp,
    ended: Option<Timestamp>,
}

impl JobView {
    pub(crate) fn of(engine: &Engine, job: &JobInfo) -> Self {
        let What { operation, svm, keystore, counts } = What::of(&job.operation);
        let svm = svm.map(|svm| engine.svm(svm).map_or_else(|_| svm.to_string(), |svm| name_of(&svm)));
        let (status, message) = match &job.status {
            JobStatus::Running => ("running", None),
            JobStatus::Interrupted => ("interrupted", None),
            JobStatus::Succeeded => ("succeeded", None),
            JobStatus::Cancelled => ("cancelled", None),
            JobStatus::Failed { message, .. } => ("failed", Some(message.clone())),
            _ => ("unknown to this release", None),
        };
        Self {
            id: job.id,
            operation,
            svm,
            keystore,
            counts,
            status,
            message,
            done: job.progress.done,
            total: job.progress.total,
            started: job.started,
            ended: job.ended,
        }
    }

    /// `rekey-internal of SVM vs0, 4096 of 10000 keys`.
    pub(crate) fn what_and_how_far(&self) -> String {
        let Self { operation, done, .. } = self;
        let svm = self.svm.as_ref().map_or_else(String::new, |svm| format!(" of SVM {svm}"));
        let total = self.total.map_or_else(String::new, |total| format!(" of {total}"));
        let far = self.counts.map_or_else(String::new, |what| format!(", {done}{total} {what}"));
        format!("{operation}{svm}{far}")
    }
}

/// What a job is about.
struct What {
    operation: &'static str,
    svm: Option<SvmId>,
    /// The keystore that it is about, or that KEKs are moved to.
    keystore: Option<Uuid>,
    counts: Option<&'static str>,
}

impl What {
    fn of(operation: &JobOperation) -> Self {
        let of = |operation, svm, keystore, counts| Self { operation, svm, keystore, counts };
        match *operation {
            JobOperation::RekeyInternal { svm } => of("rekey-internal", Some(svm), None, Some("keys")),
            JobOperation::Enable { svm, keystore } => of("enable", Some(svm), Some(keystore), None),
            JobOperation::Switch { svm, to } => of("switch", Some(svm), Some(to), Some("KEKs")),
            JobOperation::Migrate { svm, to } => of("migrate", Some(svm), Some(to), Some("KEKs")),
            JobOperation::RekeyExternal { svm, keystore, .. } => {
                of("rekey-external", Some(svm), Some(keystore), Some("KEKs"))
            }
            JobOperation::Disable { svm, keystore } => of("disable", Some(svm), Some(keystore), None),
            JobOperation::Restore { svm } => of("restore", svm, None, Some("SVMs")),
            _ => of("unknown to this release", None, None, None),
        }
    }
}

impl fmt::Display for JobView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:11}  {}", self.id, self.status, self.what_and_how_far())?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Jobs {
    jobs: Vec<JobView>,
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs.is_empty() {
            return f.write_str("no jobs");
        }
        let lines: Vec<_> = self.jobs.iter().map(JobView::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

pub(crate) fn run(session: &Session<'_>, command: &JobCommand) -> Result<Exit, Failure> {
    let engine = match command {
        JobCommand::Wait { .. } => session.open()?,
        JobCommand::List | JobCommand::Show { .. } | JobCommand::Cancel { .. } => session.open_offline()?,
    };
    match *command {
        JobCommand::List => {
            let jobs = engine.jobs()?.iter().map(|job| JobView::of(&engine, job)).collect();
            session.output.result(&Jobs { jobs })?;
        }
        JobCommand::Show { job } => session.output.result(&JobView::of(&engine, &engine.job(job)?))?,
        JobCommand::Wait { job } => {
            let ended = end_of(session, &engine, job)?;
            session.output.result(&JobView::of(&engine, &ended))?;
        }
        JobCommand::Cancel { job } => {
            engine.cancel_job(job)?;
            session.output.result(&JobView::of(&engine, &engine.job(job)?))?;
        }
    }
    Ok(Exit::Done)
}

/// The job as it ended, after it has gone on where that was needed.
fn end_of(session: &Session<'_>, engine: &Engine, job: Uuid) -> Result<JobInfo, Failure> {
    let info = engine.job(job)?;
    match info.status {
        JobStatus::Succeeded => Ok(info),
        JobStatus::Cancelled => Err(JobError::Cancelled { job }.into()),
        JobStatus::Failed { message, cause, fault, advice } => {
            Err(JobError::Failed { job, message, cause, fault, advice }.into())
        }
        _ => {
            session.unlock(engine)?;
            wait(session, engine, &engine.resume_job(job)?, "job")
        }
    }
}

/// Waits for the end of a job that runs in this process, and shows how far it is.
pub(crate) fn wait(session: &Session<'_>, engine: &Engine, job: &Job, what: &'static str) -> Result<JobInfo, Failure> {
    let info = job.info();
    // The job itself knows the number only after its first pass, and counting takes a while: only for who watches.
    let total = match info.operation {
        JobOperation::RekeyInternal { svm } if session.output.is_watched() => {
            Some(engine.count_keys(svm)?.values().sum())
        }
        _ => None,
    };
    let bar = match info.operation {
        JobOperation::RekeyInternal { .. } => session.output.progress(what, total),
        // Few KEKs, and a keeper that takes its time.
        _ => session.output.waiting(what),
    };
    Ok(job.wait_with(|progress| {
        tracing::debug!(job = %info.id, done = progress.done, "progress");
        bar.set_position(progress.done);
    })?)
}
