//! A slab: one mapping, cut into slots.
#![allow(unsafe_code)]

use crate::map::Map;
use crate::{ArenaError, ArenaOptions, Protection, Refusal, SlotUsage};
use std::fmt;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroize as _;

/// The two kinds of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// 64 bytes: the longest key there is, two AES-256 keys for XTS.
    Key,
    /// 1,024 bytes: an expanded key schedule, or a long passphrase.
    State,
}

impl SlotKind {
    /// The longest secret that fits in any slot, in bytes.
    pub(crate) const MAX: usize = Self::State.size();

    /// Bytes in a slot. Slots are aligned to [`Self::Key`]'s size.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Key => 64,
            Self::State => 1024,
        }
    }

    /// The smallest kind that holds `len` bytes.
    pub(crate) fn holding(len: usize) -> Result<Self, ArenaError> {
        [Self::Key, Self::State]
            .into_iter()
            .find(|kind| len <= kind.size())
            .ok_or(ArenaError::TooLong { len, max: Self::MAX })
    }

    /// The field of [`ArenaOptions`] that says how many there are.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::State => "states",
        }
    }
}

impl fmt::Display for SlotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key slots",
            Self::State => "state slots",
        })
    }
}

/// Where the slots of a slab lie: the states first, then the keys. In bytes from the start of the slab.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    states_end: usize,
    keys_end: usize,
}

impl Layout {
    pub(crate) fn new(options: &ArenaOptions) -> Result<Self, ArenaError> {
        let &ArenaOptions { keys, states, accept: _ } = options;
        let layout = || {
            let states_end = states.checked_mul(SlotKind::State.size())?;
            let keys_end = keys.checked_mul(SlotKind::Key.size())?.checked_add(states_end)?;
            isize::try_from(keys_end).is_ok().then_some(Self { states_end, keys_end })
        };
        layout().ok_or(ArenaError::TooLarge { keys, states })
    }

    /// The length of a slab, at least 1.
    pub(crate) fn len(&self) -> usize {
        self.keys_end.max(1)
    }
}

/// One mapping and the account of its slots.
pub(crate) struct Slab {
    map: Map,
    protection: Protection,
    states: Region,
    keys: Region,
}

impl Slab {
    pub(crate) fn new(protection: Protection, layout: &Layout) -> Result<Self, Refusal> {
        let &Layout { states_end, keys_end } = layout;
        Ok(Self {
            map: Map::new(protection, layout.len()).map_err(|errno| Refusal::new(protection, errno.raw_os_error()))?,
            protection,
            states: Region::new(SlotKind::State, 0..states_end),
            keys: Region::new(SlotKind::Key, states_end..keys_end),
        })
    }

    pub(crate) fn protection(&self) -> Protection {
        self.protection
    }

    pub(crate) fn usage(&self, kind: SlotKind) -> SlotUsage {
        self.region(kind).usage()
    }

    /// Takes a slot, all zeros, of which the first `len` bytes are to be used.
    #[inline]
    pub(crate) fn take(self: &Arc<Self>, kind: SlotKind, len: usize) -> Option<Slot> {
        let at = self.region(kind).take()?;
        // SAFETY: the region lies within the mapping.
        let start = unsafe { self.map.start().add(at) };
        Some(Slot { slab: Arc::clone(self), start, len: len.min(kind.size()) })
    }

    /// Whether the slab belongs to the parent process: then it is not there, and must not be touched.
    pub(crate) fn is_inherited(&self) -> bool {
        self.map.is_inherited()
    }

    fn region(&self, kind: SlotKind) -> &Region {
        match kind {
            SlotKind::Key => &self.keys,
            SlotKind::State => &self.states,
        }
    }
}

/// All slots of one kind. A slot is named by where it starts, in bytes from the start of the slab.
struct Region {
    kind: SlotKind,
    bounds: Range<usize>,
    /// Changed under the lock of `free` only; read without it, by those who must not wait.
    used: AtomicUsize,
    free: Mutex<Free>,
}

struct Free {
    /// The first slot that was never taken; so are all after it.
    fresh: usize,
    /// Slots that came back. Made large enough for all, so that returning one allocates nothing.
    returned: Vec<usize>,
}

impl Region {
    fn new(kind: SlotKind, bounds: Range<usize>) -> Self {
        let free = Free { fresh: bounds.start, returned: Vec::with_capacity(bounds.len() / kind.size()) };
        Self { kind, bounds, used: AtomicUsize::new(0), free: Mutex::new(free) }
    }

