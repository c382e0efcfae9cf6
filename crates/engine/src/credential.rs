//! Credentials of keystores, and private keys of certificates, at rest: each is sealed for its own place within its record, so that reading the record does not bring it
//! into ordinary memory, and moved elsewhere it does not open.

use claviger_secret::SecretBytes;
use claviger_wrap::{BodyKey, OpenSecretError, RandomError, SvmId, SystemRandom};
use uuid::Uuid;

use crate::private_key::PrivateKey;
use crate::records::SealedPart;

/// Where a keystore's credentials are.
#[derive(Clone, Copy)]
pub(crate) struct CredentialPlace {
    pub(crate) svm: SvmId,
    pub(crate) keystore: Uuid,
}

/// Where the private key of a certificate is.
#[derive(Clone, Copy)]
pub(crate) struct PrivateKeyPlace {
    /// The SVM; `None` for the cluster.
    pub(crate) svm: Option<Uuid>,
    pub(crate) certificate: Uuid,
}

/// The number of a private key where credentials of keystores have theirs.
const PRIVATE_KEY: u8 = 3;

impl PrivateKeyPlace {
    /// Fixed widths: SVM or zeros, certificate, field, part, parts. None is as long as that of a keystore's credential.
    fn header(self, part: usize, parts: usize) -> Vec<u8> {
        let number = |number| u8::try_from(number).unwrap_or(u8::MAX);
        let (svm, certificate) = (self.svm.unwrap_or_default(), self.certificate);
        [svm.as_bytes().as_slice(), certificate.as_bytes(), &[PRIVATE_KEY, number(part), number(parts)]].concat()
    }

    #[cfg(feature = "certificates")]
    pub(crate) fn seal(self, secret: &PrivateKey, key: &BodyKey) -> Result<Vec<SealedPart>, RandomError> {
        let parts = secret.parts();
        let seal = |(at, part): (usize, &SecretBytes)| {
            key.seal(&self.header(at, parts.len()), part.expose(), &mut SystemRandom).map(SealedPart)
        };
        parts.iter().enumerate().map(seal).collect()
    }

    pub(crate) fn open(self, sealed: &[SealedPart], key: &BodyKey) -> Result<PrivateKey, OpenSecretError> {
        let open = |(at, part): (usize, &SealedPart)| key.open_secret(&self.header(at, sealed.len()), &part.0);
        Ok(PrivateKey::of_parts(sealed.iter().enumerate().map(open).collect::<Result<_, _>>()?))
    }

    /// The same key under another, as in a backup.
    pub(crate) fn reseal(
        self,
        sealed: &[SealedPart],
        from: &BodyKey,
        to: &BodyKey,
    ) -> Result<Vec<SealedPart>, ResealError> {
        let reseal = |(at, part): (usize, &SealedPart)| {
            let header = self.header(at, sealed.len());
            let secret = from.open_secret(&header, &part.0).map_err(ResealError::Open)?;
            let sealed = to.seal(&header, secret.expose(), &mut SystemRandom).map_err(ResealError::Random)?;
            Ok(SealedPart(sealed))
        };
        sealed.iter().enumerate().map(reseal).collect()
    }
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
    #[error(
        "a credential of a keystore or the private key of a certificate does not open; put the record back from a copy"
    )]
    Open(#[source] OpenSecretError),
    /// The random source failed.
    #[error("a credential could not be sealed")]
    Random(#[source] RandomError),
}
