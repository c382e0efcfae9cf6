//! `/cluster/jobs`: work that goes on after its request was answered.

use claviger::{Engine, JobError, JobInfo, JobOperation, JobStatus, SvmId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::call::Call;
use crate::codes::{self, public as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::Body;
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint, Parameter};
use crate::jobs::{AnyJob, OwnJob};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row, few};
use crate::schema::{Field, Kind, Link, Schema};
use crate::service::Service;

const ACTIONS: &[&str] = &["pause", "resume", "cancel"];

static SCHEMA: Schema = Schema {
    name: "job",
    fields: &[
        Field::key("uuid", Kind::Text, "The job's UUID."),
        Field::standard("description", Kind::Text, "The method and path of the request that began it."),
        Field::standard(
            "state",
            Kind::OneOf(&["queued", "running", "paused", "success", "failure"]),
            "Whether it waits, runs or how it ended; \"paused\" never occurs.",
        ),
        Field::standard("message", Kind::Text, "The state in words."),
        Field::standard("code", Kind::Integer, "0, or the code of why it failed."),
        Field::standard("error.code", Kind::Text, "The code of why it failed."),
        Field::standard("error.message", Kind::Text, "Why it failed."),
        Field::standard(
            "error.arguments.code",
            Kind::Text,
            "The code of a part of the message; messages have no parts.",
        ),
        Field::standard("error.arguments.message", Kind::Text, "A part of the message."),
        Field::standard("start_time", Kind::Time, "When it was asked for."),
        Field::standard("end_time", Kind::Time, "When it ended."),
        Field::standard("node.name", Kind::Text, "The node that runs it."),
        Field::standard("svm.name", Kind::Text, "The SVM's name."),
        Field::standard("svm.uuid", Kind::Text, "The SVM's UUID."),
    ],
    lists: &["error.arguments"],
    links: &[Link { object: "", href: "/cluster/jobs/{uuid}" }, Link { object: "svm", href: "/svm/svms/{svm.uuid}" }],
};

struct RunningJobs;

impl Resource for RunningJobs {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, call: &Call<'_>, _: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let all = call.service.jobs.all()?;
        Ok(few(all, |job| job.id().to_string(), after, limit, |job| Some(record(call, job))))
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        found(call).map(|job| record(call, &job))
    }
}

fn found(call: &Call<'_>) -> Result<AnyJob, Problem> {
    call.service.jobs.one(call.uuid("uuid")?)?.ok_or_else(codes::missing_entry)
}

fn record(call: &Call<'_>, job: &AnyJob) -> Record {
    let (record, svm) = match job {
        AnyJob::Own(job) => (own(job), job.svm),
        AnyJob::Engine(job) => (engines(call, job), svm_of(&job.operation)),
    };
    let svm = svm.and_then(|svm| call.service.engine.svm(svm).ok()).filter(|svm| !svm.is_admin());
    record
        .with("uuid", job.id().to_string())
        .with("node.name", call.service.node.name.clone())
        .with_some("svm.uuid", svm.as_ref().map(|svm| svm.id().to_string()))
        .with_some("svm.name", svm.as_ref().and_then(|svm| svm.name().map(ToString::to_string)))
}

fn own(job: &OwnJob) -> Record {
    let record = Record::new().with("description", job.description.clone()).with("start_time", time(job.started));
    match &job.end {
        None => going(record, "running", "The keeper is asked."),
        Some((ended, Ok(()))) => succeeded(record, *ended),
        Some((ended, Err(problem))) => failed(record, problem).with("end_time", time(*ended)),
    }
}

fn engines(call: &Call<'_>, job: &JobInfo) -> Record {
    let Service { engine, jobs, .. } = call.service;
    let description = jobs.description(job.id).unwrap_or_else(|| described(engine, job));
    let record = Record::new().with("description", description).with("start_time", time(job.started));
    let record = match &job.status {
        JobStatus::Running => going(record, "running", &progress(job)),
        JobStatus::Interrupted => going(
            record,
            "queued",
            "It was interrupted, and goes on when what it needs is there, or with action=resume.",
        ),
        JobStatus::Succeeded => going(record, "success", "Complete: Successful"),
        JobStatus::Cancelled => failed(record, &codes::in_use("The job was cancelled.")),
        JobStatus::Failed { .. } => failed(record, &codes::of_ended_job(job)),
        _ => going(record, "queued", "This release does not know its state."),
    };
    record.with_some("end_time", job.ended.map(time))
}

fn progress(job: &JobInfo) -> String {
    let what = match job.operation {
        JobOperation::RekeyInternal { .. } => "keys",
        JobOperation::Restore { .. } => "SVMs",
        _ => "KEKs",
    };
    match job.progress.total {
        Some(total) => format!("{} of {total} {what} done.", job.progress.done),
        None => format!("{} {what} done.", job.progress.done),
    }
}

