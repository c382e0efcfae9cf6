//! The daemon around claviger's REST API.
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
pub use audit::{AuditError, AuditReport, BadLine, audit_file, verify_audit};
pub use config::{
    CertificateFiles, Config, ConfigError, ConfigErrors, Limits, Log, LogFormat, Origin, Overrides, TlsFiles,
};
pub use dev::{DevError, DevSite};
pub use facts::{FactsError, FactsFile};
pub use login::LoginsError;
pub use metrics::Registry;
pub use server::{Server, StartError};
pub use tls::TlsError;

/// An error with all that caused it, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
