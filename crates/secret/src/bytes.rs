//! Bytes in secret memory.

use crate::slab::Slot;
use std::fmt;
use subtle::ConstantTimeEq as _;

/// A secret of fixed length that lies in an arena. Made by [`Arena::bytes`](crate::Arena::bytes).
///
/// Drop wipes the whole slot and gives it back. There is no `Clone` and no `==`; compare with [`ct_eq`](Self::ct_eq).
///
/// ```compile_fail,E0599
/// # use claviger_secret::{Arena, ArenaOptions};
/// # let arena = Arena::new(&ArenaOptions { keys: 1, states: 0, ..ArenaOptions::default() }).unwrap();
/// let key = arena.bytes(32).unwrap();
/// let copy = key.clone();
/// ```
///
/// ```compile_fail,E0369
/// # use claviger_secret::{Arena, ArenaOptions};
/// # let arena = Arena::new(&ArenaOptions { keys: 2, states: 0, ..ArenaOptions::default() }).unwrap();
/// let (a, b) = (arena.bytes(32).unwrap(), arena.bytes(32).unwrap());
/// assert!(a == b);
/// ```
pub struct SecretBytes {
    slot: Slot,
}

impl SecretBytes {
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot }
    }

    /// The secret.
    #[must_use]
    #[inline]
    pub fn expose(&self) -> &[u8] {
        self.slot.bytes()
    }

    /// The secret, to fill in or change.
    #[must_use]
    #[inline]
    pub fn expose_mut(&mut self) -> &mut [u8] {
        self.slot.bytes_mut()
    }

    /// The length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether the length is 0.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the secret equals `other`, in a time that depends on the two lengths only.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.expose().ct_eq(other).into()
    }
}

/// Prints `SecretBytes(..)`.
impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}
