//! What the facts of the node do not allow. A fact that is not known allows nothing.

use claviger_wrap::{KeyType, SvmId};

use crate::engine::{Core, Engine};
use crate::error::{Advice, Blame, Fault};
use crate::keystores::{Beside, OnboardMode};
use crate::platform::{ClusterVersion, Fact, FactName, Facts, PartnerKeyManager, Storage};
use crate::svm_keystore_error::SvmKeystoreError;

/// The first version with keystores at a Barbican.
const BARBICAN: ClusterVersion = ClusterVersion::new(9, 17, 0);
/// The first version in which an SVM can have a keystore of its own.
const SVM_KEYSTORES: ClusterVersion = ClusterVersion::new(9, 6, 0);

/// Why the facts of the node do not allow what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The licence for keystores of SVMs is not installed.
    #[error("the licence for keystores of SVMs (MT_EK_MGMT) is not installed; install it first")]
    License,
    /// The cluster is one site of a MetroCluster.
    #[error("keystores at a Barbican are not supported in a MetroCluster configuration")]
    MetroCluster,
    /// The cluster's effective version is too low for keystores at a Barbican.
    #[error(
        "keystores at a Barbican need an effective cluster version of {BARBICAN}, and this is {found}; upgrade all nodes first"
    )]
    BarbicanVersion {
        /// The effective cluster version.
        found: ClusterVersion,
    },
    /// The cluster's effective version is too low for keystores of SVMs.
    #[error(
        "keystores of SVMs need an effective cluster version of {SVM_KEYSTORES}, and this is {found}; upgrade all nodes first"
    )]
    SvmKeystoresVersion {
        /// The effective cluster version.
        found: ClusterVersion,
    },
    /// The platform cannot encrypt data at rest.
    #[error("this platform cannot encrypt data at rest")]
    NoPlatformEncryption,
    /// The partner site of the MetroCluster is not in good health.
    #[error("the partner site of the MetroCluster is not in good health; see to it, then try again")]
    PartnerUnhealthy,
    /// The partner site of the MetroCluster has its keys kept outside.
    #[error("the partner site of the MetroCluster uses an external key manager; use the same kind at both sites")]
    PartnerExternal,
    /// The partner site of the MetroCluster has an onboard keystore already.
    #[error(
        "the partner site of the MetroCluster has an onboard keystore already; synchronize with it, with the same passphrase"
    )]
    PartnerOnboard,
    /// There is no other site to synchronize with.
    #[error("the cluster is not in a MetroCluster configuration; there is no partner site to synchronize with")]
    NotMetroCluster,
    /// The partner site of the MetroCluster has no onboard keystore yet.
    #[error("the partner site of the MetroCluster has no onboard keystore to synchronize with; create it there first")]
    PartnerNone,
    /// The cluster is in Common Criteria mode, and the onboard keystore was not to be.
    #[error("the cluster is in Common Criteria mode, and so must its onboard keystore be")]
    CommonCriteriaNeeded,
    /// The onboard keystore was to be in Common Criteria mode, and the cluster is not.
    #[error("the cluster is not in Common Criteria mode, and so its onboard keystore cannot be")]
    CommonCriteriaNotAllowed,
    /// A KEK that the keystore keeps protects keys of volumes.
    #[error("SVM {svm} has encrypted volumes whose keys the keystore protects; move or delete them first")]
    EncryptedVolumes {
        /// The first SVM that has some.
        svm: SvmId,
    },
    /// Drives have authentication keys.
    #[error("drives have authentication keys; give them their default keys first")]
    DrivesWithKeys,
    /// There are aggregates that are encrypted as a whole.
    #[error("there are encrypted aggregates (NAE); move or delete them first")]
    NaeAggregates,
    /// There are encrypted core files.
    #[error("there are encrypted core files; save or delete them first")]
    EncryptedCoreFiles,
    /// A fact that decides about it is not known.
    #[error("whether this is allowed depends on {fact}, which is not known; see to what tells the facts of this node")]
    Unknown {
        /// The fact.
        fact: FactName,
    },
}

impl Blame for Refusal {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::License
            | Self::MetroCluster
            | Self::BarbicanVersion { .. }
            | Self::SvmKeystoresVersion { .. }
            | Self::NoPlatformEncryption
            | Self::PartnerExternal
            | Self::PartnerOnboard
            | Self::NotMetroCluster
            | Self::PartnerNone
            | Self::CommonCriteriaNeeded
            | Self::CommonCriteriaNotAllowed
            | Self::EncryptedVolumes { .. }
            | Self::DrivesWithKeys
            | Self::NaeAggregates
            | Self::EncryptedCoreFiles => (Fault::Caller, Advice::Correct),
            Self::PartnerUnhealthy | Self::Unknown { .. } => (Fault::Node, Advice::Retry),
        }
    }
}

