//! Which code it is that the facts of the node do not allow something. What a fact that is not known would guard is refused with the
//! guard's own code.

use claviger::{DeleteOnboardError, FactName, KeyError, Refusal};

use super::{Code, barbican, in_use, key_managers, missing_entry, public, unsupported};
use crate::problem::Problem;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guarded {
    Barbican,
    CreateOnboard,
    DeleteOnboard,
    CommonCriteria,
}

pub(crate) fn of_refusal(refusal: &Refusal, guarded: Guarded) -> Problem {
    let code = match refusal {
        Refusal::License => barbican::NOT_LICENSED,
        Refusal::MetroCluster => barbican::BARBICAN_METROCLUSTER,
        Refusal::BarbicanVersion { .. } => barbican::BARBICAN_VERSION,
        Refusal::NoPlatformEncryption => key_managers::NO_PLATFORM_ENCRYPTION,
        Refusal::PartnerUnhealthy => key_managers::PARTNER_UNHEALTHY,
        Refusal::PartnerExternal => key_managers::PARTNER_EXTERNAL,
        Refusal::PartnerOnboard => key_managers::PARTNER_ONBOARD,
        Refusal::NotMetroCluster => key_managers::SYNC_CREATE_NO_METROCLUSTER,
        Refusal::PartnerNone => key_managers::SYNC_CREATE_NO_PARTNER,
        Refusal::CommonCriteriaNotAllowed => public::CC_DISABLED,
        Refusal::EncryptedVolumes { .. } => key_managers::ENCRYPTED_VOLUMES,
        Refusal::DrivesWithKeys => key_managers::DRIVES_HOLD_KEYS,
        Refusal::NaeAggregates => key_managers::NAE_AGGREGATES,
        Refusal::EncryptedCoreFiles => key_managers::CORE_FILES,
        Refusal::Unknown { fact } => match of_unknown(*fact, guarded) {
            Some(code) => code,
            None => return unsupported(refusal.to_string()),
        },
        _ => return unsupported(refusal.to_string()),
    };
    code.with(format!("{} Now: {refusal}.", code.meaning))
}

fn of_unknown(fact: FactName, guarded: Guarded) -> Option<Code> {
    match (fact, guarded) {
        (FactName::MtEkMgmt, _) => Some(barbican::NOT_LICENSED),
        (FactName::MetroCluster, Guarded::Barbican) => Some(barbican::BARBICAN_METROCLUSTER),
        (FactName::MetroCluster | FactName::PartnerHealthy, Guarded::CreateOnboard) => {
            Some(key_managers::PARTNER_UNHEALTHY)
        }
        (FactName::PartnerKeyManager, Guarded::CreateOnboard) => Some(key_managers::PARTNER_EXTERNAL),
        (FactName::MetroCluster, Guarded::CommonCriteria) => Some(public::CC_METROCLUSTER),
        (FactName::ClusterVersion, Guarded::Barbican) => Some(barbican::BARBICAN_VERSION),
        (FactName::ClusterVersion, Guarded::CommonCriteria) => Some(public::CC_VERSION),
        (FactName::PlatformEncryption, _) => Some(key_managers::NO_PLATFORM_ENCRYPTION),
        (FactName::CommonCriteria, _) => Some(public::CC_DISABLED),
        (FactName::NaeAggregates, Guarded::DeleteOnboard) => Some(key_managers::ENCRYPTION_TYPE_UNKNOWN),
        (_, Guarded::DeleteOnboard) => Some(key_managers::NOT_KNOWN_SAFE),
        _ => None,
    }
}

/// Why the onboard key manager was not deleted.
pub(crate) fn of_delete_onboard(error: &DeleteOnboardError) -> Problem {
    let code = match error {
        DeleteOnboardError::None => return missing_entry(),
        DeleteOnboardError::Refused(refusal) => return of_refusal(refusal, Guarded::DeleteOnboard),
        DeleteOnboardError::Busy { .. } => return in_use(error.to_string()),
        DeleteOnboardError::Looking(KeyError::Records(_)) => key_managers::VOLUMES_UNREADABLE,
        DeleteOnboardError::DamagedRecord | DeleteOnboardError::Looking(_) => key_managers::ONBOARD_KEYS_UNREADABLE,
        DeleteOnboardError::Kek { .. } => key_managers::SVM_KEY_NOT_DELETED,
        DeleteOnboardError::Record { .. } => key_managers::WRAPPED_KDB_NOT_DELETED,
        _ => key_managers::NOT_KNOWN_SAFE,
    };
    code.because(error)
}
