//! The table of endpoints: the router, the OpenAPI document and the answers to OPTIONS all follow it.

use crate::call::Call;
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::query::Query;
use crate::problem::Problem;
use crate::resource::Resource;
use crate::resources;
use crate::schema::Schema;

/// One method of one path.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    /// Below the API's base; parts in braces are parameters.
    pub(crate) path: &'static str,
    /// One sentence.
    pub(crate) summary: &'static str,
    pub(crate) does: Does,
}

/// What an endpoint does.
pub(crate) enum Does {
    /// Lists a collection.
    List(&'static dyn Resource),
    /// Shows one record.
    Show(&'static dyn Resource),
    /// Changes one thing, or makes one.
    Change(&'static Change),
    /// Does with each record of a collection what its instance's endpoint does.
    Each { resource: &'static dyn Resource, change: &'static Change, key: &'static str },
    /// Its keeper is not built in; the reason may depend on the path.
    Nothing(fn(&Call<'_>) -> Problem),
}

/// A request that changes something. What it needs is checked in this order: the path, the query, the body, and then its own rules.
pub(crate) struct Change {
    /// Refuses a path that names nothing.
    pub(crate) exists: fn(&Call<'_>) -> Result<(), Problem>,
    /// Parameters beside those that every change has.
    pub(crate) parameters: &'static [Parameter],
    pub(crate) body: Option<(&'static Schema, Verb)>,
    pub(crate) run: fn(&Call<'_>, &mut Query, &Body) -> Result<Answer, Problem>,
    /// What a creation makes: shown with `return_records`.
    pub(crate) creates: Option<&'static dyn Resource>,
}

/// A parameter of the query.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: crate::schema::Kind,
    pub(crate) about: &'static str,
}

/// Every endpoint.
pub(crate) fn all() -> impl Iterator<Item = &'static Endpoint> {
    resources::TABLES.iter().copied().flatten()
}

/// For what is not below a path that must exist.
pub(crate) fn always(_: &Call<'_>) -> Result<(), Problem> {
    Ok(())
}
