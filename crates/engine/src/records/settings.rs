//! The `settings` record: settings of key management in the whole cluster.

use claviger_store::Table;
use serde::{Deserialize, Serialize};

use super::{Body, V1};
use crate::settings::KeyManagerSettings;

/// Settings of key management. Absent until one is changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsRecord {
    pub(crate) version: V1,
    pub(crate) settings: KeyManagerSettings,
}

impl SettingsRecord {
    pub(crate) const KEY: &[u8] = b"settings";
}

impl Body for SettingsRecord {
    const TABLE: Table = Table::Node;

    fn key(&self) -> Vec<u8> {
        Self::KEY.to_vec()
    }
}
