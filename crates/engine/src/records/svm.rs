//! The `svms` records: one per SVM, and one per name, so that a name is given once.

use claviger_store::Table;
use claviger_wrap::SvmId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, V1};
use crate::svms::SvmName;

const BY_ID: u8 = 0;
const BY_NAME: u8 = 1;

/// An SVM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SvmRecord {
    pub(crate) version: V1,
    /// The SVM's UUID.
    pub(crate) svm: Uuid,
    /// Its name.
    pub(crate) name: SvmName,
    /// Whether it is the admin SVM, which stands for the cluster.
    pub(crate) admin: bool,
    /// When it was made.
    pub(crate) created: Timestamp,
}

impl SvmRecord {
    /// The prefix of all SVMs' keys.
    pub(crate) const PREFIX: &[u8] = &[BY_ID];

    pub(crate) fn key_of(svm: SvmId) -> Vec<u8> {
        [&[BY_ID], svm.as_bytes().as_slice()].concat()
    }

    /// The SVM that a key of this kind names.
    pub(crate) fn svm_of(key: &[u8]) -> Option<SvmId> {
        match key.split_first()? {
            (&BY_ID, svm) => Some(SvmId::from_bytes(svm.try_into().ok()?)),
            _ => None,
        }
    }
}

impl Body for SvmRecord {
    const TABLE: Table = Table::Svms;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.svm.into())
    }
}

/// A name that is taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameRecord {
    pub(crate) version: V1,
    /// The name.
    pub(crate) name: SvmName,
    /// The SVM that has it.
    pub(crate) svm: Uuid,
}

impl NameRecord {
    pub(crate) fn key_of(name: &SvmName) -> Vec<u8> {
        [&[BY_NAME], name.as_str().as_bytes()].concat()
    }

    /// The name that a key of this kind holds.
    pub(crate) fn name_of(key: &[u8]) -> Option<SvmName> {
        match key.split_first()? {
            (&BY_NAME, name) => std::str::from_utf8(name).ok()?.parse().ok(),
            _ => None,
        }
    }
}

impl Body for NameRecord {
    const TABLE: Table = Table::Svms;

    fn key(&self) -> Vec<u8> {
        Self::key_of(&self.name)
    }
}
