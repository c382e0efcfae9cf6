//! One request, as handlers see it.

use std::collections::BTreeMap;
use std::time::Instant;

use uuid::Uuid;

use crate::codes;
use crate::conventions::accept::Accept;
use crate::conventions::links::BASE;
use crate::problem::Problem;
use crate::service::Service;

/// A request whose path is known.
pub(crate) struct Call<'a> {
    pub(crate) service: &'a Service,
    pub(crate) accept: Accept,
    pub(crate) method: &'static str,
    /// What stands in the path's braces, decoded.
    pub(crate) params: BTreeMap<String, String>,
    /// The path and the query as they came.
    pub(crate) uri: String,
    /// Until when keepers may be waited for.
    pub(crate) deadline: Instant,
}

impl<'a> Call<'a> {
    /// The same, with another limit.
    pub(crate) fn until(&self, deadline: Instant) -> Call<'a> {
        Call { params: self.params.clone(), uri: self.uri.clone(), deadline, ..*self }
    }

    /// A UUID of the path. What is none names nothing.
    pub(crate) fn uuid(&self, name: &str) -> Result<Uuid, Problem> {
        let text = self.params.get(name).map(String::as_str).unwrap_or_default();
        // The contract knows one spelling.
        let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH);
        uuid.ok_or_else(codes::missing_entry)
    }

    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The address as it was asked for.
    pub(crate) fn address(&self) -> String {
        self.uri.clone()
    }

    /// Its path.
    pub(crate) fn path(&self) -> &str {
        self.uri.split_once('?').map_or(self.uri.as_str(), |(path, _)| path)
    }

    /// `POST /api/…`, as a job describes what began it.
    pub(crate) fn described(&self) -> String {
        let path = self.path();
        format!("{} {}", self.method, path.strip_suffix('/').unwrap_or(path))
    }
}

/// The path of an instance below the API's base.
pub(crate) fn instance(collection: &str, id: impl std::fmt::Display) -> String {
    format!("{BASE}{collection}/{id}")
}
