//! What a command says while it runs, and at its end.
//!
//! A command over a hierarchy prints nothing itself. What it says is a series of these, which are shown where it was given: in the
//! same process, or by the client of the service that ran it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::FailureView;
use crate::secret::Secret;

/// In which form results are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Text,
    Json,
}

/// One thing that a command says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Event {
    /// A result, whole, in the form that was asked for.
    Result(String),
    /// A piece of a result that comes bit by bit.
    Part(String),
    /// A backup, whole.
    Backup(String),
    /// Something beside the result.
    Note(String),
    /// A job waits to go on.
    Waits { job: Uuid, what: String },
    /// Something failed, and the command may go on.
    Failure(FailureView),
    /// Keys are counted from now on.
    Counting { what: String, total: Option<u64> },
    /// Something takes its time from now on.
    Waiting { what: String },
    /// So many have been counted.
    At(u64),
    /// What was counted or waited for is over.
    Over,
    /// The command did nothing, for it needs this secret; it is to be given again with it.
    Wants(Wanted),
    /// The command ended with this exit code.
    End(u8),
    /// It still runs.
    Alive,
}

/// A secret that a command can want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wanted {
    /// The onboard keystore's.
    Passphrase,
    /// One that the onboard keystore is to have.
    NewPassphrase,
    /// What an application credential is proved with.
    Credential,
    /// What a proxy's user is proved with.
    ProxyPassword,
}

impl Wanted {
    /// The kind of secret that it is.
    pub(crate) const fn secret(self) -> Secret {
        match self {
            Self::Passphrase | Self::NewPassphrase => Secret::Passphrase,
            Self::Credential => Secret::Credential,
            Self::ProxyPassword => Secret::ProxyPassword,
        }
    }
}

/// Its name in a request.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase => "passphrase",
            Self::NewPassphrase => "new-passphrase",
            Self::Credential => "credential",
            Self::ProxyPassword => "proxy-password",
        })
    }
}
