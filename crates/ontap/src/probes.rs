//! Keepers that are asked whether they answer, for whoever looks at them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use claviger::{Blame, Engine};
use uuid::Uuid;

use crate::codes;

/// Questions that keepers may owe an answer at a time. A keeper that is silent costs a thread until its own time limit is over.
const MOST: usize = 64;

/// The least that a keeper is waited for.
const SHORTEST: Duration = Duration::from_secs(1);

/// Asks keepers on threads of their own: a keeper's time limit may be longer than anybody wants to wait for an answer.
#[derive(Default)]
pub(crate) struct Probes {
    running: Arc<AtomicUsize>,
}

/// One of the questions that may be asked at a time.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Probes {
    /// Whether the keystore's keeper gives what it is needed for; otherwise the reason.
    pub(crate) fn ask(&self, engine: &Arc<Engine>, keystore: Uuid, deadline: Instant) -> Result<(), String> {
        let before = self.running.fetch_add(1, Ordering::AcqRel);
        let place = Place(self.running.clone());
        if before >= MOST {
            return Err("not asked: too many keepers owe an answer already".to_owned());
        }
        let (tell, told) = mpsc::channel();
        let engine = engine.clone();
        let ask = move || {
            let answer = engine.check_keystore(keystore, |_| ());
            let answer = answer.map_err(|error| format!("{}; {}", codes::chain(&error), error.advice()));
            drop(place);
            // Nobody may be waiting any more.
            tell.send(answer).unwrap_or_default();
        };
        let begun = std::thread::Builder::new().name("claviger-probe".to_owned()).spawn(ask);
        begun.map_err(|_| "not asked: the node has no thread to spare".to_owned())?;
        // One that answers is heard, however little time was given.
        let left = deadline.saturating_duration_since(Instant::now()).max(SHORTEST);
        told.recv_timeout(left).unwrap_or_else(|_| Err("it did not answer within the time of the request".to_owned()))
    }
}
