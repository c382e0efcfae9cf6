//! The daemon around claviger's REST API, or around any [`axum::Router`].
//!
//! It brings what a router does not have: a [`Config`] that is checked as a whole, TLS with a certificate of its own making, [`Accounts`],
//! limits on all that a client can take, the audit log ([`verify_audit`] checks it), metrics ([`Registry`]), the facts of the node
//! ([`FactsFile`]), and an orderly stop. `docs/service.md` is the page for operators.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use claviger::{Engine, Options};
//! use claviger_server::{Config, Overrides, Registry, Server};
//!
//! let config = Config::load(Some("/etc/claviger/claviger.toml".as_ref()), std::env::vars_os(), Overrides::default())?;
//! let engine = Arc::new(Engine::open(&config.data_dir, Options::default())?);
//! let api = axum::Router::new();
//! Server::start(&config, engine, Registry::default(), api)?.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Authentication leaves a [`Caller`](claviger_ontap::Caller) in each request's extensions. What the caller's role allows, the router
//! decides. What the audit log may say of a request, its handler leaves as an [`Audited`](claviger_ontap::Audited) in the response's.
#![forbid(unsafe_code)]

mod accounts;
mod audit;
mod config;
mod dev;
mod facts;
mod login;
mod metrics;
mod server;
mod site;
mod stamp;
mod tls;

pub use accounts::{Account, AccountName, Accounts, AccountsError, InvalidAccountName};
pub use audit::{AuditError, AuditReport, BadLine, InvalidLineHash, LineHash, audit_file, verify_audit};
pub use config::{
    CertificateFiles, Config, ConfigError, ConfigErrors, FactsPath, Limits, Log, LogFormat, Origin, Overrides, TlsFiles,
};
pub use dev::{DevError, DevSite};
pub use facts::{FactsError, FactsFile};
pub use login::LoginsError;
pub use metrics::Registry;
pub use server::{Background, Server, StartError, Work};
pub use tls::TlsError;

/// An error with all that caused it, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
