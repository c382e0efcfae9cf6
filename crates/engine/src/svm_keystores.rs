//! The keystores of a data SVM: listed and deleted. Each kind is made in a module of its own, and what moves KEKs is in
//! `operations`.

use std::sync::Arc;

use claviger_store::{Batch, StoreError};
use claviger_wrap::SvmId;
use jiff::Timestamp;
use uuid::Uuid;

use crate::engine::{Core, Engine};
use crate::keystore_name::KeystoreName;
use crate::keystores::OnboardInfo;
use crate::live::LiveSvm;
use crate::live_keystores::Keystores;
use crate::records::svm_keystores::ProxyRecord;
use crate::records::{Configuration, KeeperRecord, RecordError, SvmKeystores};
use crate::svm_keystore_error::SvmKeystoreError;

/// A keystore: a configuration of one keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeystoreInfo {
    /// The keystore's UUID.
    pub id: Uuid,
    /// The SVM that it is of; `None` for the cluster's.
    pub svm: Option<SvmId>,
    /// Its name; the cluster's has none.
    pub name: Option<KeystoreName>,
    /// Whether it is the enabled one of its scope.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Which keeper it is of.
    pub keeper: KeeperInfo,
}

/// Which keeper a keystore is of. No credential is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeeperInfo {
    /// A passphrase.
    Onboard(OnboardInfo),
    /// A secret of an OpenStack Barbican.
    Barbican(BarbicanInfo),
}

/// A keystore at a Barbican, without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarbicanInfo {
    /// The URL of the secret that is the top-level key.
    pub key_id: String,
    /// The URL of Keystone, where tokens are to be had.
    pub keystone_url: String,
    /// The id of the application credential.
    pub application_cred_id: String,
    /// The proxy on the way there.
    pub proxy: Option<ProxyInfo>,
    /// Whether a certificate must come from a trusted authority.
    pub verify: bool,
    /// Whether a certificate must name the host.
    pub verify_host: bool,
    /// The limit of one call, in seconds.
    pub timeout_seconds: u32,
    /// Certificates of authorities that are trusted beside the system's, DER.
    pub ca_certificates: Vec<Vec<u8>>,
}

/// A proxy, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyInfo {
    /// Whether the proxy itself is spoken to over TLS.
    pub tls: bool,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user that it lets through.
    pub user: Option<String>,
}

impl KeystoreInfo {
    pub(crate) fn own(svm: SvmId, configuration: &Configuration, enabled: Option<Uuid>) -> Self {
        let Configuration { keystore, name, created, keeper } = configuration;
        let KeeperRecord::Barbican(record) = keeper;
        let proxy = |proxy: &ProxyRecord| ProxyInfo {
            tls: proxy.tls,
            host: proxy.host.clone(),
            port: proxy.port,
            user: proxy.user.as_ref().map(|user| user.name.clone()),
        };
        Self {
            id: *keystore,
            svm: Some(svm),
            name: Some(name.clone()),
            enabled: enabled == Some(*keystore),
            created: *created,
            keeper: KeeperInfo::Barbican(BarbicanInfo {
                key_id: record.key_id.clone(),
                keystone_url: record.keystone_url.clone(),
                application_cred_id: record.application_cred_id.clone(),
                proxy: record.proxy.as_ref().map(proxy),
                verify: record.verify,
                verify_host: record.verify_host,
                timeout_seconds: record.timeout_seconds,
                ca_certificates: record.ca_certificates.iter().map(|der| der.0.clone()).collect(),
            }),
        }
    }
}

