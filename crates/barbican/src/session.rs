//! The token that a client's calls share: one login, however many wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use claviger_secret::{Arena, SecretBytes};
use hyper::header::HeaderValue;
use tokio::sync::Mutex;

use crate::deadline::Deadline;
use crate::error::{BarbicanError, Service, Stage};
use crate::transport::secret_header;

/// What one slot of the arena holds, in bytes.
const PART_BYTES: usize = 1024;

/// A token. It lies in the arena, in as many parts as it takes.
pub(crate) struct Token {
    parts: Vec<SecretBytes>,
    usable_until: Instant,
}

impl Token {
    pub(crate) fn new(arena: &Arena, text: &[u8], usable_until: Instant) -> Result<Self, BarbicanError> {
        let mut parts = Vec::with_capacity(text.len().div_ceil(PART_BYTES));
        for from in text.chunks(PART_BYTES) {
            let mut part = arena.bytes(from.len())?;
            part.expose_mut().copy_from_slice(from);
            parts.push(part);
        }
        Ok(Self { parts, usable_until })
    }

    pub(crate) fn header(&self) -> Result<HeaderValue, BarbicanError> {
        secret_header(Service::Barbican, &self.parts)
    }

    fn is_usable(&self) -> bool {
        Instant::now() < self.usable_until
    }
}

/// The token of the moment, and the way to the next.
#[derive(Default)]
pub(crate) struct Session {
    state: Mutex<State>,
    /// How many logins have ended. Changed under the lock.
    ended: AtomicU64,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// How the last login ended, if it failed.
    failure: Option<BarbicanError>,
}

impl Session {
    /// A usable token that is not the `refused` one: what is there, or what `login` gives.
    ///
    /// One login is under way at a time. Whoever waited for it shares its failure too, so that a wrong credential is
    /// tried once and not once for each caller; but not if it was cut off by its own caller's deadline.
    pub(crate) async fn token(
        &self,
        refused: Option<&Arc<Token>>,
        deadline: Deadline,
        login: impl Future<Output = Result<Token, BarbicanError>>,
    ) -> Result<Arc<Token>, BarbicanError> {
        let ended = self.ended.load(Ordering::Acquire);
        let mut state = deadline.bound((Service::Keystone, Stage::Token), self.state.lock()).await?;
        let is_good = |token: &Arc<Token>| token.is_usable() && !refused.is_some_and(|old| Arc::ptr_eq(old, token));
        if let Some(token) = state.token.as_ref().filter(|token| is_good(token)) {
            return Ok(Arc::clone(token));
        }
        state.token = None;
        if let Some(failure) = state.failure.as_ref().filter(|_| self.ended.load(Ordering::Acquire) > ended) {
            return Err(failure.clone());
        }
        let outcome = login.await;
        if matches!(&outcome, Err(error) if error.is_out_of_time()) {
            return outcome.map(Arc::new);
        }
        self.ended.fetch_add(1, Ordering::Release);
        match outcome {
            Ok(token) => {
                let token = Arc::new(token);
                *state = State { token: Some(Arc::clone(&token)), failure: None };
                Ok(token)
            }
            Err(error) => {
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }
}
