//! The authorities that are trusted: the system's, and those that are given.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use thiserror::Error;

use crate::error::SetupError;

/// Reads certificates from PEM text. Keys and other things in it are passed over.
///
/// # Errors
/// [`PemError`].
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(PemError::Broken)?;
    match found.is_empty() {
        true => Err(PemError::Empty),
        false => Ok(found),
    }
}

/// Why a text gives no certificates.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PemError {
    /// There is none.
    #[error("there is no certificate in the PEM text")]
    Empty,
    /// It is not PEM.
    #[error("the PEM text is broken")]
    Broken(#[source] pem::Error),
}

/// The authorities to trust, the system's first. They are kept apart, so that all clients share the system's.
#[derive(Debug)]
pub(crate) struct Roots {
    system: Arc<RootCertStore>,
    extra: RootCertStore,
}

impl Roots {
    pub(crate) fn with(extra: &[CertificateDer<'static>]) -> Result<Self, SetupError> {
        let mut roots = Self { system: Arc::clone(system()), extra: RootCertStore::empty() };
        for certificate in extra {
            roots.extra.add(certificate.clone()).map_err(|error| SetupError::Root(Arc::new(error)))?;
        }
        match roots.system.is_empty() && roots.extra.is_empty() {
            true => Err(SetupError::NoRoots),
            false => Ok(roots),
        }
    }

    pub(crate) fn stores(&self) -> [&RootCertStore; 2] {
        [&self.system, &self.extra]
    }
}

/// The system's authorities, read once in a process: there are some hundred, and may be thousands of clients.
fn system() -> &'static Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's root certificates could not be read");
        }
        let mut store = RootCertStore::empty();
        let (_, unusable) = store.add_parsable_certificates(found.certs);
        if unusable > 0 {
            tracing::debug!(unusable, "some of the system's root certificates cannot be used");
        }
        Arc::new(store)
    })
}
