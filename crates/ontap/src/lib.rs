//! The ONTAP key-management REST API over a [`claviger::Engine`]: it translates, and decides nothing.
//!
//! Existing ONTAP clients talk to it. [`router`] is an [`axum::Router`] that a daemon serves; who calls comes as a [`Caller`] in the
//! request's extensions, and what a request asked for leaves as an [`Audited`] in the response's.
#![forbid(unsafe_code)]

mod audited;
mod call;
mod caller;
mod codes;
mod conventions;
mod dispatch;
mod endpoint;
mod jobs;
mod openapi;
mod page;
mod probes;
mod problem;
mod record;
mod resource;
mod resources;
mod router;
mod schema;
mod service;

pub use audited::Audited;
pub use caller::{Caller, Role};
pub use codes::{Entry, Reach, table as codes};
pub use openapi::openapi;
pub use problem::Problem;
pub use router::router;
pub use service::Service;
