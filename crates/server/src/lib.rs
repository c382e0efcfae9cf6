//! The daemon around claviger's REST API.
#![forbid(unsafe_code)]

mod accounts;
mod config;
mod login;

pub use accounts::{Account, AccountName, Accounts, AccountsError, InvalidAccountName};
pub use config::{
    CertificateFiles, Config, ConfigError, ConfigErrors, Limits, Log, LogFormat, Origin, Overrides, TlsFiles,
};
pub use login::LoginsError;

/// An error with all that caused it, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
