//! Values in secret memory.
#![allow(unsafe_code)]

use crate::slab::{Slot, SlotKind};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;

/// A value, such as an expanded key schedule, that lies in an arena. Made by [`Arena::build`](crate::Arena::build).
///
/// Drop drops the value in place, wipes its slot and gives it back. There is no way to move the value out, and no
/// `Clone`:
///
/// ```compile_fail,E0599
/// # use claviger_secret::{Arena, ArenaOptions};
/// let arena = Arena::new(&ArenaOptions { keys: 1, states: 1, ..ArenaOptions::default() }).unwrap();
/// struct Schedule([u8; 240]);
/// let schedule = arena.build(|| Schedule([1; 240])).unwrap();
/// let copy = schedule.clone();
/// ```
pub struct Guarded<T> {
    slot: Slot,
    value: PhantomData<T>,
}

impl<T: Send + Sync + 'static> Guarded<T> {
    /// Refuses, when compiled, a type that does not fit in a slot.
    pub(crate) const FITS: () = {
        assert!(size_of::<T>() <= SlotKind::MAX, "the value is longer than the longest slot, 1024 bytes");
        assert!(align_of::<T>() <= SlotKind::Key.size(), "the value's alignment exceeds that of a slot, 64 bytes");
    };

    /// Makes a value and moves it into a slot that was taken for its size.
    pub(crate) fn new(slot: Slot, make: impl FnOnce() -> T) -> Self {
        const { Self::FITS };
        let value = make();
        // SAFETY: the slot is ours, and large and aligned enough: FITS, and `Arena::build` takes it by the size of `T`.
        unsafe { slot.start().cast::<T>().write(value) };
        Self { slot, value: PhantomData }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `new` placed a value here, and only `drop` ends it.
        unsafe { self.slot.start().cast::<T>().as_ref() }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if !self.slot.is_inherited() {
            // SAFETY: `new` placed a value here, and nothing uses it after this. The slot is wiped next, by its own
            // drop, also when this one panics.
            unsafe { ptr::drop_in_place(self.slot.start().cast::<T>().as_ptr()) };
        }
    }
}

/// Prints `Guarded(..)`.
impl<T> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded(..)")
    }
}

#[cfg(test)]
mod tests {
    use crate::{Arena, ArenaOptions, Protection};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Arc;

    fn arena() -> Arena {
        Arena::new(&ArenaOptions { keys: 1, states: 1, accept: Protection::Unlocked }).unwrap()
    }

    #[test]
    fn drop_wipes_what_the_value_leaves() {
        let arena = arena();
        let schedule = arena.build(|| [0xa5u8; 240]).unwrap();
        assert_eq!(*schedule, [0xa5; 240]);
        let start = schedule.slot.start();
        drop(schedule);
        // SAFETY: the slab lives as long as `arena`.
        assert!((0..1024).all(|at| unsafe { start.add(at).read_volatile() } == 0));
    }

    #[test]
    fn the_value_is_dropped_once_in_place() {
        let arena = arena();
        let witness = Arc::new(());
        let guarded = arena.build(|| Arc::clone(&witness)).unwrap();
        assert_eq!(Arc::strong_count(&guarded), 2);
        drop(guarded);
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn a_panic_in_make_or_drop_gives_the_slot_back_wiped() {
        struct Panics([u8; 100]);
        impl Drop for Panics {
            fn drop(&mut self) {
                resume_unwind(Box::new(()));
            }
        }

        let arena = arena();
        let made = catch_unwind(AssertUnwindSafe(|| arena.build(|| -> [u8; 100] { resume_unwind(Box::new(())) })));
        assert!(made.is_err());
        assert_eq!(arena.usage().states.used, 0);

        let guarded = arena.build(|| Panics([0xa5; 100])).unwrap();
        assert_eq!(guarded.0, [0xa5; 100]);
        let start = guarded.slot.start();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(guarded))).is_err());
        assert_eq!(arena.usage().states.used, 0);
        // SAFETY: the slab lives as long as `arena`.
        assert!((0..1024).all(|at| unsafe { start.add(at).read_volatile() } == 0));
    }
}
