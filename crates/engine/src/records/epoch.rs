//! The `epoch` record, and its counterpart outside the store.

use claviger_store::Table;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, V1};

/// How often the hierarchy has changed: raised in the same commit as each structural change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochRecord {
    pub(crate) version: V1,
    /// The hierarchy's own UUID.
    pub(crate) hierarchy: Uuid,
    /// 1 for a new hierarchy.
    pub(crate) epoch: u64,
}

impl EpochRecord {
    pub(crate) const KEY: &[u8] = b"epoch";
}

impl Body for EpochRecord {
    const TABLE: Table = Table::Node;

    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}

/// What the file `anchor` beside the store holds, sealed as the record `anchor` of the table `node` would be. No such
/// record is ever in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnchorRecord {
    pub(crate) version: V1,
    /// The hierarchy's own UUID.
    pub(crate) hierarchy: Uuid,
    /// The store has reached at least this epoch.
    pub(crate) epoch: u64,
}

impl AnchorRecord {
    pub(crate) const KEY: &[u8] = b"anchor";
}

impl Body for AnchorRecord {
    const TABLE: Table = Table::Node;

    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}
