//! Why a service did not do what it was asked.

use std::borrow::Cow;

use crate::args::ServiceUrl;
use crate::exit::Exit;

/// Why a service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("the service at {url} is not to be reached")]
    Unreachable { url: ServiceUrl, source: Box<ureq::Error> },
    #[error("the service at {url} does not prove that it is the one")]
    Tls { url: ServiceUrl, source: Box<ureq::Error> },
    #[error("the service at {url} refuses the account \"{user}\" with this password")]
    Unauthorized { url: ServiceUrl, user: String },
    #[error("the service at {url} refuses: {said}")]
    Forbidden { url: ServiceUrl, said: String },
    #[error("the service at {url} does not take the request: {said}")]
    Refused { url: ServiceUrl, said: String },
    #[error("the service at {url} takes no request now: {said}")]
    Busy { url: ServiceUrl, said: String, wait: Option<u64> },
    #[error("the service at {url} looks at no password now: {said}")]
    TooSoon { url: ServiceUrl, said: String, wait: u64 },
    #[error("the service at {url} failed with HTTP status {status}: {said}")]
    Failed { url: ServiceUrl, status: u16, said: String },
    #[error("the service at {url} takes no commands")]
    NoCommands { url: ServiceUrl },
    #[error("the service at {url} sends elsewhere, with HTTP status {status}, which is not followed")]
    Redirects { url: ServiceUrl, status: u16 },
    #[error("the service at {url} answers what this release does not understand")]
    Strange { url: ServiceUrl },
    #[error("the service at {url} was heard no more before the command ended")]
    Lost { url: ServiceUrl, source: std::io::Error },
    #[error("the request could not be made")]
    Unmade(#[source] ureq::http::Error),
    #[error("the system's authorities could not be read")]
    NoAuthorities,
}

impl ServiceError {
    /// The exit code.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Unauthorized { .. } | Self::TooSoon { .. } | Self::Forbidden { .. } => Exit::Passphrase,
            Self::Refused { .. } => Exit::Request,
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Busy { .. }
            | Self::Failed { .. }
            | Self::NoCommands { .. }
            | Self::Redirects { .. }
            | Self::Strange { .. }
            | Self::Lost { .. } => Exit::Service,
            Self::NoAuthorities => Exit::Node,
            Self::Unmade(_) => Exit::Failed,
        }
    }

    /// What to do now.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Unreachable { .. } => "see that `claviger serve` runs there, and that host and port are right",
            Self::Tls { .. } => {
                "name its authority's certificate with --url-ca, or the host as its certificate names it; \
                 where both are right, somebody is in between"
            }
            Self::Unauthorized { .. } => "give the right account and password",
            Self::Forbidden { .. } => "use an account with the role that the command needs",
            Self::Refused { .. } => "correct the request, or use a claviger of the service's release",
            Self::Busy { wait: Some(wait), .. } => return format!("try again in {wait} s").into(),
            Self::Busy { wait: None, .. } => "try again later",
            Self::TooSoon { wait, .. } => {
                return format!("try again in {wait} s, and see that account and password are right").into();
            }
            Self::Failed { .. } => "see the service's log",
            Self::NoCommands { .. } | Self::Redirects { .. } => "see that the URL is that of a `claviger serve`",
            Self::Strange { .. } => "use a claviger of the service's release",
            Self::Lost { .. } => {
                "what was asked may have been done, or go on there: `claviger job list` and `claviger show` tell"
            }
            Self::Unmade(_) => "report it",
            Self::NoAuthorities => "name the service's authority with --url-ca",
        }
        .into()
    }
}
