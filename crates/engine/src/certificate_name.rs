//! Names and kinds of installed certificates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a certificate in its scope: 1 to 200 bytes of text without control characters, and without white space at
/// either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CertificateName(String);

impl CertificateName {
    /// The most bytes of a name.
    pub const MAX_LEN: usize = 200;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CertificateName {
    type Error = InvalidCertificateName;

    fn try_from(name: String) -> Result<Self, InvalidCertificateName> {
        let is_text = !name.chars().any(char::is_control) && name.trim() == name;
        match is_text && (1..=Self::MAX_LEN).contains(&name.len()) {
            true => Ok(Self(name)),
            false => Err(InvalidCertificateName),
        }
    }
}

impl FromStr for CertificateName {
    type Err = InvalidCertificateName;

    fn from_str(name: &str) -> Result<Self, InvalidCertificateName> {
        Self::try_from(name.to_owned())
    }
}

impl From<CertificateName> for String {
    fn from(name: CertificateName) -> Self {
        name.0
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not a name of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a certificate's name has 1 to 200 bytes, no control characters, and no white space at either end")]
pub struct InvalidCertificateName;

/// What a certificate is for, as the REST contract has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateKind {
    /// This side shows it where it is a client. It has its private key.
    Client,
    /// This side shows it where it is a server. It has its private key.
    Server,
    /// An authority that clients' certificates are from.
    ClientCa,
    /// An authority that servers' certificates are from: every outgoing connection of its scope trusts it.
    ServerCa,
    /// A root authority.
    RootCa,
}

impl CertificateKind {
    /// The contract's word for it: `client`, `server`, `client_ca`, `server_ca` or `root_ca`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::ClientCa => "client_ca",
            Self::ServerCa => "server_ca",
            Self::RootCa => "root_ca",
        }
    }

    /// Whether it is an authority's, and so has no private key here.
    #[must_use]
    pub const fn is_authority(self) -> bool {
        match self {
            Self::Client | Self::Server => false,
            Self::ClientCa | Self::ServerCa | Self::RootCa => true,
        }
    }
}

impl fmt::Display for CertificateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
