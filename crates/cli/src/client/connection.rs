//! HTTPS to a service.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use claviger::{Arena, certificates_from_pem};
use rustls::crypto::aws_lc_rs;
use ureq::http::HeaderValue;
use ureq::http::header::RETRY_AFTER;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::answer::{self, Answer};
use super::error::ServiceError;
use crate::args::{Account, ServiceUrl};
use crate::event::Event;
use crate::failure::Failure;
use crate::remote::{EVENTS, PATH};
use crate::request::{Given, Request, to_body};
use crate::secret::{Secret, Source};

/// The limit of a connection's making, TLS included.
const CONNECT: Duration = Duration::from_secs(15);

/// How long nothing moves at most. A service that has nothing to say says so more often.
const SILENCE: Duration = Duration::from_secs(60);

/// A way to a service, as an account of its.
pub(super) struct Connection {
    agent: Agent,
    url: ServiceUrl,
    user: Account,
    authorization: HeaderValue,
}

impl Connection {
    pub(super) fn new(
        url: &ServiceUrl,
        user: &Account,
        password: &Source,
        ca: Option<&Path>,
        arena: &Arena,
    ) -> Result<Self, Failure> {
        let roots = ca.map_or_else(system_authorities, authorities)?;
        let password = password.get(arena, Secret::Password)?.ok_or(Failure::NotGiven(Secret::Password))?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .https_only(true)
            .tls_config(tls)
            // Neither a variable of the environment nor an answer sends secrets elsewhere.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("claviger/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .build()
            .new_agent();
        let authorization = basic(user, password.expose())?;
        Ok(Self { agent, url: url.clone(), user: user.clone(), authorization })
    }

    /// Sends a request, and hands on what the command says.
    pub(super) fn ask(
        &self,
        request: &Request,
        given: &Given,
        take: impl FnMut(Event) -> Result<(), Failure>,
    ) -> Result<Answer, Failure> {
        let body = to_body(request, given).map_err(|error| Failure::Stdout(io::Error::from(error)))?;
        let sent = self
            .agent
            .post(self.url.at(PATH))
            .header("Authorization", self.authorization.clone())
            .header("Content-Type", "application/json")
            .send(&body[..]);
        let mut response = sent.map_err(|error| self.not_sent(error))?;
        let url = || self.url.clone();
        match response.body().mime_type() {
            // Whatever the status: how the command ended is among them.
            Some(EVENTS) => answer::read(&self.url, response.into_body(), take),
            _ => {
                let said = answer::problem(response.body_mut());
                let wait = response.headers().get(RETRY_AFTER);
                let wait = wait.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
                Err(match response.status().as_u16() {
                    200..=299 => ServiceError::Strange { url: url() },
                    401 => match wait {
                        Some(wait) => ServiceError::TooSoon { url: url(), said, wait },
                        None => ServiceError::Unauthorized { url: url(), user: self.user.as_str().to_owned() },
                    },
                    403 => ServiceError::Forbidden { url: url(), said },
                    404 => ServiceError::NoCommands { url: url() },
                    429 | 503 => ServiceError::Busy { url: url(), said, wait },
                    status @ 300..=399 => ServiceError::Redirects { url: url(), status },
                    400..=499 => ServiceError::Refused { url: url(), said },
                    status => ServiceError::Failed { url: url(), status, said },
                }
                .into())
            }
        }
    }

    fn not_sent(&self, error: Error) -> ServiceError {
        let url = self.url.clone();
        match error {
            Error::Http(error) => ServiceError::Unmade(error),
            error if is_tls(&error) => ServiceError::Tls { url, source: error.into() },
            // The connection stood, and the request may have gone over it.
            Error::Io(source) if !never_connected(&source) => ServiceError::Lost { url, source },
            Error::Timeout(timeout) if !is_of_connecting(timeout) => {
                ServiceError::Lost { url, source: io::Error::new(io::ErrorKind::TimedOut, Error::Timeout(timeout)) }
            }
            error => ServiceError::Unreachable { url, source: error.into() },
        }
    }
}

fn is_of_connecting(timeout: ureq::Timeout) -> bool {
    matches!(timeout, ureq::Timeout::Resolve | ureq::Timeout::Connect)
}

fn never_connected(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)
}

/// The library for HTTP hands on what the one for TLS says in more than one way.
fn is_tls(error: &Error) -> bool {
    match error {
        Error::Rustls(_) | Error::Tls(_) | Error::TlsRequired | Error::Pem(_) => true,
        Error::Io(error) => {
            let inner = error.get_ref();
            inner.is_some_and(|inner| {
                inner.is::<rustls::Error>() || inner.source().is_some_and(|source| source.is::<rustls::Error>())
            })
        }
        _ => false,
    }
}

/// Basic authentication (RFC 7617). Libraries copy the value, and the program wipes what it frees.
fn basic(user: &Account, password: &[u8]) -> Result<HeaderValue, ServiceError> {
    let plain = [user.as_str().as_bytes(), b":", password].concat();
    let value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain)));
    let mut value = value.map_err(|error| ServiceError::Unmade(error.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn system_authorities() -> Result<Vec<Certificate<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the system's authorities cannot be read");
    }
    match found.certs.is_empty() {
        true => Err(ServiceError::NoAuthorities.into()),
        false => Ok(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect()),
    }
}

fn authorities(file: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let read = |source| Failure::File { action: "read certificates from", path: file.to_owned(), source };
    let text = std::fs::read(file).map_err(read)?;
    let found = certificates_from_pem(&text);
    let found = found.map_err(|source| Failure::Certificates { path: file.to_owned(), source })?;
    Ok(found.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}
