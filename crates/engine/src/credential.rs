//! Credentials of keystores at rest: each is sealed for its own place within its record, so that reading the record does not bring it
//! into ordinary memory, and moved elsewhere it does not open.

use claviger_secret::SecretBytes;
use claviger_wrap::{BodyKey, OpenSecretError, RandomError, SvmId, SystemRandom};
use uuid::Uuid;

/// Where a keystore's credentials are.
#[derive(Clone, Copy)]
pub(crate) struct CredentialPlace {
    pub(crate) svm: SvmId,
    pub(crate) keystore: Uuid,
}

/// Which credential of a keystore. The number is part of what it is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CredentialField {
    ApplicationCredSecret = 1,
    ProxyPassword = 2,
}

impl CredentialPlace {
    /// Fixed widths: SVM, keystore, field.
    fn header(self, field: CredentialField) -> Vec<u8> {
        [self.svm.as_bytes().as_slice(), self.keystore.as_bytes(), &[field as u8]].concat()
    }

    #[cfg(feature = "barbican")]
    pub(crate) fn seal(
        self,
        field: CredentialField,
        secret: &SecretBytes,
        key: &BodyKey,
    ) -> Result<Vec<u8>, RandomError> {
        key.seal(&self.header(field), secret.expose(), &mut SystemRandom)
    }

    pub(crate) fn open(
        self,
        field: CredentialField,
        sealed: &[u8],
        key: &BodyKey,
    ) -> Result<SecretBytes, OpenSecretError> {
        key.open_secret(&self.header(field), sealed)
    }

    /// The same credential under another key, as in a backup.
    pub(crate) fn reseal(
        self,
        field: CredentialField,
        sealed: &[u8],
        from: &BodyKey,
        to: &BodyKey,
    ) -> Result<Vec<u8>, ResealError> {
        let secret = self.open(field, sealed, from).map_err(ResealError::Open)?;
        to.seal(&self.header(field), secret.expose(), &mut SystemRandom).map_err(ResealError::Random)
    }
}

/// Why a credential could not be put under another key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// It does not open.
    #[error("a credential of a keystore does not open; put the record of the SVM's keystores back from a copy")]
    Open(#[source] OpenSecretError),
    /// The random source failed.
    #[error("a credential of a keystore could not be sealed")]
    Random(#[source] RandomError),
}
