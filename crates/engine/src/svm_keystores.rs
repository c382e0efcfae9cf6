//! The keystores of a data SVM: made, listed, changed, deleted. What moves KEKs is in `operations`.

use std::io;
use std::sync::Arc;

use claviger_store::{Batch, Expect, StoreError, Table};
use claviger_wrap::{RandomError, SvmId};
use jiff::Timestamp;
use uuid::Uuid;

use crate::engine::{Core, Engine};
use crate::error::{Advice, Blame, Fault};
use crate::keeper::KeeperError;
use crate::key_error::KeyError;
use crate::keystore_name::KeystoreName;
use crate::keystores::{KeystoreError, OnboardInfo};
use crate::live::{Keks, LiveSvm};
use crate::live_keystores::Keystores;
use crate::own_keeper::NoKeeper;
use crate::records::{Configuration, KeeperRecord, ProxyRecord, RecordError, SvmKeystores};
use crate::status::KeystoreState;

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
    fn own(svm: SvmId, configuration: &Configuration, enabled: Option<Uuid>) -> Self {
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
    /// Makes a keystore at an OpenStack Barbican for a data SVM. It is not enabled, and nothing is sent.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Admin`], [`SvmKeystoreError::NameTaken`], [`SvmKeystoreError::TooMany`]; [`SvmKeystoreError::Settings`]
    /// where they cannot be used; others as they say. Nothing has changed then.
    #[cfg(feature = "barbican")]
    pub fn create_barbican(
        &self,
        svm: SvmId,
        name: &KeystoreName,
        settings: &crate::barbican::BarbicanSettings,
    ) -> Result<KeystoreInfo, SvmKeystoreError> {
        use crate::barbican::CredentialSeal;
        use crate::records::BarbicanRecord;

        let core = &self.core;
        let live = core.data_svm(svm)?;
        let keystore = claviger_wrap::random_uuid(&mut claviger_wrap::SystemRandom)?;
        let seal = CredentialSeal::of(core.records.sealing(), &core.arena, svm, keystore).map_err(NoKeeper::from)?;
        let record = BarbicanRecord::new(settings, &seal).map_err(NoKeeper::from)?;
        let configuration = Configuration {
            keystore,
            name: name.clone(),
            created: core.clock.now(),
            keeper: KeeperRecord::Barbican(record),
        };
        // What no client can be made of is refused here.
        core.trial_keeper(svm, &configuration)?;
        core.add_configuration(&live, &configuration)?;
        tracing::info!(%svm, %keystore, %name, "Barbican keystore created");
        Ok(KeystoreInfo::own(svm, &configuration, None))
    }

    /// Changes how a keystore asks its Barbican, or as whom, after a fetch of the top-level key, and of every KEK that it keeps, in
    /// the new way. Where nothing changes, nothing is sent.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Keeper`] where the fetch fails; [`SvmKeystoreError::Busy`]; others as they say. The old settings stay in
    /// force then.
    #[cfg(feature = "barbican")]
    pub fn update_barbican(
        &self,
        keystore: Uuid,
        update: &crate::barbican::BarbicanUpdate,
    ) -> Result<KeystoreInfo, SvmKeystoreError> {
        use crate::barbican::CredentialSeal;

        let core = &self.core;
        let live = core.svm_of_keystore(keystore)?;
        let svm = live.id;
        loop {
            let keystores = live.keystores.load_full();
            let Keystores::There(there) = keystores.as_ref() else {
                return Err(SvmKeystoreError::Unknown { keystore });
            };
            let list = &there.list.body;
            let old = list.get(keystore).ok_or(SvmKeystoreError::Unknown { keystore })?;
            if update.is_empty() {
                return Ok(KeystoreInfo::own(svm, old, list.enabled));
            }
            core.refuse_busy(svm, list)?;
            let seal =
                CredentialSeal::of(core.records.sealing(), &core.arena, svm, keystore).map_err(NoKeeper::from)?;
            let KeeperRecord::Barbican(record) = &old.keeper;
            let record = record.updated(update, &seal).map_err(NoKeeper::from)?;
            let new = Configuration { keeper: KeeperRecord::Barbican(record), ..old.clone() };
            core.try_configuration(&live, &new)?;
            let (batch, changed) = core.put_keystores(Batch::new(), &there.list, list.with(new.clone()))?;
            match core.commit_keystores(&live, batch, changed) {
                Ok(()) => {
                    tracing::info!(%svm, %keystore, "keystore updated");
                    // What the old settings did not give comes into memory now.
                    let closed = core.to_open([live.clone()], |keks| !keks.is_open())?;
                    crate::opening::open_all(closed, |_, _, _| ());
                    return Ok(KeystoreInfo::own(svm, &new, list.enabled));
                }
                // Another keystore of the SVM was made or changed meanwhile.
                Err(RecordError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Deletes a keystore that is not enabled.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Enabled`]: disable it, or switch to another first; [`SvmKeystoreError::Keeps`] where it keeps KEKs all the
    /// same; [`SvmKeystoreError::Busy`]; others as they say.
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
            // What does not open may name it.
            if matches!(keks.as_ref(), Keks::Damaged) || keks.is_kept_by(keystore) {
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
                Err(RecordError::Store(StoreError::Conflict { .. })) => {}
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

    /// Makes a new configuration durable and publishes it.
    #[cfg(feature = "barbican")]
    fn add_configuration(&self, live: &LiveSvm, configuration: &Configuration) -> Result<(), SvmKeystoreError> {
        loop {
            let record = live.record.load_full();
            let Ok(svm) = record.as_ref() else { return Err(SvmKeystoreError::Damaged { svm: live.id }) };
            let keystores = live.keystores.load_full();
            let (mut list, expect) = match keystores.as_ref() {
                Keystores::None => (SvmKeystores::empty(live.id), Expect::Absent),
                Keystores::There(there) => (there.list.body.clone(), there.list.unchanged()),
                Keystores::Damaged => return Err(SvmKeystoreError::Damaged { svm: live.id }),
            };
            if list.keystores.iter().any(|one| one.name == configuration.name) {
                return Err(SvmKeystoreError::NameTaken { name: configuration.name.clone() });
            }
            if list.keystores.len() >= SvmKeystores::MAX {
                return Err(SvmKeystoreError::TooMany);
            }
            list.keystores.push(configuration.clone());
            let raw = self.records.seal(&list)?;
            let key = SvmKeystores::key_of(live.id);
            let batch = Batch::new()
                .require(Table::Svms, crate::records::SvmRecord::key_of(live.id), svm.unchanged())
                .require(Table::Keystores, key.clone(), expect)
                .put(Table::Keystores, key, raw.clone());
            match self.commit_keystores(live, batch, crate::records::Read { body: list, raw }) {
                Ok(()) => return Ok(()),
                Err(RecordError::Store(StoreError::Conflict { table: Table::Keystores, .. })) => {}
                // Renamed or deleted meanwhile.
                Err(RecordError::Store(StoreError::Conflict { table: Table::Svms, .. })) => {
                    self.live.svm(live.id).ok_or(SvmKeystoreError::UnknownSvm { svm: live.id })?;
                }
                Err(RecordError::Store(StoreError::RecordTooLarge { .. })) => return Err(SvmKeystoreError::TooMany),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks the keeper in the way of a configuration that is not in force: for the top-level key, and for every KEK that the keystore
    /// keeps.
    #[cfg(feature = "barbican")]
    fn try_configuration(&self, live: &LiveSvm, new: &Configuration) -> Result<(), SvmKeystoreError> {
        use crate::keeper::{KekPlace, KeptKek};

        let keeper = self.trial_keeper(live.id, new)?;
        keeper.probe(&mut |_| ())?;
        let keks = live.keks.load_full();
        for entry in keks.list().iter().flat_map(|list| list.body.entries()) {
            for kept in entry.kept.iter().filter(|kept| kept.keystore == new.keystore) {
                let place = KekPlace { svm: live.id, version: entry.kek_version };
                let key = keeper.fetch(&KeptKek { bytes: kept.bytes.clone() }, place)?;
                if claviger_wrap::KekId::of(&key, entry.kek_version) != entry.kek_id {
                    return Err(KeyError::KeptOtherwise.into());
                }
            }
        }
        Ok(())
    }

    /// Refuses a change while an operation has the SVM's keystores.
    fn refuse_busy(&self, svm: SvmId, list: &SvmKeystores) -> Result<(), SvmKeystoreError> {
        match list.job {
            Some(job) if self.running(job)?.is_some() => {
                Err(SvmKeystoreError::Busy { svm, state: self.state_while(job) })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Why a keystore was not made or changed, or an operation on keystores was not begun. Nothing has changed then, unless the store
/// failed: whether a change was made is then known when the hierarchy is opened again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvmKeystoreError {
    /// There is no SVM with this UUID.
    #[error("SVM {svm} does not exist")]
    UnknownSvm {
        /// The UUID.
        svm: SvmId,
    },
    /// There is no keystore with this UUID.
    #[error("keystore {keystore} does not exist")]
    Unknown {
        /// The UUID.
        keystore: Uuid,
    },
    /// The admin SVM has the cluster's keystore.
    #[error("the admin SVM uses the cluster's keystore; a keystore of this kind is for data SVMs")]
    Admin,
    /// The keystore is the cluster's.
    #[error("keystore {keystore} is the cluster's; this is for keystores of SVMs")]
    TheClusters {
        /// The keystore.
        keystore: Uuid,
    },
    /// Another keystore of the SVM has this name.
    #[error("the SVM has a keystore named \"{name}\" already; choose another name")]
    NameTaken {
        /// The name.
        name: KeystoreName,
    },
    /// The SVM has as many keystores as it can.
    #[error("the SVM has as many keystores, with as many certificates, as its record can hold; delete one first")]
    TooMany,
    /// The keystore is the enabled one.
    #[error("keystore {keystore} is enabled; disable it, or switch to another, first")]
    Enabled {
        /// The keystore.
        keystore: Uuid,
    },
    /// Another keystore of the SVM is enabled.
    #[error("keystore {other} of the SVM is enabled; switch to {keystore} instead")]
    AnotherEnabled {
        /// The keystore that was to be enabled.
        keystore: Uuid,
        /// The one that is.
        other: Uuid,
    },
    /// The keystore is not enabled.
    #[error("keystore {keystore} is not enabled")]
    NotEnabled {
        /// The keystore.
        keystore: Uuid,
    },
    /// The SVM has no keystore of its own that is enabled.
    #[error("SVM {svm} has no keystore of its own that is enabled; enable one first")]
    NoneEnabled {
        /// The SVM.
        svm: SvmId,
    },
    /// KEKs migrate between the cluster's keystore and the SVM's enabled one.
    #[error("keystore {keystore} is neither the cluster's nor the SVM's enabled one; switch to it instead")]
    NotADestination {
        /// The keystore.
        keystore: Uuid,
    },
    /// The keystore keeps the SVM's KEK already.
    #[error("keystore {keystore} keeps the SVM's KEK already")]
    KeptThere {
        /// The keystore.
        keystore: Uuid,
    },
    /// The top-level key is the one that is in use.
    #[error("keystore {keystore} uses this top-level key already; name another")]
    SameKey {
        /// The keystore.
        keystore: Uuid,
    },
    /// The SVM's KEK is kept by the cluster's keystore, and another is enabled for the SVM.
    #[error("the KEK of SVM {svm} is still kept by the cluster's keystore; migrate it to keystore {keystore} first")]
    Mixed {
        /// The SVM.
        svm: SvmId,
        /// Its enabled keystore.
        keystore: Uuid,
    },
    /// The SVM has no KEK yet: no key was ever made in it.
    #[error("no volumes created yet for SVM {svm}; it has no KEK")]
    NoKeys {
        /// The SVM.
        svm: SvmId,
    },
    /// The keystore keeps a KEK that protects keys.
    #[error(
        "keystore {keystore} keeps a KEK that protects keys; migrate it to the cluster's keystore, or switch, first"
    )]
    KeepsKeys {
        /// The keystore.
        keystore: Uuid,
    },
    /// The keystore keeps a KEK, or it is not known whether it does.
    #[error("keystore {keystore} keeps a KEK, or the record that says so is damaged; verify the hierarchy")]
    Keeps {
        /// The keystore.
        keystore: Uuid,
    },
    /// Another operation on the SVM's keystores runs, or was interrupted.
    #[error("the keystore of SVM {svm} is {}; try again when that has ended, or repeat it where it was interrupted", state.as_str())]
    Busy {
        /// The SVM.
        svm: SvmId,
        /// What the operation makes of the keystore.
        state: KeystoreState,
    },
    /// A rekey of the SVM runs, or was interrupted.
    #[error("a rekey of SVM {svm} runs or was interrupted; try again when it has ended")]
    Rekeying {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM is being deleted.
    #[error("SVM {svm} is being deleted")]
    SvmBeingDeleted {
        /// The SVM.
        svm: SvmId,
    },
    /// The record of the SVM, or of its keystores, does not open.
    #[error("the record of SVM {svm} or of its keystores is damaged; put it back from a copy, or restore a backup")]
    Damaged {
        /// The SVM.
        svm: SvmId,
    },
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] NoKeeper),
    /// The keeper did not do it.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The cluster's keystore is not to be had.
    #[error(transparent)]
    Onboard(#[from] KeystoreError),
    /// The SVM's KEK is not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No thread could be started for the job; it can be resumed.
    #[error("no thread could be started for the job; it can be resumed")]
    Thread(#[from] io::Error),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl Blame for SvmKeystoreError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::UnknownSvm { .. }
            | Self::Unknown { .. }
            | Self::Admin
            | Self::TheClusters { .. }
            | Self::NameTaken { .. }
            | Self::TooMany
            | Self::Enabled { .. }
            | Self::AnotherEnabled { .. }
            | Self::NotEnabled { .. }
            | Self::NoneEnabled { .. }
            | Self::NotADestination { .. }
            | Self::KeptThere { .. }
            | Self::SameKey { .. }
            | Self::Mixed { .. }
            | Self::NoKeys { .. }
            | Self::KeepsKeys { .. }
            | Self::SvmBeingDeleted { .. } => (Fault::Caller, Advice::Correct),
            Self::Busy { .. } | Self::Rekeying { .. } => (Fault::Caller, Advice::Retry),
            Self::Keeps { .. } | Self::Damaged { .. } => (Fault::Data, Advice::Repair),
            Self::Settings(error) => error.blame(),
            Self::Keeper(error) => error.blame(),
            Self::Onboard(error) => error.blame(),
            Self::Key(error) => error.blame(),
            Self::Random(_) | Self::Thread(_) => (Fault::Node, Advice::Retry),
            Self::Records(error) => error.blame(),
        }
    }
}

impl Blame for NoKeeper {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            #[cfg(feature = "barbican")]
            Self::Barbican(error) => error.blame(),
            Self::NotBuilt { .. } => (Fault::Caller, Advice::Correct),
            Self::Arena(error) => error.blame(),
        }
    }
}
