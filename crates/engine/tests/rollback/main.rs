//! An older copy of the store, put in the place of the newest, is noticed when it is opened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod changes;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod node;
mod unanswered;
