//! The endpoints whose keepers are not built yet: KMIP servers and Azure Key Vault.

use crate::call::Call;
use crate::codes::{self, key_managers as code};
use crate::endpoint::{Does, Endpoint};
use crate::problem::Problem;

const fn nothing(method: &'static str, path: &'static str, summary: &'static str) -> Endpoint {
    Endpoint { method, path, summary, does: Does::Nothing(|_| no_keeper()) }
}

/// What a key manager must be for this, and the onboard one is not.
const fn external(method: &'static str, path: &'static str, summary: &'static str) -> Endpoint {
    Endpoint { method, path, summary, does: Does::Nothing(not_external) }
}

fn no_keeper() -> Problem {
    codes::unsupported("This release has no keeper of that kind.")
}

fn not_external(call: &Call<'_>) -> Problem {
    let onboard = call.service.engine.keystore().map(|onboard| onboard.id);
    match call.uuid("uuid") {
        Ok(id) if Some(id) == onboard => code::EXTERNAL_NOT_ENABLED.problem(),
        _ => no_keeper(),
    }
}

const VAULTS: &str = "/security/azure-key-vaults";
const VAULT: &str = "/security/azure-key-vaults/{uuid}";
const SERVERS: &str = "/security/key-managers/{uuid}/key-servers";
const SERVER: &str = "/security/key-managers/{uuid}/key-servers/{server}";
const AUTH_KEYS: &str = "/security/key-managers/{uuid}/auth-keys";
const AUTH_KEY: &str = "/security/key-managers/{uuid}/auth-keys/{key_id}";

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    nothing("GET", VAULTS, "Lists Azure Key Vaults: not in this release."),
    nothing("POST", VAULTS, "Makes an Azure Key Vault configuration: not in this release."),
    nothing("PATCH", VAULTS, "Changes Azure Key Vaults: not in this release."),
    nothing("DELETE", VAULTS, "Deletes Azure Key Vaults: not in this release."),
    nothing("GET", VAULT, "Shows an Azure Key Vault: not in this release."),
    nothing("PATCH", VAULT, "Changes an Azure Key Vault: not in this release."),
    nothing("DELETE", VAULT, "Deletes an Azure Key Vault: not in this release."),
    nothing("POST", "/security/azure-key-vaults/{uuid}/rekey-external", "Changes a vault's key: not in this release."),
    nothing("POST", "/security/azure-key-vaults/{uuid}/rekey-internal", "Rekeys an SVM: not in this release."),
    nothing("POST", "/security/azure-key-vaults/{uuid}/restore", "Fetches keys from a vault: not in this release."),
    external("GET", SERVERS, "Lists KMIP servers: not in this release."),
    external("POST", SERVERS, "Adds a KMIP server: not in this release."),
    external("PATCH", SERVERS, "Changes KMIP servers: not in this release."),
    external("DELETE", SERVERS, "Removes KMIP servers: not in this release."),
    external("GET", SERVER, "Shows a KMIP server: not in this release."),
    external("PATCH", SERVER, "Changes a KMIP server: not in this release."),
    external("DELETE", SERVER, "Removes a KMIP server: not in this release."),
    nothing("GET", AUTH_KEYS, "Lists authentication keys: not in this release."),
    nothing("POST", AUTH_KEYS, "Makes an authentication key: not in this release."),
    nothing("GET", AUTH_KEY, "Shows an authentication key: not in this release."),
    nothing("DELETE", AUTH_KEY, "Deletes an authentication key: not in this release."),
];
