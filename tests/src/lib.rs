//! Whole-system tests; what they and the tests of the other packages share; and the examples of the README and the book,
//! which compile and run as they stand there.
#![forbid(unsafe_code)]

pub mod barbican_victim;
mod forms;
pub mod heard;
pub mod openstack;
pub mod secrets;

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The book's page on embedding.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
pub struct Embedding;
