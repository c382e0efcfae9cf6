//! The settings of a keystore at a Barbican as its record has them, with the credentials sealed.

use std::time::Duration;

use claviger_barbican::{CertificateDer, Credential, KeystoneUrl, Proxy, ProxyKind, ProxyUser, Site};
use claviger_secret::{Arena, ArenaError, SecretBytes};
use claviger_wrap::{BodyKey, OpenSecretError, RandomError, SealingKey, SvmId};
use uuid::Uuid;

use super::{BarbicanSettings, BarbicanSetupError, BarbicanUpdate};
use crate::credential::{CredentialField, CredentialPlace};
use crate::records::svm_keystores::{BarbicanRecord, CaCertificate, ProxyRecord, ProxyUserRecord};

/// What seals a keystore's credentials, and where they are.
pub(crate) struct CredentialSeal<'a> {
    key: BodyKey,
    place: CredentialPlace,
    pub(super) arena: &'a Arena,
}

impl<'a> CredentialSeal<'a> {
    pub(crate) fn of(sealing: &SealingKey, arena: &'a Arena, svm: SvmId, keystore: Uuid) -> Result<Self, ArenaError> {
        Ok(Self { key: sealing.credentials()?, place: CredentialPlace { svm, keystore }, arena })
    }

    fn seal(&self, field: CredentialField, secret: &SecretBytes) -> Result<Vec<u8>, RandomError> {
        self.place.seal(field, secret, &self.key)
    }

    fn open(&self, field: CredentialField, sealed: &[u8]) -> Result<SecretBytes, OpenSecretError> {
        self.place.open(field, sealed, &self.key)
    }
}

impl BarbicanRecord {
    pub(crate) fn new(settings: &BarbicanSettings, seal: &CredentialSeal<'_>) -> Result<Self, BarbicanSetupError> {
        let BarbicanSettings { key, site, credential } = settings;
        let Site { keystone, proxy, verify, verify_host, extra_roots, timeout } = site;
        Ok(Self {
            key_id: key.to_string(),
            keystone_url: keystone.to_string(),
            application_cred_id: credential.id.clone(),
            application_cred_secret: seal.seal(CredentialField::ApplicationCredSecret, &credential.secret)?,
            proxy: proxy.as_ref().map(|proxy| proxy_record(proxy, seal)).transpose()?,
            verify: *verify,
            verify_host: *verify_host,
            timeout_seconds: seconds(*timeout)?,
            ca_certificates: certificates(extra_roots),
        })
    }

    /// The same with what changes.
    pub(crate) fn updated(
        &self,
        update: &BarbicanUpdate,
        seal: &CredentialSeal<'_>,
    ) -> Result<Self, BarbicanSetupError> {
        let BarbicanUpdate { credential, proxy, verify, verify_host, timeout, extra_roots } = update;
        let mut record = self.clone();
        if let Some(credential) = credential {
            record.application_cred_id.clone_from(&credential.id);
            record.application_cred_secret = seal.seal(CredentialField::ApplicationCredSecret, &credential.secret)?;
        }
        if let Some(proxy) = proxy {
            record.proxy = proxy.as_ref().map(|proxy| proxy_record(proxy, seal)).transpose()?;
        }
        if let Some(timeout) = timeout {
            record.timeout_seconds = seconds(*timeout)?;
        }
        if let Some(roots) = extra_roots {
            record.ca_certificates = certificates(roots);
        }
        record.verify = verify.unwrap_or(record.verify);
        record.verify_host = verify_host.unwrap_or(record.verify_host);
        Ok(record)
    }

    pub(super) fn settings(&self, seal: &CredentialSeal<'_>) -> Result<BarbicanSettings, BarbicanSetupError> {
        let proxy = |record: &ProxyRecord| -> Result<Proxy, BarbicanSetupError> {
            let user = |user: &ProxyUserRecord| -> Result<ProxyUser, BarbicanSetupError> {
                let password = seal.open(CredentialField::ProxyPassword, &user.password)?;
                Ok(ProxyUser { name: user.name.clone(), password })
            };
            Ok(Proxy {
                kind: if record.tls { ProxyKind::Https } else { ProxyKind::Http },
                host: record.host.clone(),
                port: record.port,
                user: record.user.as_ref().map(user).transpose()?,
            })
        };
        Ok(BarbicanSettings {
            key: self.key_id.parse()?,
            site: Site {
                keystone: self.keystone_url.parse::<KeystoneUrl>()?,
                proxy: self.proxy.as_ref().map(proxy).transpose()?,
                verify: self.verify,
                verify_host: self.verify_host,
                extra_roots: self.ca_certificates.iter().map(|der| CertificateDer::from(der.0.clone())).collect(),
                timeout: Duration::from_secs(self.timeout_seconds.into()),
            },
            credential: Credential {
                id: self.application_cred_id.clone(),
                secret: seal.open(CredentialField::ApplicationCredSecret, &self.application_cred_secret)?,
            },
        })
    }
}

fn proxy_record(proxy: &Proxy, seal: &CredentialSeal<'_>) -> Result<ProxyRecord, BarbicanSetupError> {
    let user = |user: &ProxyUser| -> Result<ProxyUserRecord, BarbicanSetupError> {
        let password = seal.seal(CredentialField::ProxyPassword, &user.password)?;
        Ok(ProxyUserRecord { name: user.name.clone(), password })
    };
    Ok(ProxyRecord {
        tls: match proxy.kind {
            ProxyKind::Http => false,
            ProxyKind::Https => true,
        },
        host: proxy.host.clone(),
        port: proxy.port,
        user: proxy.user.as_ref().map(user).transpose()?,
    })
}

fn certificates(roots: &[CertificateDer<'static>]) -> Vec<CaCertificate> {
    roots.iter().map(|root| CaCertificate(root.to_vec())).collect()
}

fn seconds(timeout: Duration) -> Result<u32, BarbicanSetupError> {
    match u32::try_from(timeout.as_secs()) {
        Ok(seconds @ 1..=3600) if timeout.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(BarbicanSetupError::Timeout { found: timeout }),
    }
}
