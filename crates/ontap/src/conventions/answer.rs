//! How a change is answered: at once, or with a job (conventions, section 6).

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::links::relation;
use crate::call::instance;
use crate::jobs::Begun;

/// What came of a change.
pub(crate) struct Answer {
    pub(crate) did: Did,
    /// The path of what was made, or is meant.
    pub(crate) location: Option<String>,
    /// The job that does it; none where it is done.
    pub(crate) job: Option<Begun>,
}

/// What kind of change it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// Something was made, or an action was done.
    Created,
    /// Something was changed or deleted.
    Changed,
}

impl Did {
    /// The status of the answer when all is done.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Created => StatusCode::CREATED,
            Self::Changed => StatusCode::OK,
        }
    }
}

impl Answer {
    /// Something was made, and can be had there.
    pub(crate) const fn created(location: String) -> Self {
        Self { did: Did::Created, location: Some(location), job: None }
    }

    /// An action is done.
    pub(crate) const fn acted() -> Self {
        Self { did: Did::Created, location: None, job: None }
    }

    /// Something was changed or deleted.
    pub(crate) const fn changed() -> Self {
        Self { did: Did::Changed, location: None, job: None }
    }

    /// The same, and a job does it.
    pub(crate) fn by(mut self, job: Begun) -> Self {
        self.job = Some(job);
        self
    }

    /// The same, with the path of what is meant.
    pub(crate) fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }
}

/// The body that names a job: with its link in every case, which the official client needs.
pub(crate) fn naming(job: &Begun) -> Map<String, Value> {
    let id = job.id();
    let href = instance("/cluster/jobs", id);
    Map::from_iter([("job".to_owned(), json!({ "uuid": id, "_links": { "self": relation(href) } }))])
}
