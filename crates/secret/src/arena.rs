//! The arena: slabs of falling protection, and the way from one to the next.

use crate::slab::{Layout, Slab, Slot};
use crate::{ArenaError, Guarded, Protection, Refusal, SecretBytes, SlabUsage, SlotKind, Usage, burned};
use std::fmt;
use std::iter;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How large an arena is, and how weak its memory may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaOptions {
    /// Slots of 64 bytes, in each slab. Default: 100,000.
    pub keys: usize,
    /// Slots of 1,024 bytes, in each slab. Default: 1,000.
    pub states: usize,
    /// The weakest protection to settle for, at the start and when a slab is full. Default: [`Protection::Mlock`].
    pub accept: Protection,
}

/// One slab takes 7.4 MB: less than the usual limit of locked memory, 8 MiB.
impl Default for ArenaOptions {
    fn default() -> Self {
        Self { keys: 100_000, states: 1_000, accept: Protection::Mlock }
    }
}

/// Memory for keys. A clone is another handle on the same memory, and so is every secret taken from it.
#[derive(Clone)]
pub struct Arena {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    first: Arc<Slab>,
    /// The kinds of memory that are accepted and weaker than the first slab's, strongest first.
    overflow: Vec<Overflow>,
    /// The stronger kinds, refused at the start.
    refused: Vec<Refusal>,
    /// Held while a slab is added.
    growth: Mutex<()>,
}

/// A place for one more slab, used once all stronger ones are full.
struct Overflow {
    protection: Protection,
    slab: OnceLock<Arc<Slab>>,
    /// Why the kernel refused it the last time; 0 if it was never asked.
    errno: AtomicI32,
}

impl Arena {
    /// Reserves one slab of the strongest memory that the kernel grants.
    ///
    /// # Errors
    /// [`ArenaError::Refused`] if it grants none that `options.accept` allows, [`ArenaError::TooLarge`].
    pub fn new(options: &ArenaOptions) -> Result<Self, ArenaError> {
        let accept = options.accept;
        let layout = Layout::new(options)?;
        let [mut protection, weaker @ ..] = Protection::STRONGEST_FIRST;
        let mut accepted = weaker.into_iter().take_while(|weaker| *weaker >= accept);
        let mut refused = Vec::new();
        let first = loop {
            let refusal = match Slab::new(protection, &layout) {
                Ok(slab) => break slab,
                Err(refusal) => refusal,
            };
            let Some(next) = accepted.next() else {
                let obtainable = weaker.into_iter().find(|kind| *kind < accept && Slab::new(*kind, &layout).is_ok());
                return Err(ArenaError::Refused { accept, obtainable, bytes: layout.len(), source: refusal });
            };
            refused.push(refusal);
            protection = next;
        };
        let overflow = accepted.map(Overflow::new).collect();
        let inner = Inner { layout, first: Arc::new(first), overflow, refused, growth: Mutex::new(()) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The weakest protection of any slab of this arena: what its secrets can count on.
    ///
    /// It falls when a slab is full and a weaker one is added, and does not rise again.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.inner.weakest().protection()
    }

    /// How full the arena is, of what it is made, and what was refused. Never waits for another thread.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let slabs: Vec<_> = self
            .inner
            .slabs()
            .map(|slab| SlabUsage {
                protection: slab.protection(),
                keys: slab.usage(SlotKind::Key),
                states: slab.usage(SlotKind::State),
            })
            .collect();
        Usage {
            keys: slabs.iter().map(|slab| slab.keys).sum(),
            states: slabs.iter().map(|slab| slab.states).sum(),
            slabs,
            refused: self.inner.refused(),
        }
    }

    /// Takes room for `len` bytes, 0 to 1,024, filled with zeros: a 64-byte slot where it suffices, else one of 1,024.
    ///
    /// # Errors
    /// [`ArenaError::Full`], [`ArenaError::TooLong`], [`ArenaError::Forked`].
    #[inline]
    pub fn bytes(&self, len: usize) -> Result<SecretBytes, ArenaError> {
        self.take(len).map(SecretBytes::new)
    }

