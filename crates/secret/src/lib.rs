//! Memory for keys: locked, left out of core dumps and children, wiped when given back.
//!
//! An [`Arena`] reserves its memory once and hands out fixed slots of it: 64 bytes for a key ([`SecretBytes`]),
//! 1,024 bytes for an expanded key schedule ([`Guarded`]). Taking, filling and returning a slot costs some tens of
//! nanoseconds; a mapping per key would cost ten thousand and more.
//!
//! ```
//! use claviger_secret::{Arena, ArenaOptions};
//!
//! let arena = Arena::new(&ArenaOptions { keys: 1_000, states: 10, ..ArenaOptions::default() })?;
//! let mut key = arena.bytes(32)?;
//! key.expose_mut().copy_from_slice(&[7; 32]);
//! assert!(key.ct_eq(&[7; 32]));
//! assert_eq!(format!("{key:?}"), "SecretBytes(..)");
//! println!("key memory: {}", arena.protection());
//! # Ok::<(), claviger_secret::ArenaError>(())
//! ```
//!
//! # What protects a key
//!
//! A slab is one mapping, of the strongest [`Protection`] that the kernel grants: `memfd_secret` pages, which the
//! kernel itself and debuggers cannot read; else locked memory; else ordinary memory, if [`ArenaOptions::accept`]
//! allows it. No kind is in a core dump. When a slab is full, the arena adds one of the next weaker kind, again only
//! if `accept` allows it; [`Arena::protection`] and [`Arena::usage`] report what was really obtained.
//!
//! # Children
//!
//! A slab is not inherited over `fork`, and an inaccessible mapping takes its place: a child that touches an
//! inherited secret dies by SIGSEGV. Wiping the slab in the child (`MADV_WIPEONFORK`) would be worse: the child would
//! read the key as zeros and encrypt data under it. Dropping an inherited secret does nothing, asking an inherited
//! arena for memory gives [`ArenaError::Forked`], and a child may make an arena of its own. This rests on
//! `pthread_atfork(3)`; a child made by a bare `clone` system call has no replacement mapping and must only `exec`.
//!
//! # Copies outside the arena
//!
//! Cryptographic code leaves copies of keys in vector registers and on the stack. [`burned`] clears both, once around each
//! use of a key or around many. General-purpose registers are not cleared, and neither are copies that a caller makes
//! elsewhere.
//!
//! This crate is the only one of the workspace with `unsafe` code.

mod arena;
mod bytes;
mod clear;
mod error;
mod fork;
mod guarded;
mod map;
mod protection;
mod slab;
#[cfg(feature = "testing")]
pub mod testing;
mod usage;

pub use arena::{Arena, ArenaOptions};
pub use bytes::SecretBytes;
pub use clear::{Burning, burned};
pub use error::{ArenaError, Refusal};
pub use guarded::Guarded;
pub use protection::Protection;
pub use slab::SlotKind;
pub use usage::{SlabUsage, SlotUsage, Usage};