    #[inline]
    fn take(&self) -> Option<usize> {
        let mut free = self.lock();
        // The last one back first: its page is in memory, and its cache line may be near.
        let at = free.returned.pop().or_else(|| {
            let fresh = free.fresh;
            (fresh < self.bounds.end).then(|| {
                free.fresh += self.kind.size();
                fresh
            })
        })?;
        self.used.store(self.used.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(at)
    }

    fn put_back(&self, at: usize) {
        let mut free = self.lock();
        free.returned.push(at);
        self.used.store(self.used.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    fn usage(&self) -> SlotUsage {
        SlotUsage { used: self.used.load(Ordering::Relaxed), capacity: self.bounds.len() / self.kind.size() }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        // Nothing panics between two consistent states of the list.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that is taken. Drop wipes the whole of it and gives it back.
pub(crate) struct Slot {
    slab: Arc<Slab>,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a slot is the only owner of its bytes, like a box.
unsafe impl Send for Slot {}
// SAFETY: `&Slot` lets bytes be read, and not be written.
unsafe impl Sync for Slot {}

impl Slot {
    /// The bytes in use. Not to be called once a value has been placed here, whose padding has no defined content.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` are ours as long as `self` lives, and were zeros at first.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes in use, to write.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The first byte, aligned to 64 bytes.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// As [`Slab::is_inherited`].
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.slab.is_inherited()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_inherited() {
            return;
        }
        let at = self.start.addr().get() - self.slab.map.start().addr().get();
        let region = if at < self.slab.states.bounds.end { &self.slab.states } else { &self.slab.keys };
        // In words: wiping is volatile, one store for each element.
        let words =
            ptr::slice_from_raw_parts_mut(self.start.as_ptr().cast::<u64>(), region.kind.size() / size_of::<u64>());
        // SAFETY: the whole slot is ours, aligned, and no reference into it outlives `self`.
        unsafe { (*words).zeroize() };
        region.put_back(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slab(keys: usize, states: usize) -> Arc<Slab> {
        let options = ArenaOptions { keys, states, accept: Protection::Unlocked };
        Arc::new(Slab::new(Protection::Unlocked, &Layout::new(&options).unwrap()).unwrap())
    }

    /// Reads the whole slot at `start`, in use or not.
    fn peek(start: NonNull<u8>, kind: SlotKind) -> Vec<u8> {
        // SAFETY: the caller's slab is alive, and the slot within its mapping.
        (0..kind.size()).map(|at| unsafe { start.add(at).read_volatile() }).collect()
    }

    #[test]
    fn drop_wipes_the_whole_slot_and_not_only_what_was_asked_for() {
        let slab = slab(1, 1);
        for kind in [SlotKind::Key, SlotKind::State] {
            let slot = slab.take(kind, 5).unwrap();
            let start = slot.start();
            // SAFETY: the slot is ours.
            unsafe { start.write_bytes(0xa5, kind.size()) };
            assert_eq!(peek(start, kind), vec![0xa5; kind.size()]);
            drop(slot);
            assert_eq!(peek(start, kind), vec![0; kind.size()], "{kind}");
        }
    }

    #[test]
    fn a_returned_slot_is_taken_next_and_is_zeros() {
        let slab = slab(3, 0);
        let (mut first, second) = (slab.take(SlotKind::Key, 64).unwrap(), slab.take(SlotKind::Key, 64).unwrap());
        let start = first.start();
        assert_ne!(start, second.start());
        first.bytes_mut().fill(0xa5);
        drop(first);
        let again = slab.take(SlotKind::Key, 64).unwrap();
        assert_eq!(again.start(), start);
        assert_eq!(again.bytes(), [0; 64]);
    }

    #[test]
    fn slots_are_aligned_apart_and_within_the_mapping() {
        let slab = slab(33, 5);
        let slots: Vec<_> = [(SlotKind::Key, 33), (SlotKind::State, 5)]
            .into_iter()
            .flat_map(|(kind, count)| (0..count).map(move |_| kind))
            .map(|kind| slab.take(kind, kind.size()).unwrap())
            .collect();
        assert!(slab.take(SlotKind::Key, 0).is_none() && slab.take(SlotKind::State, 0).is_none());

        let mut ranges: Vec<_> = slots.iter().map(|slot| slot.bytes().as_ptr_range()).collect();
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(ranges.iter().all(|range| range.start.addr() % 64 == 0));
        let base = slab.map.start().as_ptr().addr();
        assert_eq!(ranges[0].start.addr(), base);
        assert_eq!(ranges[37].end.addr(), base + 33 * 64 + 5 * 1024);
    }

    #[test]
    fn a_secret_takes_the_smallest_slot_that_holds_it() {
        for (len, kind) in [(0, SlotKind::Key), (64, SlotKind::Key), (65, SlotKind::State), (1024, SlotKind::State)] {
            assert_eq!(SlotKind::holding(len).unwrap(), kind);
        }
        assert!(matches!(SlotKind::holding(1025), Err(ArenaError::TooLong { len: 1025, max: 1024 })));
    }

    #[test]
    fn sizes_that_cannot_be_addressed_are_refused() {
        let layout = |keys, states| Layout::new(&ArenaOptions { keys, states, accept: Protection::Mlock });
        assert_eq!(layout(0, 0).unwrap().len(), 1);
        assert_eq!(layout(100_000, 1_000).unwrap().len(), 7_424_000);
        let half = isize::MAX.unsigned_abs() / 64 + 1;
        for (keys, states) in [(usize::MAX, 0), (0, usize::MAX), (usize::MAX / 64, 1), (half, 0)] {
            assert!(matches!(layout(keys, states), Err(ArenaError::TooLarge { .. })), "{keys} {states}");
        }
    }
}
