//! The thread that counts keys for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use claviger::Engine;

use crate::metrics::Counted;

/// Counts again and again until it is dropped.
pub(super) struct Counter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Counter {
    pub(super) fn begin(engine: &Arc<Engine>) -> (Self, Arc<Counted>) {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(Counted::default()));
        let thread = thread::Builder::new().name("claviger-count".to_owned()).spawn({
            let (engine, stop, counted) = (Arc::clone(engine), Arc::clone(&stop), Arc::clone(&counted));
            move || {
                let go_on = || !stop.load(Ordering::Acquire);
                while let Some(rest) = counted.count(&engine, go_on) {
                    if !go_on() {
                        break;
                    }
                    thread::park_timeout(rest);
                }
            }
        });
        if let Err(error) = &thread {
            tracing::warn!(%error, "keys are not counted for the metrics");
        }
        (Self { stop, thread: thread.ok() }, counted)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It holds the engine, which is to be closed with the service.
            if thread.join().is_err() {
                tracing::warn!("the thread that counted keys had panicked");
            }
        }
    }
}
