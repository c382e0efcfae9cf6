//! Benchmarks. Every case is measured beside a named baseline in the same run, and the ratio is printed.
//!
//! A machine's speed changes from one minute to the next, so two times taken one after the other say little. Here the
//! cases of a [`Report::compare`] take turns, a few milliseconds each, and what slows one slows the others.
//! `docs/performance.md` has the numbers.
#![forbid(unsafe_code)]

mod hierarchy;
mod memory;
mod report;

pub use hierarchy::{Hierarchy, PAGE, create_all, record_of};
pub use memory::resident;
pub use report::{Aim, Case, Report};
