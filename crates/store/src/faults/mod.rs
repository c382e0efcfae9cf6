//! Faults on purpose: a store in which the process "dies" at a chosen write, to test what lies over it.
//!
//! [`FaultyStore`] wraps any store and reports each of its writes to a [`FaultClock`] as an [`Event`]. A clock that only
//! counts tells which events a scenario has; [`Event::strikes`] tells what can befall each of them; and a run of the
//! scenario for each of these, with a clock that strikes there, shows whether it survives them all. Other parties that a
//! process depends on, such as a key server, report their calls to the same clock by [`FaultClock::call`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use claviger_store::faults::{FaultClock, FaultyStore, Strike};
//! use claviger_store::{Batch, MemoryStore, Store, Table};
//!
//! // Moves a record; the new one must be there before the old one goes.
//! let scenario = |store: &dyn Store| {
//!     store.commit(Batch::new().put(Table::Svms, *b"new", *b"record"))?;
//!     store.commit(Batch::new().delete(Table::Svms, *b"old"))
//! };
//! let disk = || {
//!     let disk = MemoryStore::default();
//!     disk.commit(Batch::new().put(Table::Svms, *b"old", *b"record")).unwrap();
//!     Arc::new(disk)
//! };
//!
//! let counting = FaultClock::counting();
//! scenario(&FaultyStore::over(disk(), counting.clone())).unwrap();
//! for (at, event) in counting.events().into_iter().enumerate() {
//!     for strike in event.strikes() {
//!         let disk = disk();
//!         let clock = FaultClock::striking([(at, strike)]);
//!         let ended = scenario(&FaultyStore::over(disk.clone(), clock.clone()));
//!         assert!(ended.is_err() && clock.is_dead() == matches!(strike, Strike::Crash(_)));
//!         // After the restart:
//!         assert!(!disk.scan(Table::Svms, b"", None, 2).unwrap().is_empty(), "lost by {strike:?} at {event:?} {at}");
//!     }
//! }
//! ```

mod clock;
mod store;
mod strike;

pub use clock::{FaultClock, Struck};
pub use store::FaultyStore;
pub use strike::{Crash, Event, Failure, Strike, Tear};
