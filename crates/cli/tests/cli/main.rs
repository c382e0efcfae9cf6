//! The binary, as an operator or a script uses it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod backup;
mod barbican;
mod damage;
mod help;
mod keystores;
mod kill;
mod locking;
mod passphrases;
mod quickstart;
mod refusals;
mod remote;
mod rollback;
mod secrecy;
mod service;
mod store;
mod story;
mod support;
mod verify;
