//! Logging in: who calls, by a password or by a client certificate.

mod cache;
mod delay;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::{Arena, ArenaError, SecretBytes};
use claviger_ontap::Caller;
use tokio::sync::Semaphore;

use self::cache::{Cache, Mac};
use self::delay::{Delays, Failures};
use crate::accounts::{AccountName, PasswordHash, Watched, spellings};

/// Logins whose password is being checked, or waits for that; more are refused.
const MOST_AT_A_TIME: usize = 16;

/// The longest `Authorization` header that is looked at.
const LONGEST_HEADER: usize = 1_024;

/// Decides who calls.
pub(crate) struct Logins {
    accounts: Watched,
    arena: Arena,
    mac: Mac,
    verified: Mutex<Cache>,
    delays: Mutex<Delays>,
    /// Argon2 takes 20 ms of a core: there are always cores left for the node's own work.
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
}

/// Why nobody is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No credentials came along.
    NoCredentials,
    /// They are not those of an account, or cannot be read.
    Wrong {
        /// The name that was given, as it came.
        name: String,
    },
    /// After failed logins: they were not looked at.
    TooSoon { name: String, wait: Duration },
    /// Too many others log in.
    Busy,
    /// Accounts cannot be read, or there is no memory for a password.
    Unavailable,
}

impl From<ArenaError> for Refused {
    fn from(error: ArenaError) -> Self {
        tracing::error!(error = crate::chain(&error), "a login found no memory for its password");
        Self::Unavailable
    }
}

/// What HTTP basic authentication (RFC 7617) sends.
struct Credentials {
    name: String,
    password: SecretBytes,
}

impl Logins {
    pub(crate) fn new(accounts: Watched, arena: Arena) -> Result<Self, LoginsError> {
        let cores = available_parallelism().map_or(1, usize::from);
        // Made now, so that the first unknown name is refused as fast as the others.
        PasswordHash::of_nobody().ok_or(LoginsError::Random)?;
        Ok(Self {
            accounts,
            mac: Mac::new(&arena)?,
            arena,
            verified: Mutex::default(),
            delays: Mutex::default(),
            hashing: Arc::new(Semaphore::new((cores / 2).clamp(1, 4))),
            waiting: Semaphore::new(MOST_AT_A_TIME),
        })
    }

    /// Whether accounts can be read.
    pub(crate) fn is_available(&self) -> bool {
        self.accounts.now().accounts.is_some()
    }

    /// By the common name of a certificate that TLS has checked.
    pub(crate) fn by_certificate(&self, common_name: &str) -> Result<Caller, Refused> {
        let accounts = self.accounts.now().accounts.ok_or(Refused::Unavailable)?;
        let role = common_name.parse::<AccountName>().ok().and_then(|name| Some(accounts.get(&name)?.role));
        let name = common_name.to_owned();
        match role {
            Some(role) => Ok(Caller { name, role }),
            None => Err(Refused::Wrong { name }),
        }
    }

    /// By an `Authorization` header. A wrong name takes as long as a wrong password.
    pub(crate) async fn by_password(&self, header: &HeaderValue, from: IpAddr) -> Result<Caller, Refused> {
        let Some(credentials) = self.credentials(header)? else {
            self.delays().source(from).failed(Instant::now());
            return Err(Refused::Wrong { name: String::new() });
        };
        let Credentials { name, password } = credentials;
        let key = self.mac.of(self.accounts.now().generation, &name, &password);
        if let Some(role) = self.verified().get(&key, Instant::now()) {
            return Ok(Caller { name, role });
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        let login = self.delays().login(self.mac.of_login(from, &name));
        // One after the other: none is tried before the failure of the one before has been counted.
        let mut login = login.lock().await;
        self.by_verified_password(name, password, from, &mut login).await
    }

    async fn by_verified_password(
        &self,
        name: String,
        password: SecretBytes,
        from: IpAddr,
        login: &mut Failures,
    ) -> Result<Caller, Refused> {
        let snapshot = self.accounts.now();
        let accounts = snapshot.accounts.ok_or(Refused::Unavailable)?;
        let key = self.mac.of(snapshot.generation, &name, &password);
        // Who waited behind the same login knows its result.
        if let Some(role) = self.verified().get(&key, Instant::now()) {
            return Ok(Caller { name, role });
        }
        let now = Instant::now();
        let wait = match login.is_trusted(now) {
            true => login.wait(now),
            false => login.wait(now).max(self.delays().source(from).wait(now)),
        };
        if !wait.is_zero() {
            return Err(Refused::TooSoon { name, wait });
        }
        let account = name.parse().ok().and_then(|name: AccountName| accounts.get(&name));
        let hash = account.map(|stored| stored.password.clone()).or_else(PasswordHash::of_nobody);
        let is_right = self.verify(hash.ok_or(Refused::Unavailable)?, password).await?;
        match account {
            Some(stored) if is_right => {
                login.succeeded(now);
                self.verified().insert(key, stored.role, Instant::now());
                Ok(Caller { name, role: stored.role })
            }
            Some(_) | None => {
                login.failed(Instant::now());
                self.delays().source(from).failed(Instant::now());
                Err(Refused::Wrong { name })
            }
        }
    }

    async fn verify(&self, hash: PasswordHash, password: SecretBytes) -> Result<bool, Refused> {
        let spellings = spellings(&self.arena, password)?;
        let permit = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| Refused::Unavailable)?;
        let verified = tokio::task::spawn_blocking(move || {
            let verified = hash.is_of(&spellings);
            drop(permit);
            verified
        });
        verified.await.map_err(|_| Refused::Unavailable)
    }

    /// `None` where the header is not that of a name and a password.
    fn credentials(&self, header: &HeaderValue) -> Result<Option<Credentials>, Refused> {
        let Some((scheme, encoded)) = header.as_bytes().split_at_checked("Basic ".len()) else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case(b"Basic ") || encoded.len() > LONGEST_HEADER {
            return Ok(None);
        }
        let encoded = encoded.trim_ascii();
        // Straight into key memory.
        let mut decoded = self.arena.bytes(encoded.len())?;
        let Ok(len) = STANDARD.decode_slice(encoded, decoded.expose_mut()) else { return Ok(None) };
        let whole = decoded.expose().get(..len).unwrap_or_default();
        let Some(colon) = whole.iter().position(|byte| *byte == b':') else { return Ok(None) };
        let (name, rest) = whole.split_at(colon);
        let secret = rest.get(1..).unwrap_or_default();
        let mut password = self.arena.bytes(secret.len())?;
        password.expose_mut().copy_from_slice(secret);
        Ok(Some(Credentials { name: String::from_utf8_lossy(name).into_owned(), password }))
    }

    fn verified(&self) -> MutexGuard<'_, Cache> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delays(&self) -> MutexGuard<'_, Delays> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logins cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginsError {
    /// The random source failed.
    #[error("the system's random source failed")]
    Random,
    /// There is no key memory.
    #[error(transparent)]
    Memory(#[from] ArenaError),
}

impl From<getrandom::Error> for LoginsError {
    fn from(_: getrandom::Error) -> Self {
        Self::Random
    }
}
