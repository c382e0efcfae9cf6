//! One flush for many commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Lets threads that wait for durability share the wait: one of them syncs, for all that was applied before it began.
///
/// There is never more than one sync at a time, and none after one has failed. That also keeps a failure from being
/// missed: the kernel reports a failed write-back once per file handle, so that of two syncs one would fail and the other
/// succeed, though it is as unknown for both what has reached the disk.
#[derive(Debug)]
pub(super) struct GroupSync<E> {
    /// How many changes have been applied.
    applied: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
    failure: OnceLock<E>,
}

/// Stands for a change that was applied, and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket(u64);

/// Why a change is not known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDurable<E> {
    /// The caller's own sync failed.
    Now(E),
    /// Something failed before.
    Before(E),
}

#[derive(Debug, Default)]
struct State {
    durable: Ticket,
    syncing: bool,
}

impl<E: Clone> GroupSync<E> {
    pub(super) fn new() -> Self {
        Self { applied: AtomicU64::new(0), state: Mutex::default(), ended: Condvar::new(), failure: OnceLock::new() }
    }

    /// To be called when a change has been applied, before another one is.
    pub(super) fn applied(&self) -> Ticket {
        Ticket(self.applied.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The change that was applied last.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.applied.load(Ordering::Acquire))
    }

    /// The first failure.
    pub(super) fn failure(&self) -> Option<&E> {
        self.failure.get()
    }

    /// Ends all syncing: it is not known what has become of a change. Returns the first failure.
    pub(super) fn fail(&self, failure: E) -> &E {
        self.failure.get_or_init(|| failure)
    }

    /// Returns once the change of `ticket` is durable, if need be by calling `sync`, which makes durable what was
    /// applied before it was called.
    pub(super) fn make_durable(
        &self,
        ticket: Ticket,
        sync: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), NotDurable<E>> {
        let mut state = self.state();
        while state.syncing && state.durable < ticket {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.durable >= ticket {
            return Ok(());
        }
        if let Some(failure) = self.failure() {
            return Err(NotDurable::Before(failure.clone()));
        }
        state.syncing = true;
        drop(state);

        let covered = self.last();
        let synced = sync().map_err(|failure| NotDurable::Now(self.fail(failure).clone()));

        let mut state = self.state();
        state.syncing = false;
        if synced.is_ok() {
            state.durable = covered;
        }
        drop(state);
        self.ended.notify_all();
        synced
    }

    // Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_durable_is_not_synced_again() {
        let group = GroupSync::new();
        let (first, second) = (group.applied(), group.applied());
        let syncs = AtomicUsize::new(0);
        let sync = || {
            syncs.fetch_add(1, Ordering::SeqCst);
            Ok::<(), ()>(())
        };
        group.make_durable(second, sync).unwrap();
        group.make_durable(first, sync).unwrap();
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
        group.make_durable(group.applied(), sync).unwrap();
        assert_eq!(syncs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_sync_covers_only_what_was_applied_before_it_began() {
        let group = GroupSync::new();
        let first = group.applied();
        let mut second = Ticket::default();
        let applies_during_the_sync = || {
            second = group.applied();
            Ok::<(), ()>(())
        };
        group.make_durable(first, applies_during_the_sync).unwrap();
        let mut synced_again = false;
        let sync = || {
            synced_again = true;
            Ok::<(), ()>(())
        };
        group.make_durable(second, sync).unwrap();
        assert!(synced_again);
    }

    #[test]
    fn many_wait_for_one() {
        let group = GroupSync::new();
        let syncs = AtomicUsize::new(0);
        let all_applied = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let ticket = group.applied();
                    all_applied.wait();
                    let sync = || {
                        syncs.fetch_add(1, Ordering::SeqCst);
                        Ok::<(), ()>(())
                    };
                    group.make_durable(ticket, sync).unwrap();
                });
            }
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn after_a_failure_nothing_is_durable_but_what_was() {
        let group = GroupSync::new();
        let (first, second) = (group.applied(), Ticket(2));
        group.make_durable(first, || Ok(())).unwrap();
        assert_eq!(group.applied(), second);
        assert_eq!(group.make_durable(second, || Err("broken")), Err(NotDurable::Now("broken")));
        assert_eq!(group.make_durable(second, || Ok(())), Err(NotDurable::Before("broken")));
        assert_eq!(group.make_durable(first, || Ok(())), Ok(()));
        assert_eq!(group.failure(), Some(&"broken"));
    }

    #[test]
    fn a_failed_change_ends_syncing() {
        let group = GroupSync::new();
        assert_eq!((*group.fail("first"), *group.fail("second")), ("first", "first"));
        assert_eq!(group.make_durable(group.applied(), || Ok(())), Err(NotDurable::Before("first")));
    }
}