impl Engine {
    /// The facts of the node, as [`Options::platform`](crate::Options::platform) tells them now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.core.platform.facts()
    }

    /// Whether a keystore at a Barbican may be made for the SVM. Looked at in this order: the licence, that it is a data SVM, that there is
    /// no MetroCluster, the cluster's version.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Refused`], [`SvmKeystoreError::Admin`], [`SvmKeystoreError::UnknownSvm`], [`SvmKeystoreError::Damaged`].
    pub fn may_create_barbican(&self, svm: SvmId) -> Result<(), SvmKeystoreError> {
        let facts = self.facts();
        refuse_unless(&facts.licenses.mt_ek_mgmt, FactName::MtEkMgmt, || Refusal::License)?;
        self.core.data_svm(svm)?;
        if *known(&facts.metrocluster.configured, FactName::MetroCluster)? {
            return Err(Refusal::MetroCluster.into());
        }
        match *known(&facts.cluster.version, FactName::ClusterVersion)? {
            found if found < BARBICAN => Err(Refusal::BarbicanVersion { found }.into()),
            _ => Ok(()),
        }
    }

    /// Whether SVMs may have keystores of their own in a cluster of this version.
    ///
    /// # Errors
    /// [`Refusal::SvmKeystoresVersion`], [`Refusal::Unknown`].
    pub fn may_have_svm_keystores(&self) -> Result<(), Refusal> {
        match *known(&self.facts().cluster.version, FactName::ClusterVersion)? {
            found if found < SVM_KEYSTORES => Err(Refusal::SvmKeystoresVersion { found }),
            _ => Ok(()),
        }
    }
}

impl Core {
    /// Whether the cluster may get an onboard keystore in this mode.
    pub(crate) fn may_create_onboard(&self, mode: OnboardMode, beside: Beside) -> Result<(), Refusal> {
        let Facts { metrocluster, cluster, .. } = self.platform.facts();
        refuse_unless(&cluster.platform_encryption, FactName::PlatformEncryption, || Refusal::NoPlatformEncryption)?;
        if *known(&metrocluster.configured, FactName::MetroCluster)? {
            refuse_unless(&metrocluster.partner_healthy, FactName::PartnerHealthy, || Refusal::PartnerUnhealthy)?;
            match (*known(&metrocluster.partner_key_manager, FactName::PartnerKeyManager)?, beside) {
                (PartnerKeyManager::External, _) => return Err(Refusal::PartnerExternal),
                (PartnerKeyManager::Onboard, Beside::Nothing) => return Err(Refusal::PartnerOnboard),
                (PartnerKeyManager::None, Beside::ThePartners) => return Err(Refusal::PartnerNone),
                (PartnerKeyManager::Onboard, Beside::ThePartners) | (PartnerKeyManager::None, Beside::Nothing) => {}
            }
        } else if beside == Beside::ThePartners {
            return Err(Refusal::NotMetroCluster);
        }
        self.may_be_in(mode)
    }

    /// Refuses where something is encrypted that the engine does not see: drives, then aggregates, then core files. `has` tells whether there
    /// are keys of this type in the hierarchy.
    pub(crate) fn refuse_encrypted<E: From<Refusal>>(&self, has: impl Fn(KeyType) -> Result<bool, E>) -> Result<(), E> {
        let Storage { drives_with_keys, nae_aggregates, encrypted_core_files, .. } = self.platform.facts().storage;
        if has(KeyType::NseAk)? || *known(&drives_with_keys, FactName::DrivesWithKeys)? > 0 {
            return Err(Refusal::DrivesWithKeys.into());
        }
        if has(KeyType::Aek)? || !known(&nae_aggregates, FactName::NaeAggregates)?.is_empty() {
            return Err(Refusal::NaeAggregates.into());
        }
        match *known(&encrypted_core_files, FactName::EncryptedCoreFiles)? {
            true => Err(Refusal::EncryptedCoreFiles.into()),
            false => Ok(()),
        }
    }

    /// Whether the onboard keystore may be in this mode.
    pub(crate) fn may_be_in(&self, mode: OnboardMode) -> Result<(), Refusal> {
        let Some(fact) = self.platform.facts().cluster.common_criteria else { return Ok(()) };
        match (*known(&fact, FactName::CommonCriteria)?, mode) {
            (true, OnboardMode::Unattended) => Err(Refusal::CommonCriteriaNeeded),
            (false, OnboardMode::CommonCriteria) => Err(Refusal::CommonCriteriaNotAllowed),
            (true, OnboardMode::CommonCriteria) | (false, OnboardMode::Unattended) => Ok(()),
        }
    }
}

fn known<T>(fact: &Fact<T>, name: FactName) -> Result<&T, Refusal> {
    match fact {
        Fact::Known(value) => Ok(value),
        Fact::Unknown => Err(Refusal::Unknown { fact: name }),
    }
}

fn refuse_unless(fact: &Fact<bool>, name: FactName, refusal: impl FnOnce() -> Refusal) -> Result<(), Refusal> {
    match *known(fact, name)? {
        true => Ok(()),
        false => Err(refusal()),
    }
}
