//! The REST API in process: a router over an engine in memory, and what its clients rely on.
//!
//! "Conventions" and a section are those of the contract that `docs/rest.md` names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod codes;
mod conventions;
mod documents;
mod resources;
mod secrets;
mod shapes;
mod support;
