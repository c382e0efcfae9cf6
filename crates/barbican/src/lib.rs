#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod check;
mod client;
mod connect;
mod deadline;
mod error;
mod exchange;
mod io;
mod keystone;
mod metadata;
mod names;
mod roots;
mod session;
mod site;
mod tls;
mod transport;
mod url;

pub use check::{Hop, HopName};
pub use client::Client;
pub use error::{BarbicanError, Misbehaviour, Service, SetupError, Stage, TlsFault, Unanswered, Unsuitable};
pub use metadata::{Metadata, SecretStatus, SecretType};
pub use roots::{PemError, certificates_from_pem};
pub use rustls_pki_types::CertificateDer;
pub use site::{Credential, Proxy, ProxyKind, ProxyUser, Site};
pub use url::{KeystoneUrl, SecretUrl, UrlError};
