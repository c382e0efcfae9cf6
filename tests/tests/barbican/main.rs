//! The whole engine over a real Keystone and a real Barbican, over TLS: what they do to it, and what happens to it meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod brief_tokens;
mod cold_start;
mod fleet;
mod kills;
mod moves;
mod packets;
mod refusals;
mod rekeys;
#[path = "../support/mod.rs"]
mod support;
mod ways;
