//! What a record is about: its table and key say it, whatever has become of its bytes.

use std::fmt;

use claviger_store::Table;
use claviger_wrap::{KekVersion, SvmId};
use uuid::Uuid;

use super::{
    CertificateNameRecord, CertificateRecord, EpochRecord, KekList, NodeRecord, SettingsRecord, SvmKeystores,
    SvmRecord, VolumeNameRecord, VolumeRecord,
};
use crate::certificate_name::CertificateName;
use crate::key_record::{ObjectRef, parse_store_key};
use crate::svms::SvmName;
use crate::volume::{VolumeName, VolumePosition};

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The identity of the hierarchy.
    Hierarchy,
    /// How often the hierarchy has changed.
    Epoch,
    /// The settings of key management.
    Settings,
    /// An SVM.
    Svm(SvmId),
    /// A name that an SVM has.
    Name(SvmName),
    /// The cluster's keystore.
    Keystore(Uuid),
    /// The keystores of an SVM.
    SvmKeystores(SvmId),
    /// The live KEKs of an SVM.
    Keks(SvmId),
    /// How many seals one KEK may have made.
    Seals(SvmId, KekVersion),
    /// A key.
    Key(SvmId, ObjectRef),
    /// A job.
    Job(Uuid),
    /// An installed certificate.
    Certificate(Uuid),
    /// A name that a certificate has in an SVM, or with `None` in the cluster.
    CertificateName(Option<SvmId>, CertificateName),
    /// A named volume.
    Volume(Uuid),
    /// A name that a volume has in an SVM.
    VolumeName(SvmId, VolumeName),
    /// Nothing that this release knows.
    Unknown,
}

impl Subject {
    pub(super) fn of(table: Table, key: &[u8]) -> Self {
        Self::parse(table, key).unwrap_or(Self::Unknown)
    }

    fn parse(table: Table, key: &[u8]) -> Option<Self> {
        let uuid = |key: &[u8]| Uuid::from_slice(key).ok();
        match table {
            Table::Node => match key {
                NodeRecord::KEY => Some(Self::Hierarchy),
                EpochRecord::KEY => Some(Self::Epoch),
                SettingsRecord::KEY => Some(Self::Settings),
                _ => None,
            },
            Table::Svms => match SvmRecord::svm_of(key) {
                Some(svm) => Some(Self::Svm(svm)),
                None => Some(Self::Name(super::NameRecord::name_of(key)?)),
            },
            Table::Keystores => match SvmKeystores::svm_of(key) {
                Some(svm) => Some(Self::SvmKeystores(svm)),
                None => Some(Self::Keystore(uuid(key)?)),
            },
            Table::Keks => {
                let (svm, version) = key.split_first_chunk::<16>()?;
                let svm = SvmId::from_bytes(*svm);
                match KekList::is_key(key) {
                    true => Some(Self::Keks(svm)),
                    false => {
                        let version = u32::from_be_bytes(version.try_into().ok()?);
                        Some(Self::Seals(svm, KekVersion::new(version)?))
                    }
                }
            }
            Table::Keys => parse_store_key(key).ok().map(|(svm, object)| Self::Key(svm, object)),
            Table::Jobs => Some(Self::Job(uuid(key)?)),
            Table::Certificates => match CertificateRecord::certificate_of(key) {
                Some(certificate) => Some(Self::Certificate(certificate)),
                None => CertificateNameRecord::name_of(key).map(|(scope, name)| Self::CertificateName(scope, name)),
            },
            Table::Volumes => match VolumeRecord::volume_of(key) {
                Some(volume) => Some(Self::Volume(volume)),
                None => {
                    let VolumePosition { svm, name } = VolumeNameRecord::position_of(key)?;
                    Some(Self::VolumeName(svm, name))
                }
            },
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hierarchy => f.write_str("identity of the hierarchy"),
            Self::Epoch => f.write_str("epoch of the hierarchy"),
            Self::Settings => f.write_str("settings of key management"),
            Self::Svm(svm) => write!(f, "SVM {svm}"),
            Self::Name(name) => write!(f, "name \"{name}\""),
            Self::Keystore(keystore) => write!(f, "keystore {keystore}"),
            Self::SvmKeystores(svm) => write!(f, "keystores of SVM {svm}"),
            Self::Keks(svm) => write!(f, "KEKs of SVM {svm}"),
            Self::Seals(svm, version) => write!(f, "seal count of KEK version {version} of SVM {svm}"),
            Self::Key(svm, object) => write!(f, "{object} of SVM {svm}"),
            Self::Job(job) => write!(f, "job {job}"),
            Self::Certificate(certificate) => write!(f, "certificate {certificate}"),
            Self::CertificateName(None, name) => write!(f, "certificate name \"{name}\" of the cluster"),
            Self::CertificateName(Some(svm), name) => write!(f, "certificate name \"{name}\" of SVM {svm}"),
            Self::Volume(volume) => write!(f, "named volume {volume}"),
            Self::VolumeName(svm, name) => write!(f, "volume name \"{name}\" of SVM {svm}"),
            Self::Unknown => f.write_str("a record of no kind that this release knows"),
        }
    }
}
