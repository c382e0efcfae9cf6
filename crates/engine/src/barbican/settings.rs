//! What a keystore at a Barbican is made of, and what of it can change.

use std::time::Duration;

use claviger_barbican::{CertificateDer, Credential, Proxy, SecretUrl, SetupError, Site, UrlError};
use claviger_secret::ArenaError;
use claviger_wrap::{OpenSecretError, RandomError};

use crate::error::{Advice, Blame, Fault};

/// A keystore at an OpenStack Barbican, as it is made.
#[derive(Debug)]
pub struct BarbicanSettings {
    /// The secret that is the top-level key.
    pub key: SecretUrl,
    /// The services and the way to them.
    pub site: Site,
    /// Who asks.
    pub credential: Credential,
}

/// What changes of a keystore at a Barbican. What is `None` stays.
#[derive(Debug, Default)]
pub struct BarbicanUpdate {
    /// Another credential: its id and its secret together.
    pub credential: Option<Credential>,
    /// Another proxy, or with `Some(None)` none.
    pub proxy: Option<Option<Proxy>>,
    /// Whether a certificate must come from a trusted authority.
    pub verify: Option<bool>,
    /// Whether a certificate must name the host.
    pub verify_host: Option<bool>,
    /// The limit of one call.
    pub timeout: Option<Duration>,
    /// Other authorities to trust beside the system's own.
    pub extra_roots: Option<Vec<CertificateDer<'static>>>,
}

impl BarbicanUpdate {
    /// Whether nothing changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self { credential, proxy, verify, verify_host, timeout, extra_roots } = self;
        credential.is_none()
            && proxy.is_none()
            && verify.is_none()
            && verify_host.is_none()
            && timeout.is_none()
            && extra_roots.is_none()
    }
}

/// Why the settings of a keystore at a Barbican cannot be used. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarbicanSetupError {
    /// The client cannot be made of them.
    #[error(transparent)]
    Client(#[from] SetupError),
    /// The keystore's record holds a URL that is none.
    #[error("the keystore's record is damaged: it holds a URL that is none")]
    Url(#[from] UrlError),
    /// The keystore's credential does not open with the sealing key.
    #[error("the credential in the keystore's record is damaged; give it again, or put the record back from a copy")]
    DamagedCredential,
    /// The limit of one call is not 1 s to an hour in whole seconds.
    #[error("the time limit is {} s; it must be 1 to 3600 whole seconds", found.as_secs_f32())]
    Timeout {
        /// The limit that was given.
        found: Duration,
    },
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Blame for BarbicanSetupError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Client(SetupError::Arena(full)) | Self::Arena(full) => full.blame(),
            Self::Client(SetupError::Thread(_)) | Self::Random(_) => (Fault::Node, Advice::Retry),
            Self::Client(_) | Self::Timeout { .. } => (Fault::Caller, Advice::Correct),
            Self::Url(_) | Self::DamagedCredential => (Fault::Data, Advice::Repair),
        }
    }
}

impl From<OpenSecretError> for BarbicanSetupError {
    fn from(error: OpenSecretError) -> Self {
        match error {
            OpenSecretError::Arena(full) => Self::Arena(full),
            _ => Self::DamagedCredential,
        }
    }
}
