//! `/svm/svms`: the data SVMs.

use claviger::{SvmId, SvmInfo};

use crate::call::{Call, instance};
use crate::codes;
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint, always};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row, few};
use crate::schema::{Field, Kind, Link, Schema};

const COLLECTION: &str = "/svm/svms";

static SCHEMA: Schema = Schema {
    name: "svm",
    fields: &[
        Field::key("uuid", Kind::Text, "The SVM's UUID."),
        Field::key("name", Kind::Text, "Its name.").post(),
        Field::standard("state", Kind::OneOf(&["running"]), "Whether it serves."),
        Field::standard("subtype", Kind::OneOf(&["default"]), "What kind of SVM it is."),
    ],
    lists: &[],
    links: &[Link { object: "", href: "/svm/svms/{uuid}" }],
};

struct Svms;

impl Resource for Svms {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, call: &Call<'_>, _: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let data = call.service.engine.svms().into_iter().filter(|svm| !svm.is_admin());
        Ok(few(data, |svm| svm.id().to_string(), after, limit, |svm| Some(record(svm))))
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        found(call).map(|svm| record(&svm))
    }
}

fn found(call: &Call<'_>) -> Result<SvmInfo, Problem> {
    let id = SvmId::from(call.uuid("uuid")?);
    let svm = call.service.engine.svm(id).ok().filter(|svm| !svm.is_admin());
    svm.ok_or_else(codes::missing_entry)
}

fn record(svm: &SvmInfo) -> Record {
    Record::new()
        .with("uuid", svm.id().to_string())
        .with_some("name", svm.name().map(ToString::to_string))
        .with("state", "running")
        .with("subtype", "default")
}

fn create(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let name = body.required("name")?;
    let name = name.parse().map_err(|error: claviger::InvalidSvmName| codes::invalid("name", error.to_string()))?;
    let svm = call.service.engine.create_svm(&name).map_err(|error| codes::of_svm(&error))?;
    let job = call.service.jobs.done(call.described(), Some(svm.id()));
    Ok(Answer::created(instance(COLLECTION, svm.id())).by(job))
}

fn delete(call: &Call<'_>, _: &mut Query, _: &Body) -> Result<Answer, Problem> {
    let svm = found(call)?;
    call.service.engine.delete_svm(svm.id()).map_err(|error| codes::of_svm(&error))?;
    // The SVM is gone, so the job is nobody's.
    Ok(Answer::changed().by(call.service.jobs.done(call.described(), None)))
}

static CREATE: Change =
    Change { exists: always, parameters: &[], body: Some((&SCHEMA, Verb::Post)), run: create, creates: Some(&Svms) };

static DELETE: Change =
    Change { exists: |call| found(call).map(drop), parameters: &[], body: None, run: delete, creates: None };

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { method: "GET", path: COLLECTION, summary: "Lists the data SVMs.", does: Does::List(&Svms) },
    Endpoint { method: "POST", path: COLLECTION, summary: "Makes a data SVM.", does: Does::Change(&CREATE) },
    Endpoint { method: "GET", path: "/svm/svms/{uuid}", summary: "Shows an SVM.", does: Does::Show(&Svms) },
    Endpoint {
        method: "DELETE",
        path: "/svm/svms/{uuid}",
        summary: "Deletes a data SVM that has no volumes, keys and keystores.",
        does: Does::Change(&DELETE),
    },
];