    /// Makes a value, such as an expanded key schedule, and moves it into a slot. What `make` leaves on the stack and
    /// in vector registers is cleared, as by [`burned`].
    ///
    /// Capture keys in `make` by reference: what it captures by value lies in the caller's frame.
    ///
    /// A type longer than 1,024 bytes, or aligned to more than 64, does not compile:
    ///
    /// ```compile_fail,E0080
    /// # use claviger_secret::{Arena, ArenaOptions};
    /// # let arena = Arena::new(&ArenaOptions { keys: 1, states: 1, ..ArenaOptions::default() }).unwrap();
    /// let schedule = arena.build(|| [0u8; 1025]);
    /// ```
    ///
    /// # Errors
    /// [`ArenaError::Full`], [`ArenaError::Forked`]; `make` is not called then.
    pub fn build<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Result<Guarded<T>, ArenaError> {
        let slot = self.take(size_of::<T>())?;
        Ok(burned(|_| Guarded::new(slot, make)))
    }

    #[inline]
    fn take(&self, len: usize) -> Result<Slot, ArenaError> {
        if self.inner.first.is_inherited() {
            return Err(ArenaError::Forked);
        }
        let kind = SlotKind::holding(len)?;
        self.inner.take(kind, len).map_or_else(|| self.inner.grow(kind, len), Ok)
    }
}

/// Prints protection and usage.
impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("protection", &self.protection()).field("usage", &self.usage()).finish()
    }
}

impl Inner {
    fn slabs(&self) -> impl Iterator<Item = &Arc<Slab>> {
        iter::once(&self.first).chain(self.overflow.iter().filter_map(|place| place.slab.get()))
    }

    fn weakest(&self) -> &Slab {
        self.overflow.iter().rev().find_map(|place| place.slab.get()).unwrap_or(&self.first)
    }

    fn refused(&self) -> Vec<Refusal> {
        self.refused.iter().copied().chain(self.overflow.iter().filter_map(Overflow::refusal)).collect()
    }

    /// Takes a slot of the strongest slab that has one free.
    #[inline]
    fn take(&self, kind: SlotKind, len: usize) -> Option<Slot> {
        self.slabs().find_map(|slab| slab.take(kind, len))
    }

    /// Adds a slab of the next weaker kind that the kernel grants, and takes a slot of it.
    #[cold]
    fn grow(&self, kind: SlotKind, len: usize) -> Result<Slot, ArenaError> {
        let _growing = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have grown the arena, or returned a slot.
        if let Some(slot) = self.take(kind, len) {
            return Ok(slot);
        }
        let capacity = self.slabs().map(|slab| slab.usage(kind).capacity).sum();
        let weakest = self.weakest().protection();
        let mut refusal = None;
        // Without slots of this kind in the first slab, the next would have none either.
        let places = self.overflow.iter().filter(|place| capacity > 0 && place.protection < weakest);
        for place in places {
            match Slab::new(place.protection, &self.layout) {
                Ok(slab) => {
                    let slab = Arc::new(slab);
                    let slot = slab.take(kind, len);
                    // Only now can other threads take its slots.
                    place.slab.get_or_init(|| slab);
                    if let Some(slot) = slot {
                        return Ok(slot);
                    }
                }
                Err(refused) => {
                    place.errno.store(refused.errno(), Ordering::Relaxed);
                    refusal = Some(refused);
                }
            }
        }
        Err(ArenaError::Full { what: kind, capacity, refusal })
    }
}

impl Overflow {
    fn new(protection: Protection) -> Self {
        Self { protection, slab: OnceLock::new(), errno: AtomicI32::new(0) }
    }

    fn refusal(&self) -> Option<Refusal> {
        let errno = self.errno.load(Ordering::Relaxed);
        (errno != 0 && self.slab.get().is_none()).then(|| Refusal::new(self.protection, errno))
    }
}
