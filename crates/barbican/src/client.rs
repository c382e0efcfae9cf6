//! The client: calls that wait, and the one thread that works.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use claviger_secret::{Arena, SecretBytes};
use jiff::Timestamp;
use tracing::Instrument as _;

use crate::check::{Hop, check};
use crate::deadline::Deadline;
use crate::error::{BarbicanError, SetupError};
use crate::exchange::Tries;
use crate::io::{Io, burned};
use crate::keystone::login;
use crate::metadata::{Barbican, Metadata};
use crate::session::{Session, Token};
use crate::site::{Credential, Site};
use crate::transport::Way;
use crate::url::{KeystoneUrl, SecretUrl};

/// How much longer than the time limit a caller waits for the thread that keeps it.
const SLACK: Duration = Duration::from_millis(500);

/// One Keystone and one credential.
///
/// Calls wait for their end, which comes within [`Site::timeout`]; any thread may make any call at any time, one of a
/// runtime too. All clients of a process share one thread for input and output, beside short-lived ones that look up names. A client does not survive a `fork`: in a
/// child, every call is [`BarbicanError::Forked`].
pub struct Client {
    /// The process that made it.
    pid: u32,
    site: Arc<Inside>,
    timeout: Duration,
}

/// What the thread works with.
pub(crate) struct Inside {
    pub(crate) arena: Arena,
    pub(crate) way: Way,
    pub(crate) keystone: KeystoneUrl,
    pub(crate) credential: Credential,
    session: Session,
}

