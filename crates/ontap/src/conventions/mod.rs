//! What all of the API has in common, each convention once (conventions, sections 1 to 8).

pub(crate) mod accept;
pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod collection;
pub(crate) mod fields;
pub(crate) mod filter;
pub(crate) mod links;
pub(crate) mod order;
pub(crate) mod position;
pub(crate) mod query;
pub(crate) mod references;
