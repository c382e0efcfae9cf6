//! What a certificate says, and whether a private key belongs to it (RFC 5280).

use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::private_key::PrivateKey;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// The subject's common name, the last where there are more.
    pub common_name: Option<String>,
    /// The issuer's.
    pub issuer_common_name: Option<String>,
    /// The serial number in upper-case hex digits, two to a byte, without the sign byte of DER.
    pub serial: String,
    /// Before this it is not valid.
    pub not_before: Timestamp,
    /// After this it is not valid; the last second of [`Timestamp::MAX`] for one that says that it never expires.
    pub not_after: Timestamp,
    /// The size of its public key in bits; 0 for a kind that is not known here.
    pub key_bits: usize,
    /// The hash under its signature; `None` for a kind that is not known here.
    pub hash: Option<SignatureHash>,
    /// Its authority key identifier, upper-case hex bytes between colons.
    pub authority_key_id: Option<String>,
    /// Its subject key identifier, in the same form.
    pub subject_key_id: Option<String>,
    /// Whether it is an authority's (basic constraints).
    pub is_authority: bool,
}

/// The hash under a signature, by the REST contract's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureHash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512, as in Ed25519 too.
    Sha512,
}

impl SignatureHash {
    /// The contract's word for it: `md5`, `sha1`, `sha224`, `sha256`, `sha384` or `sha512`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        const SHA224_WITH_RSA: Oid<'_> = oid!(1.2.840.113549.1.1.14);
        let algorithm = &certificate.signature_algorithm;
        if let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm) {
            return Self::of_digest(parameters.hash_algorithm_oid());
        }
        Some(match algorithm.oid() {
            oid if *oid == oid!(1.2.840.113549.1.1.4) => Self::Md5,
            oid if *oid == oid!(1.2.840.113549.1.1.5) || *oid == oid!(1.2.840.10045.4.1) => Self::Sha1,
            oid if *oid == SHA224_WITH_RSA || *oid == oid!(1.2.840.10045.4.3.1) => Self::Sha224,
            oid if *oid == oid!(1.2.840.113549.1.1.11) || *oid == oid!(1.2.840.10045.4.3.2) => Self::Sha256,
            oid if *oid == oid!(1.2.840.113549.1.1.12) || *oid == oid!(1.2.840.10045.4.3.3) => Self::Sha384,
            oid if *oid == oid!(1.2.840.113549.1.1.13) || *oid == oid!(1.2.840.10045.4.3.4) => Self::Sha512,
            oid if *oid == oid!(1.3.101.112) => Self::Sha512,
            _ => return None,
        })
    }

    fn of_digest(digest: &Oid<'_>) -> Option<Self> {
        Some(match digest {
            oid if *oid == oid!(1.3.14.3.2.26) => Self::Sha1,
            oid if *oid == oid!(2.16.840.1.101.3.4.2.4) => Self::Sha224,
            oid if *oid == oid!(2.16.840.1.101.3.4.2.1) => Self::Sha256,
            oid if *oid == oid!(2.16.840.1.101.3.4.2.2) => Self::Sha384,
            oid if *oid == oid!(2.16.840.1.101.3.4.2.3) => Self::Sha512,
            _ => return None,
        })
    }
}

/// What these bytes say, if they are one certificate and nothing behind it.
pub(crate) fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(())?;
    let mut facts = CertificateFacts {
        common_name: common_name(certificate.subject()),
        issuer_common_name: common_name(certificate.issuer()),
        serial: serial(certificate.raw_serial()),
        not_before: timestamp(&certificate.validity().not_before),
        not_after: timestamp(&certificate.validity().not_after),
        key_bits: key_bits(certificate.public_key()),
        hash: SignatureHash::of(&certificate),
        authority_key_id: None,
        subject_key_id: None,
        is_authority: certificate.is_ca(),
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                facts.authority_key_id = id.key_identifier.as_ref().map(|id| colons(id.0));
            }
            ParsedExtension::SubjectKeyIdentifier(id) => facts.subject_key_id = Some(colons(id.0)),
            _ => {}
        }
    }
    Some(facts)
}

/// The serial number without the byte that DER puts before one whose first bit is set: it is positive (RFC 5280, section 4.1.2.2).
fn serial(raw: &[u8]) -> String {
    match raw {
        [0, rest @ ..] if !rest.is_empty() => hex::encode_upper(rest),
        raw => hex::encode_upper(raw),
    }
}

/// A time, or the last second that can be told: a certificate that never expires says 9999-12-31, 23:59:59 (RFC 5280, section 4.1.2.5).
fn timestamp(time: &ASN1Time) -> Timestamp {
    let second = time.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().last().and_then(|name| name.as_str().ok()).map(str::to_owned)
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn key_bits(key: &SubjectPublicKeyInfo<'_>) -> usize {
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match (key.parsed(), curve) {
        (Ok(PublicKey::RSA(rsa)), _) => rsa.key_size(),
        (Ok(PublicKey::EC(_)), Some(curve)) if curve == oid!(1.3.132.0.33) => 224,
        (Ok(PublicKey::EC(_)), Some(curve)) if curve == oid!(1.2.840.10045.3.1.7) => 256,
        (Ok(PublicKey::EC(_)), Some(curve)) if curve == oid!(1.3.132.0.34) => 384,
        (Ok(PublicKey::EC(_)), Some(curve)) if curve == oid!(1.3.132.0.35) => 521,
        _ if key.algorithm.algorithm == oid!(1.3.101.112) => 256,
        _ => 0,
    }
}

/// Whether a certificate can be trusted as an authority by the library that connections are made with.
pub(crate) fn as_root(certificate: &CertificateDer<'static>) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(certificate.clone())
}

/// Whether a private key belongs to a certificate.
pub(crate) fn belongs(key: &PrivateKey, certificate: &CertificateDer<'static>) -> Result<(), Foreign> {
    key.with(|der| {
        let der = PrivateKeyDer::try_from(der).map_err(|_| Foreign::NoKey)?;
        let key = any_supported_type(&der).map_err(|_| Foreign::NoKey)?;
        let both = CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key));
        both.keys_match().map_err(|error| Foreign::Other(Arc::new(error)))
    })
}

/// Why a private key does not belong to a certificate.
pub(crate) enum Foreign {
    /// It is none that is known here.
    NoKey,
    /// It is another's.
    Other(Arc<rustls::Error>),
}
