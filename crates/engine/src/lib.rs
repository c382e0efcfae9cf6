//! The key-hierarchy engine that a storage node links.
//!
//! A storage node encrypts each volume, aggregate and drive with a key of its own. This library makes those keys, keeps
//! them wrapped under one KEK per SVM (tenant), has that kept by a keeper (the onboard keystore), and gives keys back: opening one reads the
//! local store and decrypts, and never waits for a network. Nothing that was acknowledged is lost; `docs/` says how.
//!
//! The engine is synchronous and brings no runtime. Share an [`Engine`] in an `Arc` between threads.
//!
//! ```
//! use claviger::{Engine, KeyAlgorithm, ObjectRef, OnboardMode, Options};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("hierarchy");
//!
//! let engine = Engine::create(&path, &"cluster1".parse()?, Options::default())?;
//! let passphrase = engine.passphrase(b"correct horse battery staple, twice over")?;
//! engine.create_onboard(OnboardMode::Unattended, &passphrase)?;
//!
//! let svm = engine.create_svm(&"vs0".parse()?)?;
//! let volume = ObjectRef::Volume(uuid::Uuid::new_v4());
//! let created = engine.create_key(svm.id(), volume, KeyAlgorithm::XtsAes256)?;
//!
//! engine.rekey_internal(svm.id())?.wait_with(|progress| println!("{} done", progress.done))?;
//!
//! let opened = engine.open_key(svm.id(), volume)?;
//! assert!(opened.newest().ct_eq(&created));
//! assert_eq!(opened.newest().expose().len(), 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod anchor;
mod authorities;
mod backup;
#[cfg(feature = "barbican")]
mod barbican;
mod bulk;
mod cause;
#[cfg(feature = "certificates")]
mod certificate_error;
mod certificate_name;
#[cfg(feature = "certificates")]
mod certificates;
mod check;
mod clock;
mod common_criteria;
mod credential;
mod engine;
mod epoch;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guards;
mod job_error;
mod jobs;
mod keeper;
mod keks;
mod key_error;
mod key_name;
mod key_record;
mod keys;
mod keystore_name;
mod keystores;
mod live;
mod live_keystores;
mod metered;
mod onboard;
mod onboard_deletion;
mod open_error;
mod opening;
mod operations;
mod options;
mod own_keeper;
mod platform;
mod private_key;
mod records;
mod recovery;
mod rekey;
mod rotation;
mod sealing_key;
mod settings;
mod status;
mod store_copy;
mod svm_keystore_error;
mod svm_keystores;
mod svms;
mod verify;
mod volume;
mod volume_error;
mod volumes;
#[cfg(feature = "certificates")]
mod x509;

pub use anchor::{Anchor, AnchorError};
pub use backup::{BackupError, BackupTextError, Import};
#[cfg(feature = "barbican")]
pub use barbican::{BarbicanSettings, BarbicanSetupError, BarbicanUpdate};
pub use bulk::{Creation, NewKey};
pub use cause::Cause;
#[cfg(feature = "certificates")]
pub use certificate_error::CertificateError;
pub use certificate_name::{CertificateKind, CertificateName, InvalidCertificateName};
#[cfg(feature = "certificates")]
pub use certificates::{CertificateInfo, ListedCertificate, NewCertificate};
pub use check::Hop;
pub use credential::ResealError;
pub use engine::Engine;
pub use epoch::Standing;
pub use error::{Advice, Blame, Fault};
pub use guards::Refusal;
pub use job_error::JobError;
pub use jobs::{Job, JobInfo, JobOperation, JobStatus, Progress};
pub use keeper::{KeeperError, Trouble};
pub use keks::KekInfo;
pub use key_error::KeyError;
pub use key_name::{InvalidKeyName, KeyName, NamedKey};
pub use key_record::{KeyRecordError, ObjectRef};
pub use keys::{Key, KeyCounts, KeyInfo, OpenKey};
pub use keystore_name::{InvalidKeystoreName, KeystoreName};
pub use keystores::{KeystoreError, OnboardInfo, OnboardMode};
pub use live_keystores::KeeperTrouble;
pub use onboard_deletion::DeleteOnboardError;
pub use open_error::OpenEngineError;
pub use options::{AnchorSource, Fetching, KeyMemory, Options, SealingSource};
pub use own_keeper::NoKeeper;
pub use platform::{
    Cluster, ClusterVersion, Fact, FactName, Facts, InvalidClusterVersion, Licenses, MetroCluster, PartnerKeyManager,
    Platform, Storage,
};
pub use private_key::{PrivateKey, PrivateKeyError};
pub use records::{RecordError, RecordName, Subject};
pub use rekey::RekeyError;
pub use settings::{
    HealthMonitorPolicies, HealthMonitorPolicy, InvalidSetting, KeyManagerSettings, PollingInterval, RetryCount,
};
pub use status::{KekStanding, KeptKekInfo, KeystoreState, KeystoreStatus, NodeStatus};
pub use store_copy::CopyError;
pub use svm_keystore_error::SvmKeystoreError;
pub use svm_keystores::{BarbicanInfo, KeeperInfo, KeystoreInfo, ProxyInfo};
pub use svms::{InvalidSvmName, SvmError, SvmInfo, SvmName};
pub use verify::{Finding, Note, Problem, Report, Unavailable, Unchecked};
pub use volume::{
    AggregateName, AggregateRef, InvalidAggregateName, InvalidVolumeName, NewVolume, VolumeEncryption, VolumeInfo,
    VolumeKind, VolumeName, VolumePosition,
};
pub use volume_error::VolumeError;
pub use volumes::{ListedVolume, VolumePage};
#[cfg(feature = "certificates")]
pub use x509::{CertificateFacts, SignatureHash};

#[cfg(feature = "barbican")]
pub use claviger_barbican::{
    Credential, KeystoneUrl, PemError, Proxy, ProxyKind, ProxyUser, SecretUrl, SetupError, Site, UrlError,
    certificates_from_pem,
};
pub use claviger_secret::{Arena, ArenaError, ArenaOptions, Protection, SecretBytes, Usage};
pub use claviger_store::{self as store, RedbStore, SledStore, Store, StoreError, StoreKind, StoreOptions, Table};
pub use claviger_wrap::{
    KekId, KekVersion, Key256, KeyAlgorithm, KeyType, KeyVersion, Passphrase, PassphraseError, PassphraseRules, SvmId,
};
#[cfg(feature = "certificates")]
pub use rustls::pki_types::CertificateDer;
