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
    /// The thread ends when this is dropped, as when another was faster.
    _running: oneshot::Sender<()>,
    /// The parent's, kept so that a child does not drop what the parent uses.
    _inherited: Option<Arc<Io>>,
}

impl Io {
    /// The thread of this process, started if there is none. Waits for no lock, so that it works in a child too.
    pub(crate) fn of_this_process() -> io::Result<Arc<Self>> {
        static IO: ArcSwapOption<Io> = ArcSwapOption::const_empty();
        let seen = IO.load_full();
        if let Some(io) = seen.as_ref().filter(|io| io.is_here()) {
            return Ok(Arc::clone(io));
        }
        let made = Arc::new(Self::start(seen.clone())?);
        let before = IO.compare_and_swap(&seen, Some(Arc::clone(&made)));
        Ok(before.as_ref().filter(|io| io.is_here()).map_or(made, Arc::clone))
    }

    fn start(inherited: Option<Arc<Self>>) -> io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(MAX_LOOKUPS).build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        thread::Builder::new().name("claviger-barbican".to_owned()).spawn(move || runtime.block_on(ended))?;
        Ok(Self { pid: process::id(), handle, _running: running, _inherited: inherited })
    }

    /// Whether this is the process that started it.
    pub(crate) fn is_here(&self) -> bool {
        self.pid == process::id()
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
