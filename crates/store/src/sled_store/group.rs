//! One flush for many commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::local::{FirstFailure, NotDurable};

/// Lets threads that wait for durability share the wait: one of them syncs, for all that was applied before it began.
///
/// There is never more than one sync at a time, and none after one has failed. That also keeps a failure from being
/// missed: the kernel reports a failed write-back once per file handle, so that of two syncs one would fail and the other
/// succeed, though it is as unknown for both what has reached the disk.
#[derive(Debug, Default)]
pub(super) struct GroupSync {
    /// How many changes have been applied.
    applied: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

/// Stands for a change that was applied, and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket(u64);

#[derive(Debug, Default)]
struct State {
    durable: Ticket,
    syncing: bool,
}

impl GroupSync {
    /// To be called when a change has been applied, before another one is.
    pub(super) fn applied(&self) -> Ticket {
        Ticket(self.applied.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The change that was applied last.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.applied.load(Ordering::Acquire))
    }

    /// Returns once the change of `ticket` is durable, if need be by calling `sync`, which makes durable what was
    /// applied before it was called. Nothing more becomes durable after the first failure.
    pub(super) fn make_durable<E: Clone>(
        &self,
        ticket: Ticket,
        failure: &FirstFailure<E>,
        sync: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), NotDurable<E>> {
        let mut state = self.state();
        while state.syncing && state.durable < ticket {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.durable >= ticket {
            return Ok(());
        }
        if let Some(before) = failure.get() {
            return Err(NotDurable::Before(before.clone()));
        }
        state.syncing = true;
        drop(state);

        let covered = self.last();
        let synced = sync().map_err(|now| NotDurable::Now(failure.set(now).clone()));

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
        let (group, failure) = (GroupSync::default(), FirstFailure::default());
        let (first, second) = (group.applied(), group.applied());
        let syncs = AtomicUsize::new(0);
        let sync = || {
            syncs.fetch_add(1, Ordering::SeqCst);
            Ok::<(), ()>(())
        };
        group.make_durable(second, &failure, sync).unwrap();
        group.make_durable(first, &failure, sync).unwrap();
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
        group.make_durable(group.applied(), &failure, sync).unwrap();
        assert_eq!(syncs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_sync_covers_only_what_was_applied_before_it_began() {
        let (group, failure) = (GroupSync::default(), FirstFailure::default());
        let first = group.applied();
        let mut second = Ticket::default();
        let applies_during_the_sync = || {
            second = group.applied();
            Ok::<(), ()>(())
        };
        group.make_durable(first, &failure, applies_during_the_sync).unwrap();
        let mut synced_again = false;
        let sync = || {
            synced_again = true;
            Ok::<(), ()>(())
        };
        group.make_durable(second, &failure, sync).unwrap();
        assert!(synced_again);
    }

    #[test]
    fn many_wait_for_one() {
        let (group, failure) = (GroupSync::default(), FirstFailure::default());
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
                    group.make_durable(ticket, &failure, sync).unwrap();
                });
            }
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn after_a_failure_nothing_is_durable_but_what_was() {
        let (group, failure) = (GroupSync::default(), FirstFailure::default());
        let (first, second) = (group.applied(), Ticket(2));
        group.make_durable(first, &failure, || Ok(())).unwrap();
        assert_eq!(group.applied(), second);
        assert_eq!(group.make_durable(second, &failure, || Err("broken")), Err(NotDurable::Now("broken")));
        assert_eq!(group.make_durable(second, &failure, || Ok(())), Err(NotDurable::Before("broken")));
        assert_eq!(group.make_durable(first, &failure, || Ok(())), Ok(()));
        assert_eq!(failure.get(), Some(&"broken"));
    }

    #[test]
    fn a_failed_change_ends_syncing() {
        let (group, failure) = (GroupSync::default(), FirstFailure::default());
        assert_eq!((*failure.set("first"), *failure.set("second")), ("first", "first"));
        assert_eq!(group.make_durable(group.applied(), &failure, || Ok(())), Err(NotDurable::Before("first")));
    }
}
