//! Ordered tables of small records, kept so that what was acknowledged is never lost.
//!
//! [`Store`] is one of claviger's two joints: an embedder that already has a replicated database implements these four
//! methods over it and runs the `conformance` suite (the feature of that name) against the result. On a node's own disk
//! there are [`SledStore`], the default, and [`RedbStore`]; [`StoreKind`] chooses between them, and [`open_store`] opens
//! whichever is there. [`MemoryStore`] serves tests and short-lived hierarchies. What
//! lies over a store is tested with the feature `faults`: a store in which the process dies at a chosen write.
//!
//! A store neither reads nor protects what it keeps: records are sealed before they come here.
//!
//! ```
//! use claviger_store::{Batch, Expect, MemoryStore, Store, StoreError, Table};
//!
//! # fn main() -> Result<(), StoreError> {
//! let store = MemoryStore::default();
//! let create = || Batch::new().require(Table::Svms, *b"vs0", Expect::Absent).put(Table::Svms, *b"vs0", *b"one");
//! store.commit(create())?;
//! assert!(matches!(store.commit(create()), Err(StoreError::Conflict { .. })));
//! assert_eq!(store.get(Table::Svms, b"vs0")?.as_deref(), Some(&b"one"[..]));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod local;
mod memory;
mod redb_store;
mod sled_store;
mod store;
mod table;
mod turn;

pub use batch::{Batch, Change, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_RECORD_BYTES, Operations};
pub use error::{OpenError, StoreError};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use local::fuzzing;
pub use local::{StoreKind, StoreOptions, UnknownStoreKind, open_store, open_store_copy, open_store_copy_locked};
pub use memory::MemoryStore;
pub use redb_store::RedbStore;
pub use sled_store::SledStore;
pub use store::{Entry, Expect, Expectation, Outcome, Replacement, Store};
pub use table::Table;
