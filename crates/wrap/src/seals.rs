//! How many blobs a KEK has sealed, and the nonces it may still use.
//!
//! AES-256-GCM with random 96-bit nonces allows 2^32 seals under one key (NIST SP 800-38D, section 8.3). A count that
//! a crash could set back would break that, so seals are *reserved* durably before they are used: whoever keeps the
//! count in a store writes the higher reservation first and calls [`SealCount::raise`] afterwards. A nonce is a value
//! that can be used once, and only this module makes one: no seal without a reservation.

use std::sync::atomic::{AtomicU64, Ordering};

use rand_core::TryCryptoRng;

use crate::blob::NONCE_LEN;
use crate::random::{self, RandomError};

/// The seals of one KEK. Any thread may call any method at any time.
#[derive(Debug)]
pub struct SealCount {
    used: AtomicU64,
    reserved: AtomicU64,
}

impl SealCount {
    /// Seals that one KEK may make.
    pub const LIMIT: u64 = 1 << 32;

    /// A KEK of which `reserved` seals may have been used already, and which has none left in reserve.
    pub(crate) const fn new(reserved: u64) -> Self {
        Self { used: AtomicU64::new(reserved), reserved: AtomicU64::new(reserved) }
    }

    /// Seals that may be used, or have been: what the durable count says.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Acquire)
    }

    /// Whether so many more seals are reserved.
    #[must_use]
    pub fn has(&self, seals: u64) -> bool {
        self.used.load(Ordering::Acquire).saturating_add(seals) <= self.reserved()
    }

    /// The durable count has been raised to `reserved`. A lower number than before changes nothing, and no number
    /// allows more than [`SealCount::LIMIT`] seals.
    pub fn raise(&self, reserved: u64) {
        self.reserved.fetch_max(reserved.min(Self::LIMIT), Ordering::AcqRel);
    }

    /// The reservation to write durably so that `seals` more can be used, at least `step` above the present one.
    ///
    /// # Errors
    /// [`SealsExhausted`] where fewer than `seals` are left of the 2^32.
    pub fn next_reservation(&self, seals: u64, step: u64) -> Result<u64, SealsExhausted> {
        let used = self.used.load(Ordering::Acquire);
        let needed = used.saturating_add(seals);
        if needed > Self::LIMIT {
            return Err(SealsExhausted { used });
        }
        Ok(needed.max(self.reserved().saturating_add(step)).min(Self::LIMIT))
    }

    fn take(&self, seals: u64) -> Result<(), SealsUnreserved> {
        let within = |used: u64| used.checked_add(seals).filter(|after| *after <= self.reserved());
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, within) {
            Ok(_) => Ok(()),
            Err(_) => Err(SealsUnreserved),
        }
    }

    /// Draws `seals` nonces in one call to the random source, and counts them as used.
    pub(crate) fn nonces<R: TryCryptoRng>(&self, seals: usize, random: &mut R) -> Result<Nonces, NonceError>
    where
        R::Error: Send + Sync + 'static,
    {
        self.take(seals as u64)?;
        let mut bytes = vec![0; seals.saturating_mul(NONCE_LEN)];
        random::fill(random, &mut bytes)?;
        Ok(Nonces { bytes, taken: 0 })
    }
}

/// Fresh nonces of one KEK.
#[derive(Debug)]
pub struct Nonces {
    bytes: Vec<u8>,
    taken: usize,
}

impl Nonces {
    /// The next one.
    ///
    /// # Errors
    /// [`SealsUnreserved`] when all that were drawn are taken.
    pub fn take(&mut self) -> Result<Nonce, SealsUnreserved> {
        let chunk = self.bytes.get(self.taken..).and_then(<[u8]>::first_chunk).ok_or(SealsUnreserved)?;
        self.taken += NONCE_LEN;
        Ok(Nonce(*chunk))
    }
}

/// A nonce that can be used once: it is neither `Clone` nor `Copy`, and a seal takes it.
#[derive(Debug)]
pub struct Nonce(pub(crate) [u8; NONCE_LEN]);

impl Nonce {
    /// A nonce of the caller's choosing, for test vectors. Two seals with one nonce give both keys away.
    #[must_use]
    pub const fn danger_from_bytes(bytes: [u8; NONCE_LEN]) -> Self {
        Self(bytes)
    }
}

/// The KEK has made all the seals that it safely can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the KEK has made {used} of the 4294967296 seals that it safely can; rekey the SVM, then try again")]
pub struct SealsExhausted {
    /// Seals used.
    pub used: u64,
}

/// More seals than are reserved. Raise the reservation durably, then call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no seal of this KEK is reserved")]
pub struct SealsUnreserved;

/// No nonces were drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NonceError {
    /// More seals than are reserved.
    #[error(transparent)]
    Unreserved(#[from] SealsUnreserved),
    /// The random source failed.
    #[error("no nonce was drawn: the random source failed")]
    Random(#[from] RandomError),
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::SystemRandom;

    #[test]
    fn nothing_is_drawn_without_a_reservation() {
        let count = SealCount::new(10);
        assert!(matches!(count.nonces(1, &mut SystemRandom), Err(NonceError::Unreserved(_))));
        count.raise(12);
        let mut nonces = count.nonces(2, &mut SystemRandom).unwrap();
        assert_ne!(nonces.take().unwrap().0, nonces.take().unwrap().0);
        assert_eq!(nonces.take().unwrap_err(), SealsUnreserved);
        assert!(count.nonces(1, &mut SystemRandom).is_err());
    }

    #[test]
    fn reservations_grow_by_the_step_or_by_what_is_needed_and_stop_at_the_limit() {
        let count = SealCount::new(0);
        assert_eq!(count.next_reservation(1, 4096), Ok(4096));
        assert_eq!(count.next_reservation(10_000, 4096), Ok(10_000));
        let near = SealCount::new(SealCount::LIMIT - 2);
        assert_eq!(near.next_reservation(2, 4096), Ok(SealCount::LIMIT));
        assert_eq!(near.next_reservation(3, 4096), Err(SealsExhausted { used: SealCount::LIMIT - 2 }));
    }

    #[test]
    fn a_hundred_thousand_nonces_are_distinct() {
        let count = SealCount::new(0);
        count.raise(100_000);
        let mut seen = HashSet::new();
        for seals in [1, 2, 997, 99_000] {
            let mut nonces = count.nonces(seals, &mut SystemRandom).unwrap();
            seen.extend((0..seals).map(|_| nonces.take().unwrap().0));
            assert_eq!(nonces.take().unwrap_err(), SealsUnreserved);
        }
        assert_eq!(seen.len(), 100_000);
    }

    #[test]
    fn no_reservation_goes_beyond_the_limit() {
        let count = SealCount::new(SealCount::LIMIT - 1);
        count.raise(u64::MAX);
        assert_eq!(count.reserved(), SealCount::LIMIT);
        assert!(count.nonces(2, &mut SystemRandom).is_err());
        assert!(count.nonces(1, &mut SystemRandom).is_ok());
        assert!(count.nonces(1, &mut SystemRandom).is_err());
        assert!(SealCount::new(u64::MAX).next_reservation(1, 1).is_err());
    }

    #[test]
    fn a_lower_reservation_changes_nothing() {
        let count = SealCount::new(7);
        count.raise(9);
        count.raise(8);
        assert_eq!(count.reserved(), 9);
    }

    #[test]
    fn eight_threads_never_use_more_than_is_reserved() {
        let count = SealCount::new(0);
        count.raise(1000);
        let drawn: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| count.nonces(1, &mut SystemRandom).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(drawn, 1000);
    }
}
