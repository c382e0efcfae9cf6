//! The service over real TLS on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, unreachable_pub)]

mod audit;
mod limits;
mod logins;
mod probes;
mod stopping;
mod support;
mod tls;
