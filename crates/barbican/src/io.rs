//! The one thread that does all input and output, for all clients of the process.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwapOption;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How many names are looked up at a time, each on a thread that ends soon after: the system's lookup blocks. A name holds
/// two at most, so that this is only reached when some hundred cannot be looked up.
const MAX_LOOKUPS: usize = 512;

/// Does the work, and whenever it pauses or ends, clears the stack and the registers as [`claviger_secret::burned`] does.
///
/// HTTP and TLS leave there what they carry, and the thread then waits, for hours perhaps. What the work comes to must not hold a
/// secret by value.
pub(crate) async fn burned<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| claviger_secret::burned(|_| work.as_mut().poll(context))).await
}

/// A runtime on a thread of its own.
pub(crate) struct Io {
    /// The process that the thread is in: a child has none.
    pid: u32,
    handle: Handle,
    /// The thread ends when this is dropped, as when another was faster; and this is closed when the thread has ended.
    running: oneshot::Sender<()>,
    /// What was there before. Kept, so that a child does not drop what its parent uses.
    _before: Option<Arc<Io>>,
}

impl Io {
    /// The thread of this process, started if there is none that works. Waits for no lock, so that it works in a child too.
    pub(crate) fn of_this_process() -> io::Result<Arc<Self>> {
        static IO: ArcSwapOption<Io> = ArcSwapOption::const_empty();
        Self::kept_at(&IO)
    }

    fn kept_at(place: &ArcSwapOption<Self>) -> io::Result<Arc<Self>> {
        let seen = place.load_full();
        if let Some(io) = seen.as_ref().filter(|io| io.works()) {
            return Ok(Arc::clone(io));
        }
        let made = Arc::new(Self::start(seen.clone())?);
        let before = place.compare_and_swap(&seen, Some(Arc::clone(&made)));
        Ok(before.as_ref().filter(|io| io.works()).map_or(made, Arc::clone))
    }

    fn start(before: Option<Arc<Self>>) -> io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(MAX_LOOKUPS).build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        thread::Builder::new().name("claviger-barbican".to_owned()).spawn(move || runtime.block_on(ended))?;
        Ok(Self { pid: process::id(), handle, running, _before: before })
    }

    /// Whether the thread is in this process, and has not ended.
    fn works(&self) -> bool {
        self.pid == process::id() && !self.running.is_closed()
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ended_is_replaced_once() {
        let place = ArcSwapOption::empty();
        let first = Io::kept_at(&place).unwrap();
        assert!(Arc::ptr_eq(&first, &Io::kept_at(&place).unwrap()));
        let (running, ended) = oneshot::channel();
        drop(ended);
        let handle = Builder::new_current_thread().build().unwrap().handle().clone();
        let gone = Io { pid: process::id(), handle, running, _before: None };
        place.store(Some(Arc::new(gone)));
        let second = Io::kept_at(&place).unwrap();
        assert!(Arc::ptr_eq(&second, &Io::kept_at(&place).unwrap()));
        assert_eq!(first.handle().block_on(second.handle().spawn(async { 7 })).unwrap(), 7);
    }
}
