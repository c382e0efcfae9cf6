//! TLS by rustls and aws-lc-rs, with the two switches of a site.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::error::{BarbicanError, Service, SetupError, Stage, TlsFault, Unanswered};
use crate::roots::Roots;
use crate::site::Site;

/// The configuration of a site's TLS.
pub(crate) fn configuration(site: &Site) -> Result<Arc<ClientConfig>, SetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier {
        roots: site.verify.then(|| Roots::with(&site.extra_roots)).transpose()?,
        name: site.verify_host,
        provider: Arc::clone(&provider),
    };
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls(Arc::new(error)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // Nothing of a connection outlives it.
    configuration.resumption = Resumption::disabled();
    Ok(Arc::new(configuration))
}

/// Verifies the chain, the name, both or neither. That the server has the certificate's key is always verified.
#[derive(Debug)]
struct Verifier {
    /// `None` where any chain will do.
    roots: Option<Roots>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if let Some(roots) = &self.roots {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let [system, extra] = roots.stores().map(|store| {
                verify_server_cert_signed_by_trust_anchor(&certificate, store, intermediates, now, algorithms)
            });
            // Each set of roots is asked; the error is that of the set that knows the issuer.
            match (system, extra) {
                (Ok(()), _) | (_, Ok(())) => {}
                (Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)), Err(error)) | (Err(error), _) => {
                    return Err(error);
                }
            }
        }
        if self.name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What the failure of a handshake means.
pub(crate) fn handshake_error(service: Service, error: io::Error) -> BarbicanError {
    match tls_error(&error) {
        Some(tls) => BarbicanError::Tls { service, fault: fault(tls), source: Arc::new(tls.clone()) },
        None => {
            let source = Arc::new(error);
            BarbicanError::Unreachable { service, source: Unanswered::Broken { stage: Stage::Handshake, source } }
        }
    }
}

/// The error of the TLS library that lies at the bottom of another, if one does.
pub(crate) fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // The source of an `io::Error` is that of what it wraps, so look at what it wraps first.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

pub(crate) fn fault(error: &Error) -> TlsFault {
    let Error::InvalidCertificate(why) = error else {
        return TlsFault::Handshake;
    };
    match why {
        CertificateError::UnknownIssuer => TlsFault::Untrusted,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::Time,
        _ => TlsFault::Certificate,
    }
}
