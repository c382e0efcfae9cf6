//! The `node` record: what the hierarchy as a whole is.

use claviger_store::Table;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, V1};

/// Identity of a hierarchy. Its presence says that creation was completed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeRecord {
    pub(crate) version: V1,
    /// The hierarchy's own UUID. A restored hierarchy keeps it.
    pub(crate) hierarchy: Uuid,
    /// When the hierarchy was made.
    pub(crate) created: Timestamp,
}

impl NodeRecord {
    pub(crate) const KEY: &[u8] = b"hierarchy";
}

impl Body for NodeRecord {
    const TABLE: Table = Table::Node;

    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}
