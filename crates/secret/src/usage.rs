//! What an arena reports to an operator.

use crate::{Protection, Refusal};

/// How full an arena is, and of what it is made. Made by [`Arena::usage`](crate::Arena::usage).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The 64-byte slots of all slabs.
    pub keys: SlotUsage,
    /// The 1,024-byte slots of all slabs.
    pub states: SlotUsage,
    /// The slabs, strongest protection first.
    pub slabs: Vec<SlabUsage>,
    /// The accepted kinds of memory that the kernel refused, when the arena was made or when it had to grow.
    pub refused: Vec<Refusal>,
}

/// How full one slab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlabUsage {
    /// The protection that the kernel granted.
    pub protection: Protection,
    /// Its 64-byte slots.
    pub keys: SlotUsage,
    /// Its 1,024-byte slots.
    pub states: SlotUsage,
}

/// How many slots are in use, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotUsage {
    /// Slots in use.
    pub used: usize,
    /// All slots.
    pub capacity: usize,
}

impl std::iter::Sum for SlotUsage {
    fn sum<I: Iterator<Item = Self>>(slabs: I) -> Self {
        slabs.fold(Self::default(), |sum, slab| Self {
            used: sum.used + slab.used,
            capacity: sum.capacity + slab.capacity,
        })
    }
}
