//! Where the services are and how they are spoken to, and who asks.

use std::time::Duration;

use claviger_secret::SecretBytes;
use rustls_pki_types::CertificateDer;

use crate::url::KeystoneUrl;

/// The services and the way to them.
#[derive(Debug)]
pub struct Site {
    /// Where tokens are to be had.
    pub keystone: KeystoneUrl,
    /// The proxy to use for both services. The variables of the environment are never looked at.
    pub proxy: Option<Proxy>,
    /// Whether a certificate must come from a trusted authority and be within its time. Without it, whoever is in between
    /// reads the key.
    pub verify: bool,
    /// Whether a certificate must name the host. Without it, whoever has any trusted certificate and is in between reads
    /// the key.
    pub verify_host: bool,
    /// Authorities to trust beside the system's own.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The limit of one call, everything included: connections, login, tries, answers.
    pub timeout: Duration,
}

/// A proxy that makes tunnels (RFC 9110, section 9.3.6).
#[derive(Debug)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// Its host name or address, the latter without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// With which name and password.
    pub user: Option<ProxyUser>,
}

/// How a proxy is spoken to. What goes through it is TLS either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// In the clear, so that its password is readable on the way.
    Http,
    /// Over TLS, verified as the services are.
    Https,
}

/// Basic authentication at a proxy (RFC 7617).
#[derive(Debug)]
pub struct ProxyUser {
    /// The name, without a colon.
    pub name: String,
    /// The password.
    pub password: SecretBytes,
}

/// An application credential of Keystone's.
#[derive(Debug)]
pub struct Credential {
    /// Its id.
    pub id: String,
    /// Its secret: UTF-8, at most 1,024 bytes.
    pub secret: SecretBytes,
}
