//! Why a certificate could not be installed, found or deleted.

use std::sync::Arc;

use claviger_secret::ArenaError;
use claviger_store::MAX_RECORD_BYTES;
use claviger_wrap::{RandomError, SvmId};
use uuid::Uuid;

use crate::cause::Cause;
use crate::certificate_name::{CertificateKind, CertificateName};
use crate::error::{Advice, Blame, Fault};
use crate::key_error::KeyError;
use crate::records::RecordError;

/// Why a certificate could not be installed, found or deleted. Nothing has changed then, unless the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There is no SVM with this UUID.
    #[error("SVM {svm} does not exist")]
    UnknownSvm {
        /// The UUID.
        svm: SvmId,
    },
    /// There is no certificate with this UUID.
    #[error("certificate {certificate} is not installed")]
    Unknown {
        /// The UUID.
        certificate: Uuid,
    },
    /// The scope has no certificate of this name.
    #[error("certificate \"{name}\" is not installed in this scope")]
    UnknownName {
        /// The name.
        name: CertificateName,
    },
    /// Another certificate of the scope has this name.
    #[error(
        "a certificate named \"{name}\" is installed already in this scope; choose another name, or delete that one"
    )]
    NameTaken {
        /// The name.
        name: CertificateName,
    },
    /// The bytes are not one X.509 certificate.
    #[error("this is not one X.509 certificate in DER, and nothing else")]
    NotACertificate,
    /// One of the chain is not one X.509 certificate.
    #[error("certificate {number} of the chain is not one X.509 certificate in DER, and nothing else")]
    NotAChain {
        /// Which, from 1.
        number: usize,
    },
    /// It is to be an authority, and says that it is none.
    #[error("a certificate of the kind {kind} must be an authority's, and this one is not (basic constraints)")]
    NotAnAuthority {
        /// The kind.
        kind: CertificateKind,
    },
    /// No connection could trust it.
    #[error("the authority cannot be trusted as it is")]
    NotARoot(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// It must have its private key, and none was given.
    #[error("a certificate of the kind {kind} needs its private key; give that too")]
    NeedsPrivateKey {
        /// The kind.
        kind: CertificateKind,
    },
    /// It is an authority's, and a private key was given.
    #[error("a certificate of the kind {kind} is installed without a private key; leave that out")]
    TakesNoPrivateKey {
        /// The kind.
        kind: CertificateKind,
    },
    /// What was given as a private key is none that is known here.
    #[error(
        "the private key is none that can be used; give an RSA, ECDSA or Ed25519 key as PKCS #8, PKCS #1 or SEC 1 in DER"
    )]
    NotAPrivateKey,
    /// The private key is another certificate's.
    #[error("the private key does not belong to the certificate")]
    OtherPrivateKey(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// Certificate, chain and private key are more than a record can hold.
    #[error(
        "the certificate with its chain and private key takes {found} bytes, and {} can be kept; leave out what the other side has",
        MAX_RECORD_BYTES
    )]
    TooLarge {
        /// What they take.
        found: usize,
    },
    /// The certificate in the record, or its private key, is damaged.
    #[error("certificate {certificate} is damaged; delete it and install it again, or put its record back from a copy")]
    Damaged {
        /// The UUID.
        certificate: Uuid,
    },
    /// The SVM could not take it.
    #[error(transparent)]
    Svm(KeyError),
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl From<KeyError> for CertificateError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownSvm { svm } => Self::UnknownSvm { svm },
            KeyError::Records(error) => Self::Records(error),
            error => Self::Svm(error),
        }
    }
}

impl Blame for CertificateError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::UnknownSvm { .. }
            | Self::Unknown { .. }
            | Self::UnknownName { .. }
            | Self::NameTaken { .. }
            | Self::NotACertificate
            | Self::NotAChain { .. }
            | Self::NotAnAuthority { .. }
            | Self::NotARoot(_)
            | Self::NeedsPrivateKey { .. }
            | Self::TakesNoPrivateKey { .. }
            | Self::NotAPrivateKey
            | Self::OtherPrivateKey(_)
            | Self::TooLarge { .. } => (Fault::Caller, Advice::Correct),
            Self::Damaged { .. } => (Fault::Data, Advice::Repair),
            Self::Svm(error) => error.blame(),
            Self::Arena(full) => full.blame(),
            Self::Random(_) => (Fault::Node, Advice::Retry),
            Self::Records(error) => error.blame(),
        }
    }
}

impl From<&CertificateError> for Cause {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownSvm { .. }
            | CertificateError::Unknown { .. }
            | CertificateError::UnknownName { .. }
            | CertificateError::NameTaken { .. }
            | CertificateError::NotACertificate
            | CertificateError::NotAChain { .. }
            | CertificateError::NotAnAuthority { .. }
            | CertificateError::NotARoot(_)
            | CertificateError::NeedsPrivateKey { .. }
            | CertificateError::TakesNoPrivateKey { .. }
            | CertificateError::NotAPrivateKey
            | CertificateError::OtherPrivateKey(_)
            | CertificateError::TooLarge { .. } => Self::Request,
            CertificateError::Damaged { .. } => Self::StoreDamaged,
            CertificateError::Svm(error) => error.into(),
            CertificateError::Arena(_) => Self::Node,
            CertificateError::Random(_) => Self::Random,
            CertificateError::Records(error) => error.into(),
        }
    }
}
