//! The authorities that are trusted: the system's, and those that are given.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use rustls::RootCertStore;
use rustls_native_certs::CertificateResult;
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
        let mut roots = Self { system: system(), extra: RootCertStore::empty() };
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
fn system() -> Arc<RootCertStore> {
    static SYSTEM: ArcSwapOption<RootCertStore> = ArcSwapOption::const_empty();
    kept_at(&SYSTEM, rustls_native_certs::load_native_certs)
}

/// What is kept there, or else what is read, which is kept if it is whole: where something could not be read, the next
/// client may find more. Waits for no lock: a child that was forked while another thread read would wait for ever.
fn kept_at(place: &ArcSwapOption<RootCertStore>, read: impl FnOnce() -> CertificateResult) -> Arc<RootCertStore> {
    if let Some(kept) = place.load_full() {
        return kept;
    }
    let found = read();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's root certificates could not be read");
    }
    let mut store = RootCertStore::empty();
    let (_, unusable) = store.add_parsable_certificates(found.certs);
    if unusable > 0 {
        tracing::debug!(unusable, "some of the system's root certificates cannot be used");
    }
    let store = Arc::new(store);
    if store.is_empty() || !found.errors.is_empty() {
        return store;
    }
    let before = place.compare_and_swap(&None::<Arc<RootCertStore>>, Some(Arc::clone(&store)));
    Guard::into_inner(before).unwrap_or(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Barrier;
    use std::thread;

    use claviger_secret::testing::{End, in_child};
    use rcgen::{CertificateParams, KeyPair};
    use rustls_native_certs::{Error, ErrorKind};

    fn authority() -> CertificateDer<'static> {
        CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn found(certificates: &[CertificateDer<'static>], errors: Vec<Error>) -> CertificateResult {
        let mut found = CertificateResult::default();
        found.certs.extend_from_slice(certificates);
        found.errors = errors;
        found
    }

    #[test]
    fn only_what_is_whole_is_kept() {
        let place = ArcSwapOption::empty();
        let (some, more) = ([authority()], [authority(), authority()]);
        let error = || Error {
            context: "on purpose",
            kind: ErrorKind::Io { inner: io::ErrorKind::PermissionDenied.into(), path: "/".into() },
        };
        assert!(kept_at(&place, || found(&[], Vec::new())).is_empty());
        assert_eq!(kept_at(&place, || found(&some, vec![error()])).len(), 1);
        let kept = kept_at(&place, || found(&more, Vec::new()));
        assert_eq!(kept.len(), 2);
        assert!(Arc::ptr_eq(&kept, &kept_at(&place, || found(&some, Vec::new()))));
    }

    #[test]
    fn a_child_does_not_wait_for_a_thread_of_its_parent() {
        let (place, some) = (ArcSwapOption::empty(), [authority()]);
        let (begun, go_on) = (Barrier::new(2), Barrier::new(2));
        let end = thread::scope(|scope| {
            scope.spawn(|| {
                kept_at(&place, || {
                    begun.wait();
                    go_on.wait();
                    found(&some, Vec::new())
                })
            });
            begun.wait();
            let end = in_child(|| kept_at(&place, || found(&some, Vec::new())).len() == 1);
            go_on.wait();
            end
        });
        assert_eq!(end, End::Returned(true));
    }
}
