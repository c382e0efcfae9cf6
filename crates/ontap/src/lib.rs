//! The ONTAP key-management REST API over a [`claviger::Engine`]: it translates, and decides nothing.
//!
//! Existing ONTAP clients talk to it. [`router`] is an [`axum::Router`] that a daemon serves; who calls comes as a [`Caller`] in the
//! request's extensions, and what a request asked for leaves as an [`Audited`] in the response's.
#![forbid(unsafe_code)]

mod audited;
mod caller;
mod problem;

pub use audited::Audited;
pub use caller::{Caller, Role};
pub use problem::Problem;
