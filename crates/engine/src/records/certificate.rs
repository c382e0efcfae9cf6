//! The `certificates` records: one per installed certificate, and one per name, so that a scope gives a name once.

use claviger_store::Table;
use claviger_wrap::SvmId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::svm_keystores::CaCertificate;
use super::{Body, V1, hex_bytes};
use crate::certificate_name::{CertificateKind, CertificateName};
use crate::credential::PrivateKeyPlace;

const BY_ID: u8 = 0;
const BY_NAME: u8 = 1;
/// The scopes in the key of a name's record.
const CLUSTER: u8 = 0;
const SVM: u8 = 1;

/// An installed certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateRecord {
    pub(crate) version: V1,
    /// The certificate's UUID.
    pub(crate) certificate: Uuid,
    /// The SVM that it is installed in; null for the cluster.
    pub(crate) svm: Option<Uuid>,
    /// Its name in that scope.
    pub(crate) name: CertificateName,
    pub(crate) kind: CertificateKind,
    /// When it was installed.
    pub(crate) created: Timestamp,
    pub(crate) der: CaCertificate,
    /// The certificates between it and its root.
    pub(crate) chain: Vec<CaCertificate>,
    /// The private key, sealed in parts; empty where it has none.
    pub(crate) private_key: Vec<SealedPart>,
}

/// A part of a private key, sealed for its own place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SealedPart(#[serde(with = "hex_bytes")] pub(crate) Vec<u8>);

impl CertificateRecord {
    /// The prefix of all certificates' keys.
    pub(crate) const PREFIX: &[u8] = &[BY_ID];

    pub(crate) fn key_of(certificate: Uuid) -> Vec<u8> {
        [&[BY_ID], certificate.as_bytes().as_slice()].concat()
    }

    /// The certificate that a key of this kind names.
    pub(crate) fn certificate_of(key: &[u8]) -> Option<Uuid> {
        match key.split_first()? {
            (&BY_ID, certificate) => Uuid::from_slice(certificate).ok(),
            _ => None,
        }
    }

    pub(crate) fn scope(&self) -> Option<SvmId> {
        self.svm.map(SvmId::from)
    }

    /// The record of its name.
    pub(crate) fn naming(&self) -> CertificateNameRecord {
        let Self { certificate, svm, ref name, .. } = *self;
        CertificateNameRecord { version: V1, svm, name: name.clone(), certificate }
    }

    /// Where its private key is.
    pub(crate) const fn key_place(&self) -> PrivateKeyPlace {
        PrivateKeyPlace { svm: self.svm, certificate: self.certificate }
    }
}

impl Body for CertificateRecord {
    const TABLE: Table = Table::Certificates;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.certificate)
    }
}

/// A name that is taken in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateNameRecord {
    pub(crate) version: V1,
    /// The SVM; null for the cluster.
    pub(crate) svm: Option<Uuid>,
    /// The name.
    pub(crate) name: CertificateName,
    /// The certificate that has it.
    pub(crate) certificate: Uuid,
}

impl CertificateNameRecord {
    /// What the keys of all names begin with.
    #[cfg(feature = "certificates")]
    pub(crate) const PREFIX: &[u8] = &[BY_NAME];

    /// What the keys of the names of one scope begin with.
    pub(crate) fn prefix(scope: Option<SvmId>) -> Vec<u8> {
        match scope {
            None => vec![BY_NAME, CLUSTER],
            Some(svm) => [&[BY_NAME, SVM], svm.as_bytes().as_slice()].concat(),
        }
    }

    pub(crate) fn key_of(scope: Option<SvmId>, name: &CertificateName) -> Vec<u8> {
        [&Self::prefix(scope), name.as_str().as_bytes()].concat()
    }

    /// The scope and the name that a key of this kind holds.
    pub(crate) fn name_of(key: &[u8]) -> Option<(Option<SvmId>, CertificateName)> {
        let (scope, name) = match key.split_first_chunk::<2>()? {
            ([BY_NAME, CLUSTER], name) => (None, name),
            ([BY_NAME, SVM], rest) => {
                let (svm, name) = rest.split_first_chunk::<16>()?;
                (Some(SvmId::from_bytes(*svm)), name)
            }
            _ => return None,
        };
        Some((scope, std::str::from_utf8(name).ok()?.parse().ok()?))
    }
}

impl Body for CertificateNameRecord {
    const TABLE: Table = Table::Certificates;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.svm.map(SvmId::from), &self.name)
    }
}