fn going(record: Record, state: &str, message: &str) -> Record {
    record.with("state", state).with("message", message).with("code", 0)
}

fn succeeded(record: Record, ended: Timestamp) -> Record {
    going(record, "success", "Complete: Successful").with("end_time", time(ended))
}

fn failed(record: Record, problem: &Problem) -> Record {
    let number: u32 = problem.code().parse().unwrap_or_default();
    record
        .with("state", "failure")
        .with("message", problem.message())
        .with("code", number)
        .with("error.code", problem.code())
        .with("error.message", problem.message())
}

/// With an offset and without fractions: the official client reads no other form.
pub(super) fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// The request that begins such a job.
fn described(engine: &Engine, job: &JobInfo) -> String {
    let all = engine.keystores();
    // The SVM's enabled one, or the cluster's.
    let of =
        |svm: Option<SvmId>| all.iter().find(|one| one.svm == svm && one.enabled).map_or(Uuid::nil(), |one| one.id);
    match &job.operation {
        JobOperation::RekeyInternal { svm } => {
            format!("POST /api/security/barbican-kms/{}/rekey-internal", of(Some(*svm)))
        }
        JobOperation::Enable { keystore, .. } | JobOperation::Disable { keystore, .. } => {
            format!("PATCH /api/security/key-stores/{keystore}")
        }
        JobOperation::Switch { to, .. } => format!("PATCH /api/security/key-stores/{to}"),
        JobOperation::Migrate { svm, to } => {
            let from = if *to == of(None) { of(Some(*svm)) } else { of(None) };
            format!("POST /api/security/key-managers/{from}/migrate")
        }
        JobOperation::RekeyExternal { keystore, .. } => format!("rekey-external of keystore {keystore}"),
        JobOperation::Restore { svm: Some(svm) } => {
            format!("POST /api/security/barbican-kms/{}/restore", of(Some(*svm)))
        }
        JobOperation::Restore { svm: None } => format!("POST /api/security/key-managers/{}/restore", of(None)),
        _ => "unknown".to_owned(),
    }
}

fn svm_of(operation: &JobOperation) -> Option<SvmId> {
    match operation {
        JobOperation::RekeyInternal { svm }
        | JobOperation::Enable { svm, .. }
        | JobOperation::Switch { svm, .. }
        | JobOperation::Migrate { svm, .. }
        | JobOperation::RekeyExternal { svm, .. }
        | JobOperation::Disable { svm, .. } => Some(*svm),
        JobOperation::Restore { svm } => *svm,
        _ => None,
    }
}

fn change(call: &Call<'_>, query: &mut Query, _: &Body) -> Result<Answer, Problem> {
    let job = found(call)?;
    let action = query.take("action");
    let action = action.as_deref().filter(|action| ACTIONS.contains(action));
    let action = action.ok_or_else(|| codes::invalid("action", "\"action\" must be pause, resume or cancel."))?;
    let engine = &call.service.engine;
    let (is_running, id) = match &job {
        AnyJob::Own(OwnJob { end: Some(_), .. }) => return Err(code::JOB_ENDED.problem()),
        AnyJob::Own(_) => {
            return Err(match action {
                "cancel" => code::JOB_NO_CANCEL.problem(),
                "pause" => code::JOB_NO_PAUSE.problem(),
                _ => code::JOB_RUNNING.problem(),
            });
        }
        AnyJob::Engine(job) => match job.status {
            JobStatus::Running => (true, job.id),
            JobStatus::Interrupted => (false, job.id),
            _ => return Err(code::JOB_ENDED.problem()),
        },
    };
    match (action, is_running) {
        ("pause", true) => Err(code::JOB_NO_PAUSE.problem()),
        ("pause", false) => Err(code::JOB_NOT_RUNNING.problem()),
        ("resume", true) => Err(code::JOB_RUNNING.problem()),
        ("resume", false) => engine.resume_job(id).map(drop).map_err(|error| codes::failed(error.to_string())),
        _ => engine.cancel_job(id).map_err(|error| match error {
            JobError::Ended { .. } => code::JOB_ENDED.problem(),
            error => code::JOB_NO_CANCEL.with(error.to_string()),
        }),
    }?;
    Ok(Answer::changed())
}

static CHANGE: Change = Change {
    exists: |call| found(call).map(drop),
    parameters: &[Parameter { name: "action", kind: Kind::OneOf(ACTIONS), about: "What is to become of the job." }],
    body: None,
    run: change,
    creates: None,
};

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/cluster/jobs",
        summary: "Lists the jobs that wait, run, or ended within 300 seconds.",
        does: Does::List(&RunningJobs),
    },
    Endpoint { method: "GET", path: "/cluster/jobs/{uuid}", summary: "Shows a job.", does: Does::Show(&RunningJobs) },
    Endpoint {
        method: "PATCH",
        path: "/cluster/jobs/{uuid}",
        summary: "Resumes or cancels a job.",
        does: Does::Change(&CHANGE),
    },
];
