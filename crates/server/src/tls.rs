//! TLS: what the service identifies itself with, and whose certificates it takes from clients.

mod own;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::config::{CertificateFiles, Config};

/// The TLS configuration that new connections get, read again when it is asked for.
pub(crate) struct Tls {
    config: Config,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    server: Arc<ServerConfig>,
    expires: Vec<(&'static str, Timestamp)>,
}

impl Tls {
    /// Reads certificates and key; makes them first where none are configured.
    pub(crate) fn load(config: &Config) -> Result<Self, TlsError> {
        let loaded = load(config)?;
        Ok(Self { config: config.clone(), current: ArcSwap::from_pointee(loaded) })
    }

    /// Reads the same files again. Where that fails, what was read before stays; connections that are open stay as they are.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.config)?));
        Ok(())
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// Which certificates there are, and when the first of each file expires.
    pub(crate) fn expiries(&self) -> Vec<(&'static str, Timestamp)> {
        self.current.load().expires.clone()
    }
}

/// The certificate that clients of a service with a certificate of its own making have to trust.
pub(crate) fn own_authority(data_dir: &Path) -> PathBuf {
    own::Paths::below(data_dir).authority
}

/// Has the service make another certificate where that of its own making does not name `ip`.
pub(crate) fn forget_own_without(data_dir: &Path, ip: IpAddr) -> Result<(), TlsError> {
    let path = own::Paths::below(data_dir).certificate;
    if !path.exists() || ip.is_unspecified() || certificates(&path)?.first().is_some_and(|own| names(own, ip)) {
        return Ok(());
    }
    std::fs::remove_file(&path).map_err(|source| TlsError::Write { path, source })
}

fn names(certificate: &CertificateDer<'_>, ip: IpAddr) -> bool {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| matches!(name, GeneralName::IPAddress(ip) if *ip == octets))
}

fn load(config: &Config) -> Result<Loaded, TlsError> {
    let files = match &config.tls.given {
        Some(files) => files.clone(),
        None => own::certificate(&config.data_dir, config.listen)?,
    };
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files)?;
    let mut expires = vec![("server", first_expiry(&chain, &files.certificate)?)];
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(TlsError::Setup)?;
    let builder = match &config.tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let (verifier, expiry) = authorities(path, provider)?;
            expires.push(("client_ca", expiry));
            builder.with_client_cert_verifier(verifier)
        }
    };
    let server = builder.with_single_cert(chain, key);
    let mut server = server.map_err(|source| TlsError::Pair { path: files.certificate.clone(), source })?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { server: Arc::new(server), expires })
}

/// Who takes certificates of these authorities from clients, and when the first of the authorities expires.
fn authorities(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Timestamp), TlsError> {
    let authorities = certificates(path)?;
    let expiry = first_expiry(&authorities, path)?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|_| TlsError::Certificate { path: path.to_owned() })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.allow_unauthenticated().build();
    let verifier = verifier.map_err(|source| TlsError::Authorities { path: path.to_owned(), source })?;
    Ok((verifier, expiry))
}

/// What is wrong with each of the two; that they do not belong together is told of the certificate.
#[derive(Default)]
pub(crate) struct UnfitFiles {
    pub(crate) certificate: Option<TlsError>,
    pub(crate) key: Option<TlsError>,
}

/// Whether the service can identify itself with these files.
pub(crate) fn check_own(files: &CertificateFiles) -> UnfitFiles {
    let CertificateFiles { certificate: path, .. } = files;
    let chain = certificates(path).and_then(|chain| first_expiry(&chain, path).map(|_| chain));
    let (chain, key) = match (chain, private_key(files)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return UnfitFiles { certificate: chain.err(), key: key.err() },
    };
    let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    let certificate = pair.err().map(|source| TlsError::Pair { path: path.clone(), source });
    UnfitFiles { certificate, key: None }
}

/// Whether certificates of these authorities can be taken from clients.
pub(crate) fn check_authorities(path: &Path) -> Result<(), TlsError> {
    authorities(path, Arc::new(aws_lc_rs::default_provider())).map(|_| ())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Pem { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    match certificates.is_empty() {
        true => Err(wrong(pem::Error::NoItemsFound)),
        false => Ok(certificates),
    }
}

fn private_key(files: &CertificateFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::Pem { path: files.key.clone(), source })
}

fn first_expiry(chain: &[CertificateDer<'_>], path: &Path) -> Result<Timestamp, TlsError> {
    let wrong = || TlsError::Certificate { path: path.to_owned() };
    let expiries = chain.iter().map(|certificate| expiry(certificate).ok_or_else(wrong));
    expiries.collect::<Result<Vec<_>, _>>()?.into_iter().min().ok_or_else(wrong)
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// The common name of a client's certificate (RFC 5280, section 4.1.2.6), where it has exactly one.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().ok().map(str::to_owned),
        _ => None,
    }
}

/// Certificates or keys do not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or holds none of what it should.
    #[error("{} cannot be read as PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A certificate is damaged.
    #[error("{} holds a certificate that cannot be read", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("the certificate {} does not serve with its key", path.display())]
    Pair {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authorities cannot be used for clients.
    #[error("the authorities in {} do not serve for clients", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Make(#[source] rcgen::Error),
    /// A certificate that was made could not be written.
    #[error("a certificate of the service's own could not be written to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS itself.
    #[error("TLS could not be set up")]
    Setup(#[source] rustls::Error),
}