impl Engine {
    /// Deletes a keystore that is not enabled.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Enabled`]: disable it, or switch to another first; [`SvmKeystoreError::Keeps`] where it keeps KEKs all the
    /// same, and [`SvmKeystoreError::Key`] where the record that says so is damaged or lost; [`SvmKeystoreError::Busy`]; others as they say.
    pub fn delete_keystore(&self, keystore: Uuid) -> Result<(), SvmKeystoreError> {
        let core = &self.core;
        let live = core.svm_of_keystore(keystore)?;
        loop {
            let keks = live.keks.load_full();
            let keystores = live.keystores.load_full();
            let Keystores::There(there) = keystores.as_ref() else {
                return Err(SvmKeystoreError::Unknown { keystore });
            };
            let list = &there.list.body;
            list.get(keystore).ok_or(SvmKeystoreError::Unknown { keystore })?;
            core.refuse_busy(live.id, list)?;
            if list.enabled == Some(keystore) {
                return Err(SvmKeystoreError::Enabled { keystore });
            }
            // What does not open, or is lost, may name it.
            core.refuse_lost_keks(&live, &keks)?;
            if keks.is_kept_by(keystore) {
                return Err(SvmKeystoreError::Keeps { keystore });
            }
            let left = list.keystores.iter().filter(|one| one.keystore != keystore).cloned().collect();
            let left = SvmKeystores { keystores: left, ..list.clone() };
            let (batch, left) = core.put_keystores(Batch::new(), &there.list, left)?;
            match core.commit_keystores(&live, batch, left) {
                Ok(()) => {
                    tracing::info!(svm = %live.id, %keystore, "keystore deleted");
                    return Ok(());
                }
                Err(RecordError::Store(StoreError::Conflict { .. })) if live.has_changed(&keks, &keystores) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// All keystores: the cluster's first, then by SVM in the order in which they were made. One whose record is damaged is left out;
    /// `verify` names it.
    #[must_use]
    pub fn keystores(&self) -> Vec<KeystoreInfo> {
        let cluster = self.keystore().map(|onboard| KeystoreInfo {
            id: onboard.id,
            svm: None,
            name: None,
            enabled: true,
            created: onboard.created,
            keeper: KeeperInfo::Onboard(onboard),
        });
        let mut all: Vec<_> = cluster.into_iter().collect();
        for live in self.core.live.svms().values() {
            if let Keystores::There(there) = live.keystores.load().as_ref() {
                let SvmKeystores { keystores, enabled, .. } = &there.list.body;
                all.extend(keystores.iter().map(|one| KeystoreInfo::own(live.id, one, *enabled)));
            }
        }
        all
    }

    /// The keystore with this UUID.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Unknown`].
    pub fn keystore_with_id(&self, keystore: Uuid) -> Result<KeystoreInfo, SvmKeystoreError> {
        self.keystores().into_iter().find(|one| one.id == keystore).ok_or(SvmKeystoreError::Unknown { keystore })
    }
}

impl Core {
    /// A data SVM.
    pub(crate) fn data_svm(&self, svm: SvmId) -> Result<Arc<LiveSvm>, SvmKeystoreError> {
        let live = self.live.svm(svm).ok_or(SvmKeystoreError::UnknownSvm { svm })?;
        match live.record.load().as_ref() {
            Ok(record) if record.body.admin => Err(SvmKeystoreError::Admin),
            Ok(_) => Ok(live.clone()),
            // Whether it is the admin SVM is not known.
            Err(_) => Err(SvmKeystoreError::Damaged { svm }),
        }
    }

    /// The SVM that has this keystore.
    pub(crate) fn svm_of_keystore(&self, keystore: Uuid) -> Result<Arc<LiveSvm>, SvmKeystoreError> {
        if self.keystore.id() == Some(keystore) {
            return Err(SvmKeystoreError::TheClusters { keystore });
        }
        let svms = self.live.svms();
        let found = svms.values().find(|live| live.keystores.load().get(keystore).is_some());
        found.cloned().ok_or(SvmKeystoreError::Unknown { keystore })
    }

    /// Refuses a change while an operation has the SVM's keystores.
    pub(crate) fn refuse_busy(&self, svm: SvmId, list: &SvmKeystores) -> Result<(), SvmKeystoreError> {
        match list.job {
            Some(job) if self.running(job)?.is_some() => {
                Err(SvmKeystoreError::Busy { svm, state: self.state_while(job) })
            }
            Some(_) | None => Ok(()),
        }
    }
}
