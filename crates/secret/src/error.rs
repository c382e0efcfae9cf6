//! What can go wrong with key memory.

use crate::{Protection, SlotKind};
use std::io;
use thiserror::Error;

/// Why an arena could not be made, or gave no memory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArenaError {
    /// All slots of the wanted kind are in use, and no further slab could be had.
    #[error(
        "all {capacity} {what} of the arena are in use: drop keys that are not needed, raise `ArenaOptions::{option}`, \
         or {advice}",
        option = what.option(),
        advice = .refusal.map_or("accept a weaker protection, if there is one", Refusal::advice)
    )]
    Full {
        /// The kind of slot that was wanted.
        what: SlotKind,
        /// How many of them the arena has, all in use.
        capacity: usize,
        /// Why the weakest accepted kind of memory was not added, if it was tried.
        #[source]
        refusal: Option<Refusal>,
    },

    /// A secret does not fit in a slot.
    #[error("a secret of {len} bytes does not fit: the arena holds at most {max}; split it, or keep it elsewhere")]
    TooLong {
        /// The wanted length, in bytes.
        len: usize,
        /// The longest possible one, in bytes.
        max: usize,
    },

    /// The kernel granted no memory of the accepted protection.
    #[error(
        "no key memory with {accept} protection or better ({bytes} bytes; the best to be had is {best}): {advice}, \
         ask for fewer slots, or accept a weaker protection",
        best = .obtainable.map_or("none", Protection::as_str),
        advice = .source.advice()
    )]
    Refused {
        /// The weakest protection that the options accept.
        accept: Protection,
        /// The strongest protection that can be had now, if any: weaker than `accept`.
        obtainable: Option<Protection>,
        /// The size of the slab that was wanted.
        bytes: usize,
        /// Why the weakest accepted kind was refused. The stronger kinds were refused before.
        source: Refusal,
    },

    /// The options ask for more slots than can be addressed.
    #[error("an arena of {keys} key slots and {states} state slots cannot be addressed: ask for fewer")]
    TooLarge {
        /// The wanted number of key slots.
        keys: usize,
        /// The wanted number of state slots.
        states: usize,
    },

    /// The arena belongs to the parent process.
    #[error("this arena belongs to the process that forked this one: make a new arena here")]
    Forked,
}

/// That the kernel refused one kind of memory, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{protection} was refused: {}", self.cause())]
pub struct Refusal {
    protection: Protection,
    errno: i32,
}

impl Refusal {
    pub(crate) const fn new(protection: Protection, errno: i32) -> Self {
        Self { protection, errno }
    }

    /// The kind of memory that was refused.
    #[must_use]
    pub const fn protection(self) -> Protection {
        self.protection
    }

    /// The kernel's answer.
    #[must_use]
    pub fn cause(self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    pub(crate) const fn errno(self) -> i32 {
        self.errno
    }

    /// What would make the kernel grant it: an imperative clause without a full stop.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match (self.protection, self.errno) {
            (Protection::Unlocked, _) => "free some memory",
            (Protection::MemfdSecret, libc::ENOSYS | libc::EPERM) => {
                "use Linux 5.14 or newer (before 6.5 with `secretmem.enable=1`) and let seccomp allow memfd_secret"
            }
            (Protection::MemfdSecret, libc::EMFILE | libc::ENFILE) => "raise the limit of open files",
            (Protection::MemfdSecret | Protection::Mlock, _) => {
                "raise the limit of locked memory (`LimitMEMLOCK=` of the systemd unit, or `ulimit -l`)"
            }
        }
    }
}
