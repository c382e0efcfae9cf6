//! What the storage node knows and the engine does not: licences, conditions of the cluster, what is encrypted besides volumes.

mod fact;
mod version;

use std::fmt;

use serde::Deserialize;

pub use fact::Fact;
pub use version::{ClusterVersion, InvalidClusterVersion};

/// Tells the engine the facts of its node.
///
/// It is asked before each operation that depends on one of them, on the caller's thread: it answers from memory, without I/O. What it
/// does not know it says so, and the operation is refused.
pub trait Platform: fmt::Debug + Send + Sync {
    /// The facts as they are now.
    fn facts(&self) -> Facts;
}

/// Facts that do not change.
impl Platform for Facts {
    fn facts(&self) -> Facts {
        self.clone()
    }
}

/// The facts of a storage node. The default is an ordinary node: licensed, alone, in good health, with nothing encrypted but what the
/// engine knows itself.
///
/// Deserialized from a table of tables, as of TOML: a member that is missing has its ordinary value, the text `unknown` in place of a value
/// says that it is not known, and a name that is not here is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Facts {
    /// Licences.
    pub licenses: Licenses,
    /// The MetroCluster configuration and the partner site.
    pub metrocluster: MetroCluster,
    /// The cluster.
    pub cluster: Cluster,
    /// What is encrypted.
    pub storage: Storage,
}

/// Licences.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Licenses {
    /// Whether keys of SVMs may be managed by keystores of their own (`MT_EK_MGMT`). Ordinarily yes.
    pub mt_ek_mgmt: Fact<bool>,
}

impl Default for Licenses {
    fn default() -> Self {
        Self { mt_ek_mgmt: Fact::Known(true) }
    }
}

/// The MetroCluster configuration and the partner site.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MetroCluster {
    /// Whether the cluster is one site of a MetroCluster. Ordinarily not; then the other members mean nothing.
    pub configured: Fact<bool>,
    /// Whether the partner site answers and is in good health. Ordinarily yes.
    pub partner_healthy: Fact<bool>,
    /// What keeps the keys of the partner site. Ordinarily nothing.
    pub partner_key_manager: Fact<PartnerKeyManager>,
}

impl Default for MetroCluster {
    fn default() -> Self {
        Self {
            configured: Fact::Known(false),
            partner_healthy: Fact::Known(true),
            partner_key_manager: Fact::Known(PartnerKeyManager::None),
        }
    }
}

/// What keeps the keys of the partner site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartnerKeyManager {
    /// Nothing yet.
    None,
    /// Its onboard keystore.
    Onboard,
    /// A keystore outside it.
    External,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Cluster {
    /// The effective cluster version: the lowest that a node of the cluster has. Ordinarily 9.17.1.
    pub version: Fact<ClusterVersion>,
    /// Whether the platform can encrypt data at rest at all. Ordinarily yes.
    pub platform_encryption: Fact<bool>,
    /// The names of nodes that cannot encrypt volumes. Ordinarily none.
    pub nodes_without_volume_encryption: Fact<Vec<String>>,
    /// Whether the cluster is in FIPS mode. Ordinarily not.
    pub fips: Fact<bool>,
    /// Whether the onboard keystore must be in Common Criteria mode, or may not be. Where the member is missing, it is as the keystore
    /// itself was made.
    pub common_criteria: Option<Fact<bool>>,
    /// Whether the cluster has an interface that other sites reach. Ordinarily yes.
    pub cluster_interface: Fact<bool>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            version: Fact::Known(ClusterVersion::new(9, 17, 1)),
            platform_encryption: Fact::Known(true),
            nodes_without_volume_encryption: Fact::Known(Vec::new()),
            fips: Fact::Known(false),
            common_criteria: None,
            cluster_interface: Fact::Known(true),
        }
    }
}

/// What is encrypted, besides what the engine has keys for: those count by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Storage {
    /// The names of aggregates that are encrypted as a whole (NAE). Ordinarily none.
    pub nae_aggregates: Fact<Vec<String>>,
    /// How many drives have an authentication key other than their default one. Ordinarily none.
    pub drives_with_keys: Fact<u64>,
    /// Whether the root volume is encrypted. Ordinarily not.
    pub encrypted_root_volume: Fact<bool>,
    /// Whether there are encrypted core files. Ordinarily not.
    pub encrypted_core_files: Fact<bool>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            nae_aggregates: Fact::Known(Vec::new()),
            drives_with_keys: Fact::Known(0),
            encrypted_root_volume: Fact::Known(false),
            encrypted_core_files: Fact::Known(false),
        }
    }
}

/// Which fact it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FactName {
    /// [`Licenses::mt_ek_mgmt`].
    MtEkMgmt,
    /// [`MetroCluster::configured`].
    MetroCluster,
    /// [`MetroCluster::partner_healthy`].
    PartnerHealthy,
    /// [`MetroCluster::partner_key_manager`].
    PartnerKeyManager,
    /// [`Cluster::version`].
    ClusterVersion,
    /// [`Cluster::platform_encryption`].
    PlatformEncryption,
    /// [`Cluster::common_criteria`].
    CommonCriteria,
    /// [`Storage::nae_aggregates`].
    NaeAggregates,
    /// [`Storage::drives_with_keys`].
    DrivesWithKeys,
    /// [`Storage::encrypted_core_files`].
    EncryptedCoreFiles,
}

impl FactName {
    /// The fact as its table and member spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MtEkMgmt => "licenses.mt_ek_mgmt",
            Self::MetroCluster => "metrocluster.configured",
            Self::PartnerHealthy => "metrocluster.partner_healthy",
            Self::PartnerKeyManager => "metrocluster.partner_key_manager",
            Self::ClusterVersion => "cluster.version",
            Self::PlatformEncryption => "cluster.platform_encryption",
            Self::CommonCriteria => "cluster.common_criteria",
            Self::NaeAggregates => "storage.nae_aggregates",
            Self::DrivesWithKeys => "storage.drives_with_keys",
            Self::EncryptedCoreFiles => "storage.encrypted_core_files",
        }
    }
}

impl fmt::Display for FactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
