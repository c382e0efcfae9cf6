//! Work that outlasts the head of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use claviger_ontap::Role;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Work that goes on after the head of its answer has gone out, and is no request in flight any more: no more than [`Background::MOST`]
/// at a time, and the service's stop waits for it. Whoever routes requests to such work shares one of these with
/// [`Server::start_with`](crate::Server::start_with).
#[derive(Clone, Debug)]
pub struct Background {
    room: Arc<Semaphore>,
    /// What of it accounts may take that only read.
    readers: Arc<Semaphore>,
    stops: Arc<AtomicBool>,
}

impl Background {
    /// How much runs at a time.
    pub const MOST: usize = 16;
    /// How much of that accounts may take that only read.
    pub const MOST_OF_READERS: usize = 8;

    /// Takes up some work of an account with this role. `None` where there is no room, and when the service stops.
    #[must_use]
    pub fn begin(&self, role: Role) -> Option<Work> {
        if self.stops.load(Ordering::Acquire) {
            return None;
        }
        let reader = match role.may_change() {
            true => None,
            false => Some(Arc::clone(&self.readers).try_acquire_owned().ok()?),
        };
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Work { _room: room, _reader: reader, stops: Arc::clone(&self.stops) })
    }

    /// Asks what runs to end, and begins no more.
    pub(crate) fn stop(&self) {
        self.stops.store(true, Ordering::Release);
    }

    /// Waits until nothing runs.
    pub(crate) async fn ended(&self) {
        // Nobody closes it.
        _ = self.room.acquire_many(most()).await;
    }
}

impl Default for Background {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(Self::MOST)),
            readers: Arc::new(Semaphore::new(Self::MOST_OF_READERS)),
            stops: Arc::default(),
        }
    }
}

fn most() -> u32 {
    u32::try_from(Background::MOST).unwrap_or(u32::MAX)
}

/// Some work that runs, until it is dropped.
#[derive(Debug)]
pub struct Work {
    _room: OwnedSemaphorePermit,
    _reader: Option<OwnedSemaphorePermit>,
    stops: Arc<AtomicBool>,
}

impl Work {
    /// Whether the service stops: what takes long is to end where it can.
    #[must_use]
    pub fn must_end(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_leave_room_for_others_and_a_stop_lets_nobody_begin() {
        let background = Background::default();
        let begin = |role, count| (0..count).map_while(|_| background.begin(role)).collect::<Vec<_>>();
        let readers = begin(Role::ReadOnly, 99);
        assert_eq!(readers.len(), Background::MOST_OF_READERS);
        let others = begin(Role::Admin, 99);
        assert_eq!(readers.len() + others.len(), Background::MOST);
        drop(readers);
        let work = background.begin(Role::ReadOnly).unwrap();
        assert!(!work.must_end());
        background.stop();
        assert!(work.must_end() && background.begin(Role::Admin).is_none());
    }
}
