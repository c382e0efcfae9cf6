//! The token that a client's calls share: one login, however many wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use claviger_secret::{Arena, SecretBytes};
use hyper::header::HeaderValue;
use tokio::sync::Mutex;

use crate::deadline::Deadline;
use crate::error::{BarbicanError, Service, Stage};
use crate::exchange::Failure;
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
    /// tried once and not once for each caller; but not if it was cut off by its own caller's deadline: others have more time.
    pub(crate) async fn token(
        &self,
        refused: Option<&Arc<Token>>,
        deadline: Deadline,
        login: impl Future<Output = Result<Token, Failure>>,
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
        if let Err(Failure { error, is_cut_off: true }) = outcome {
            return Err(error);
        }
        self.ended.fetch_add(1, Ordering::Release);
        match outcome {
            Ok(token) => {
                let token = Arc::new(token);
                *state = State { token: Some(Arc::clone(&token)), failure: None };
                Ok(token)
            }
            Err(Failure { error, .. }) => {
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use claviger_secret::ArenaOptions;
    use tokio::runtime::Builder;
    use tokio::sync::Notify;

    use crate::error::Unanswered;

    const CALLERS: usize = 32;

    /// How many logins there are, and how each caller ends, when all wait for the first, which ends so, and each further one
    /// succeeds.
    fn all_wait(first: impl Fn(&Arena) -> Result<Token, Failure>) -> (usize, Vec<Result<Arc<Token>, BarbicanError>>) {
        let arena = Arena::new(&ArenaOptions { keys: 64, states: 8, ..ArenaOptions::default() }).unwrap();
        let (session, gate, logins) = (Session::default(), Notify::new(), AtomicUsize::new(0));
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let outcomes = runtime.block_on(async {
            let call = || async {
                let login = async {
                    match logins.fetch_add(1, Ordering::SeqCst) {
                        0 => {
                            gate.notified().await;
                            first(&arena)
                        }
                        _ => Ok(token(&arena)),
                    }
                };
                session.token(None, Deadline::after(Duration::from_secs(60)), login).await
            };
            let mut calls: Vec<_> = (0..CALLERS).map(|_| Box::pin(call())).collect();
            // Each has begun to wait, and the first holds the login.
            for call in &mut calls {
                let begun = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(begun, Poll::Pending));
            }
            gate.notify_one();
            let mut outcomes = Vec::new();
            for call in calls {
                outcomes.push(call.await);
            }
            outcomes
        });
        (logins.into_inner(), outcomes)
    }

    fn token(arena: &Arena) -> Token {
        Token::new(arena, b"t", Instant::now() + Duration::from_secs(600)).unwrap()
    }

    fn refused() -> BarbicanError {
        BarbicanError::CredentialRefused { service: Service::Keystone, status: 401 }
    }

    #[test]
    fn one_login_serves_all_who_wait() {
        let (logins, outcomes) = all_wait(|arena| Ok(token(arena)));
        assert_eq!(logins, 1);
        assert!(outcomes.iter().all(Result::is_ok));
    }

    #[test]
    fn a_login_that_fails_fails_for_all_who_wait() {
        let (logins, outcomes) = all_wait(|_| Err(refused().into()));
        assert_eq!(logins, 1);
        for outcome in outcomes {
            assert!(matches!(outcome, Err(BarbicanError::CredentialRefused { .. })));
        }
    }

    #[test]
    fn a_login_that_was_cut_off_fails_for_its_own_caller_alone() {
        let unanswered = || BarbicanError::Unreachable { service: Service::Keystone, source: Unanswered::Status(503) };
        let (logins, outcomes) = all_wait(|_| Err(Failure { error: unanswered(), is_cut_off: true }));
        assert_eq!(logins, 2);
        assert!(outcomes.iter().skip(1).all(Result::is_ok));
        assert!(matches!(outcomes.first(), Some(Err(BarbicanError::Unreachable { .. }))));
    }
}