impl Client {
    /// Makes a client; sends nothing. Copies the secrets into the arena, where tokens and keys will lie too.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(arena: &Arena, site: &Site, credential: &Credential) -> Result<Self, SetupError> {
        if site.timeout.is_zero() {
            return Err(SetupError::NoTime);
        }
        let (way, credential) =
            claviger_secret::burned(|_| Ok::<_, SetupError>((Way::new(arena, site)?, copy(arena, credential)?)))?;
        let keystone = site.keystone.clone();
        let inside = Inside { arena: arena.clone(), way, keystone, credential, session: Session::default() };
        Io::of_this_process().map_err(SetupError::Thread)?;
        Ok(Self { pid: process::id(), site: Arc::new(inside), timeout: site.timeout })
    }

    /// What Barbican says of the secret.
    ///
    /// # Errors
    /// [`BarbicanError`].
    pub fn metadata(&self, secret: &SecretUrl) -> Result<Metadata, BarbicanError> {
        let secret = secret.clone();
        self.call("metadata", |site, deadline, _| async move {
            site.with_token(deadline, |barbican| {
                let secret = secret.clone();
                async move { Ok(barbican.metadata(&secret).await?.0) }
            })
            .await
        })
    }

    /// The key: exactly 32 bytes, the payload of a secret that is active, has not expired, is of type `symmetric` or
    /// `opaque`, and where it says its algorithm and its length, says `aes` and 256.
    ///
    /// # Errors
    /// [`BarbicanError`].
    pub fn key(&self, secret: &SecretUrl) -> Result<SecretBytes, BarbicanError> {
        let secret = secret.clone();
        self.call("key", |site, deadline, _| async move {
            site.with_token(deadline, |barbican| {
                let secret = secret.clone();
                async move {
                    let (metadata, _) = barbican.metadata(&secret).await?;
                    metadata.suits(Timestamp::now()).map_err(|why| BarbicanError::Unsuitable { why })?;
                    Ok(barbican.payload(&secret).await?.0)
                }
            })
            .await
        })
    }

    /// Goes every hop of the way to the key, one after another, and tells of each as it is done; stops at the first that
    /// fails. Each is gone once, with a token of its own: this is to show what is there.
    ///
    /// # Errors
    /// [`BarbicanError`]: that of the hop that failed.
    pub fn check(&self, secret: &SecretUrl, each: impl FnMut(&Hop)) -> Result<SecretBytes, BarbicanError> {
        let secret = secret.clone();
        self.call_telling("check", each, |site, deadline, tell| async move {
            check(&site, &secret, deadline, |hop| {
                // Nobody listens any more where the caller has given up.
                tell.send(Told::Hop(hop)).unwrap_or_default();
            })
            .await
        })
    }

    fn call<T: Send + 'static, F>(
        &self,
        name: &'static str,
        work: impl FnOnce(Arc<Inside>, Deadline, Sender<Told<T>>) -> F,
    ) -> Result<T, BarbicanError>
    where
        F: Future<Output = Result<T, BarbicanError>> + Send + 'static,
    {
        self.call_telling(name, |_| {}, work)
    }

    /// Has the thread work, and waits for it.
    fn call_telling<T: Send + 'static, F>(
        &self,
        name: &'static str,
        mut each: impl FnMut(&Hop),
        work: impl FnOnce(Arc<Inside>, Deadline, Sender<Told<T>>) -> F,
    ) -> Result<T, BarbicanError>
    where
        F: Future<Output = Result<T, BarbicanError>> + Send + 'static,
    {
        // First of all: a child must not touch the parent's secrets.
        if self.pid != process::id() {
            return Err(BarbicanError::Forked);
        }
        let io = Io::of_this_process().map_err(|error| BarbicanError::Thread(Arc::new(error)))?;
        let (tell, told) = channel();
        let until = Instant::now().checked_add(self.timeout.saturating_add(SLACK));
        let work = work(Arc::clone(&self.site), Deadline::after(self.timeout), tell.clone());
        let span = tracing::debug_span!("barbican", call = name);
        let task = io.handle().spawn(
            async move {
                // The work is gone before its caller goes on, and so is all that it left.
                let outcome = burned(work).await;
                // As above.
                tell.send(Told::End(outcome)).unwrap_or_default();
            }
            .instrument(span),
        );
        loop {
            match next(&told, until) {
                Ok(Told::Hop(hop)) => each(&hop),
                Ok(Told::End(outcome)) => return outcome,
                Err(RecvTimeoutError::Timeout) => {
                    task.abort();
                    return Err(BarbicanError::Stalled);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(BarbicanError::Failed),
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inside { keystone, credential, .. } = &*self.site;
        let Self { timeout, .. } = self;
        f.debug_struct("Client")
            .field("keystone", keystone)
            .field("credential", &credential.id)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

impl Inside {
    /// Does something with a token, and once more with another if the first was refused: it may have been revoked at any
    /// time.
    async fn with_token<T, F: Future<Output = Result<T, BarbicanError>>>(
        self: Arc<Self>,
        deadline: Deadline,
        work: impl Fn(Barbican) -> F,
    ) -> Result<T, BarbicanError> {
        let barbican = |token| Barbican { site: Arc::clone(&self), token, tries: Tries::Several, deadline };
        let token = self.token(None, deadline).await?;
        match work(barbican(Arc::clone(&token))).await {
            Err(BarbicanError::CredentialRefused { .. }) => {}
            outcome => return outcome,
        }
        tracing::debug!("Barbican refused the token; asking for another");
        let token = self.token(Some(&token), deadline).await?;
        work(barbican(token)).await
    }

    async fn token(&self, refused: Option<&Arc<Token>>, deadline: Deadline) -> Result<Arc<Token>, BarbicanError> {
        let Self { arena, way, keystone, credential, session } = self;
        let login = async { Ok(login(arena, way, keystone, credential, Tries::Several, deadline).await?.0) };
        session.token(refused, deadline, login).await
    }
}

/// What the thread tells a caller.
enum Told<T> {
    Hop(Hop),
    End(Result<T, BarbicanError>),
}

fn next<T>(told: &Receiver<Told<T>>, until: Option<Instant>) -> Result<Told<T>, RecvTimeoutError> {
    match until {
        Some(until) => told.recv_timeout(until.saturating_duration_since(Instant::now())),
        None => Ok(told.recv()?),
    }
}

fn copy(arena: &Arena, credential: &Credential) -> Result<Credential, SetupError> {
    let Credential { id, secret } = credential;
    if id.is_empty() {
        return Err(SetupError::Empty("id"));
    }
    if secret.is_empty() {
        return Err(SetupError::Empty("secret"));
    }
    if std::str::from_utf8(secret.expose()).is_err() {
        return Err(SetupError::NotText);
    }
    let mut kept = arena.bytes(secret.len())?;
    kept.expose_mut().copy_from_slice(secret.expose());
    Ok(Credential { id: id.clone(), secret: kept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_secret::ArenaOptions;

    #[test]
    fn work_that_panics_is_told_at_once() {
        let arena = Arena::new(&ArenaOptions { keys: 8, states: 8, ..ArenaOptions::default() }).unwrap();
        let site = Site {
            keystone: "https://localhost/v3".parse().unwrap(),
            proxy: None,
            verify: false,
            verify_host: false,
            extra_roots: Vec::new(),
            timeout: Duration::from_secs(60),
        };
        let credential = Credential { id: "id".to_owned(), secret: arena.bytes(8).unwrap() };
        let client = Client::new(&arena, &site, &credential).unwrap();
        let began = Instant::now();
        let outcome: Result<(), _> = client.call("test", |_, _, _| async { panic!("on purpose") });
        assert!(matches!(outcome, Err(BarbicanError::Failed)), "{outcome:?}");
        assert!(began.elapsed() < site.timeout);
        assert!(client.call("test", |_, _, _| async { Ok(()) }).is_ok());
    }
}
