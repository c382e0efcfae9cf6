//! The keystores of a data SVM: one record for all of them, so that two never have one name and two are never enabled.

use claviger_store::Table;
use claviger_wrap::SvmId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, V1, hex_bytes};
use crate::credential::CredentialField;
use crate::keystore_name::KeystoreName;

const PREFIX: u8 = 1;

/// The keystores of one SVM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SvmKeystores {
    pub(crate) version: V1,
    /// The SVM.
    pub(crate) svm: Uuid,
    /// In the order in which they were made. No two have one name.
    pub(crate) keystores: Vec<Configuration>,
    /// The one that is enabled: it keeps the KEKs that are made from now on. With none, the cluster's does.
    pub(crate) enabled: Option<Uuid>,
    /// The job that changes which keystore keeps what. It excludes the others.
    pub(crate) job: Option<Uuid>,
}

impl SvmKeystores {
    /// The most keystores of one SVM: the record stays small.
    #[cfg(feature = "barbican")]
    pub(crate) const MAX: usize = 32;

    #[cfg(feature = "barbican")]
    pub(crate) fn empty(svm: SvmId) -> Self {
        Self { version: V1, svm: svm.uuid(), keystores: Vec::new(), enabled: None, job: None }
    }

    pub(crate) fn key_of(svm: SvmId) -> Vec<u8> {
        [&[PREFIX], svm.as_bytes().as_slice()].concat()
    }

    /// The SVM that a key of this kind names. The record of the cluster's keystore has a key of another length.
    pub(crate) fn svm_of(key: &[u8]) -> Option<SvmId> {
        match key.split_first()? {
            (&PREFIX, svm) => Some(SvmId::from_bytes(svm.try_into().ok()?)),
            _ => None,
        }
    }

    pub(crate) fn get(&self, keystore: Uuid) -> Option<&Configuration> {
        self.keystores.iter().find(|configuration| configuration.keystore == keystore)
    }

    /// The same with this one in place of the one that has its UUID.
    pub(crate) fn with(&self, changed: Configuration) -> Self {
        let mut all = self.clone();
        all.keystores.iter_mut().filter(|old| old.keystore == changed.keystore).for_each(|old| *old = changed.clone());
        all
    }
}

impl Body for SvmKeystores {
    const TABLE: Table = Table::Keystores;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.svm.into())
    }
}

/// One keystore of an SVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    /// The keystore's UUID.
    pub(crate) keystore: Uuid,
    pub(crate) name: KeystoreName,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// The keeper's own part.
    pub(crate) keeper: KeeperRecord,
}

/// How a keeper is asked, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum KeeperRecord {
    Barbican(BarbicanRecord),
}

/// A secret of an OpenStack Barbican. Credentials are sealed on their own, so that they are nowhere but in key memory when
/// this is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BarbicanRecord {
    /// The secret's URL.
    pub(crate) key_id: String,
    pub(crate) keystone_url: String,
    pub(crate) application_cred_id: String,
    #[serde(with = "hex_bytes")]
    pub(crate) application_cred_secret: Vec<u8>,
    pub(crate) proxy: Option<ProxyRecord>,
    pub(crate) verify: bool,
    pub(crate) verify_host: bool,
    pub(crate) timeout_seconds: u32,
    /// Certificates of authorities that are trusted beside the system's.
    pub(crate) ca_certificates: Vec<CaCertificate>,
}

impl BarbicanRecord {
    /// Puts each credential under another key.
    pub(crate) fn reseal<E>(&mut self, reseal: impl Fn(CredentialField, &[u8]) -> Result<Vec<u8>, E>) -> Result<(), E> {
        self.application_cred_secret = reseal(CredentialField::ApplicationCredSecret, &self.application_cred_secret)?;
        if let Some(user) = self.proxy.as_mut().and_then(|proxy| proxy.user.as_mut()) {
            user.password = reseal(CredentialField::ProxyPassword, &user.password)?;
        }
        Ok(())
    }
}

/// A certificate, DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CaCertificate(#[serde(with = "base64_bytes")] pub(crate) Vec<u8>);

/// Bytes as standard, padded base64: certificates are long.
mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How a proxy is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyRecord {
    /// Whether the proxy itself is spoken to over TLS.
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Option<ProxyUserRecord>,
}

/// Who the proxy lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyUserRecord {
    pub(crate) name: String,
    #[serde(with = "hex_bytes")]
    pub(crate) password: Vec<u8>,
}
