//! Certificates that the tests make.

use claviger::{CertificateDer, CertificateKind, NewCertificate, PrivateKey, SvmId};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, SerialNumber, SignatureAlgorithm, date_time_ymd,
};

use crate::common::arena;

/// A certificate and its private key.
pub(crate) struct Made {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
    params: CertificateParams,
}

/// Algorithms, with what they are called, and the bits of their keys.
pub(crate) fn algorithms() -> [(&'static SignatureAlgorithm, &'static str, usize); 5] {
    [
        (&PKCS_ECDSA_P256_SHA256, "sha256", 256),
        (&PKCS_ECDSA_P384_SHA384, "sha384", 384),
        (&PKCS_ECDSA_P521_SHA512, "sha512", 521),
        (&PKCS_ED25519, "sha512", 256),
        (&PKCS_RSA_SHA256, "sha256", 2_048),
    ]
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc, 0x01]));
    params.not_before = date_time_ymd(2026, 1, 2);
    params.not_after = date_time_ymd(2036, 1, 2);
    params.use_authority_key_identifier_extension = true;
    params
}

impl Made {
    /// An authority that signed itself.
    pub(crate) fn authority(common_name: &str) -> Self {
        Self::authority_with(common_name, |_| ())
    }

    /// The same, which says something else.
    pub(crate) fn authority_with(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params(common_name);
        change(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { der: params.self_signed(&key).unwrap().der().clone(), key, params }
    }

    /// One that an authority signed, with a key of this kind.
    pub(crate) fn under(&self, common_name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let (params, key) = (params(common_name), KeyPair::generate_for(algorithm).unwrap());
        let issuer = Issuer::from_params(&self.params, &self.key);
        Self { der: params.signed_by(&key, &issuer).unwrap().der().clone(), key, params }
    }

    pub(crate) fn private_key(&self) -> PrivateKey {
        PrivateKey::copy_from(&arena(), &self.key.serialize_der()).unwrap()
    }

    /// To be installed as this, with its private key where that belongs there.
    pub(crate) fn to_install(&self, scope: Option<SvmId>, text: Option<&str>, kind: CertificateKind) -> NewCertificate {
        NewCertificate {
            scope,
            name: text.map(|text| text.parse().unwrap()),
            kind,
            certificate: self.der.clone(),
            chain: Vec::new(),
            private_key: (!kind.is_authority()).then(|| self.private_key()),
        }
    }
}
