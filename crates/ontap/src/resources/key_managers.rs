//! `/security/key-managers`: the cluster's onboard key manager. Key servers come with the KMIP keeper.

mod create;
mod delete;
mod schema;
mod update;

use claviger::{Engine, Fact, OnboardInfo};

use self::schema::SCHEMA;
use super::key_stores::CLUSTERS_NAME;
use crate::call::Call;
use crate::codes;
use crate::conventions::body::Verb;
use crate::conventions::fields::Wanted;
use crate::conventions::filter::Filters;
use crate::endpoint::{Change, Does, Endpoint, Parameter, always};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row, few};
use crate::schema::{Kind, Schema};

const COLLECTION: &str = "/security/key-managers";

/// Made of the whole hierarchy, so only where somebody wants it.
const BACKUP: &str = "onboard.key_backup";
/// Setup is complete.
const NO_ACTION: (u32, &str) = (65_537_200, "No action needed at this time.");
/// The code of nodes without volume encryption.
const NO_VOLUME_ENCRYPTION: u32 = 65_536_935;

struct KeyManagers;

impl Resource for KeyManagers {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, call: &Call<'_>, _: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let engine = &call.service.engine;
        let onboard = engine.keystore().into_iter();
        Ok(few(onboard, |onboard| onboard.id.to_string(), after, limit, |onboard| Some(record(engine, onboard))))
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        found(call).map(|onboard| record(&call.service.engine, &onboard))
    }

    fn computes(&self, wanted: &Wanted) -> bool {
        wanted.has_expensive(&SCHEMA) || wanted.has_path(BACKUP, &SCHEMA)
    }

    fn compute(&self, call: &Call<'_>, record: &mut Record, wanted: &Wanted) -> Result<(), Problem> {
        if wanted.has_path(BACKUP, &SCHEMA)
            && let Ok(backup) = call.service.engine.backup()
        {
            record.set(BACKUP, backup);
        }
        let (code, message) = NO_ACTION;
        record.set("status.code", code);
        record.set("status.message", message);
        Ok(())
    }
}

/// The onboard key manager, if that is what the path names.
fn found(call: &Call<'_>) -> Result<OnboardInfo, Problem> {
    let id = call.uuid("uuid")?;
    call.service.engine.keystore().filter(|onboard| onboard.id == id).ok_or_else(codes::missing_entry)
}

fn record(engine: &Engine, onboard: &OnboardInfo) -> Record {
    let id = onboard.id.to_string();
    let (supported, code, message) = volume_encryption(engine);
    Record::new()
        .with("uuid", id.clone())
        .with("configuration.name", CLUSTERS_NAME)
        .with("configuration.uuid", id)
        .with("scope", "cluster")
        .with("enabled", true)
        .with("onboard.enabled", true)
        .with("volume_encryption.supported", supported)
        .with("volume_encryption.code", code)
        .with("volume_encryption.message", message)
        .with_some(
            "is_default_data_at_rest_encryption_disabled",
            engine.settings().ok().map(|settings| settings.data_at_rest_encryption_disabled),
        )
}

fn volume_encryption(engine: &Engine) -> (bool, u32, String) {
    match engine.facts().cluster.nodes_without_volume_encryption {
        Fact::Known(nodes) if nodes.is_empty() => (true, 0, String::new()),
        Fact::Known(nodes) => {
            let nodes = nodes.join(", ");
            (false, NO_VOLUME_ENCRYPTION, format!("Volume encryption is not supported on these nodes: {nodes}."))
        }
        Fact::Unknown => {
            (false, NO_VOLUME_ENCRYPTION, "It is not known which nodes support volume encryption.".to_owned())
        }
    }
}

static CREATE: Change = Change {
    exists: always,
    parameters: &[Parameter {
        name: "create_inactive",
        kind: Kind::Boolean,
        about: "Whether to make it without enabling it; not for the onboard key manager.",
    }],
    body: Some((&SCHEMA, Verb::Post)),
    run: create::run,
    creates: Some(&KeyManagers),
};

static UPDATE: Change = Change {
    exists: |call| found(call).map(drop),
    parameters: &[Parameter {
        name: "validate_certificates",
        kind: Kind::Boolean,
        about: "Whether certificates are checked first; not for the onboard key manager.",
    }],
    body: Some((&SCHEMA, Verb::Patch)),
    run: update::run,
    creates: None,
};

static DELETE: Change =
    Change { exists: |call| found(call).map(drop), parameters: &[], body: None, run: delete::run, creates: None };

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { method: "GET", path: COLLECTION, summary: "Lists the key managers.", does: Does::List(&KeyManagers) },
    Endpoint {
        method: "POST",
        path: COLLECTION,
        summary: "Makes the onboard key manager.",
        does: Does::Change(&CREATE),
    },
    Endpoint {
        method: "PATCH",
        path: COLLECTION,
        summary: "Changes every key manager that the filters select.",
        does: Does::Each { resource: &KeyManagers, change: &UPDATE, key: "uuid" },
    },
    Endpoint {
        method: "DELETE",
        path: COLLECTION,
        summary: "Deletes every key manager that the filters select.",
        does: Does::Each { resource: &KeyManagers, change: &DELETE, key: "uuid" },
    },
    Endpoint {
        method: "GET",
        path: "/security/key-managers/{uuid}",
        summary: "Shows a key manager.",
        does: Does::Show(&KeyManagers),
    },
    Endpoint {
        method: "PATCH",
        path: "/security/key-managers/{uuid}",
        summary: "Changes the onboard passphrase, or checks it.",
        does: Does::Change(&UPDATE),
    },
    Endpoint {
        method: "DELETE",
        path: "/security/key-managers/{uuid}",
        summary: "Deletes the onboard key manager, where no key is under a KEK that it keeps.",
        does: Does::Change(&DELETE),
    },
];
