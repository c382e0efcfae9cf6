//! `/security/key-stores`: keystores of every kind; enabled, disabled and deleted here.

use claviger::{ClusterVersion, Engine, Fact, KeeperInfo, KeystoreInfo, KeystoreState, SvmKeystoreError};

use crate::call::Call;
use crate::codes::{self, public as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint};
use crate::jobs::Begun;
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row, few};
use crate::schema::{Field, Kind, Link, Schema};

const STATES: &[&str] = &["active", "mixed", "svm_kek_rekey", "blocked", "switching", "initializing", "disabling"];
/// The first version in which keystores can be deleted.
const FIRST_VERSION: ClusterVersion = ClusterVersion::new(9, 14, 0);
/// The cluster's keystore has no name of its own.
pub(super) const CLUSTERS_NAME: &str = "default";

static SCHEMA: Schema = Schema {
    name: "security_keystore",
    fields: &[
        Field::key("uuid", Kind::Text, "The keystore's UUID, which is also its configuration's."),
        Field::key("configuration.name", Kind::Text, "Its name."),
        Field::key("configuration.uuid", Kind::Text, "The same UUID again."),
        Field::standard("enabled", Kind::Boolean, "Whether it is the enabled one of its scope.").patch(),
        Field::standard("type", Kind::OneOf(&["okm", "kmip", "akv", "gcp", "aws", "ikp", "barbican"]), "Its kind."),
        Field::standard("location", Kind::OneOf(&["onboard", "external"]), "Where its top-level key is."),
        Field::standard("state", Kind::OneOf(STATES), "What it is at; absent where it is not enabled."),
        Field::standard("is_svm_kek", Kind::Boolean, "Whether keys are under a KEK of their SVM."),
        Field::standard("scope", Kind::OneOf(&["svm", "cluster"]), "Whose it is.").patch(),
        Field::standard("svm.uuid", Kind::Text, "The SVM's UUID."),
        Field::standard("svm.name", Kind::Text, "The SVM's name."),
    ],
    lists: &[],
    links: &[
        Link { object: "", href: "/security/key-stores/{uuid}" },
        Link { object: "configuration", href: "/security/key-stores/{configuration.uuid}" },
        Link { object: "svm", href: "/svm/svms/{svm.uuid}" },
    ],
};

struct KeyStores;

impl Resource for KeyStores {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, call: &Call<'_>, _: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let engine = &call.service.engine;
        let all = engine.keystores().into_iter();
        Ok(few(all, |keystore| keystore.id.to_string(), after, limit, |keystore| Some(record(engine, keystore))))
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        found(call).map(|keystore| record(&call.service.engine, &keystore))
    }
}

fn found(call: &Call<'_>) -> Result<KeystoreInfo, Problem> {
    call.service.engine.keystore_with_id(call.uuid("uuid")?).map_err(|_| codes::missing_entry())
}

fn record(engine: &Engine, keystore: &KeystoreInfo) -> Record {
    let (kind, location) = match &keystore.keeper {
        KeeperInfo::Onboard(_) => ("okm", "onboard"),
        KeeperInfo::Barbican(_) => ("barbican", "external"),
        // What this release does not know is certainly no passphrase.
        _ => ("kmip", "external"),
    };
    let name = keystore.name.as_ref().map_or_else(|| CLUSTERS_NAME.to_owned(), ToString::to_string);
    let svm = keystore.svm.and_then(|svm| engine.svm(svm).ok());
    let state = engine.keystore_status(keystore.id).ok().and_then(|status| status.state);
    Record::new()
        .with("uuid", keystore.id.to_string())
        .with("configuration.name", name)
        .with("configuration.uuid", keystore.id.to_string())
        .with("enabled", keystore.enabled)
        .with("type", kind)
        .with("location", location)
        .with_some("state", state.map(KeystoreState::as_str))
        .with("is_svm_kek", true)
        .with("scope", if keystore.svm.is_some() { "svm" } else { "cluster" })
        .with_some("svm.uuid", svm.as_ref().map(|svm| svm.id().to_string()))
        .with_some("svm.name", svm.as_ref().and_then(|svm| svm.name().map(ToString::to_string)))
}

fn change(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let keystore = found(call)?;
    let scope = if keystore.svm.is_some() { "svm" } else { "cluster" };
    if body.text("scope").is_some_and(|given| given != scope) {
        return Err(codes::invalid("scope", format!("The keystore's scope is \"{scope}\", and does not change.")));
    }
    let begun = match (body.flag("enabled"), keystore.svm) {
        (None, _) => Err(codes::invalid("enabled", "The field \"enabled\" must be given: true or false.")),
        (Some(true), Some(_)) => enable(call, &keystore),
        (Some(false), Some(_)) => disable(call, &keystore),
        (Some(true), None) => Ok(None),
        (Some(false), None) => Err(code::DISABLE_TYPE.problem().about("enabled")),
    }?;
    let job = begun.unwrap_or_else(|| call.service.jobs.done(call.described(), keystore.svm));
    Ok(Answer::changed().by(job))
}

/// Enables the SVM's first keystore, or switches to another; also where that was interrupted.
fn enable(call: &Call<'_>, keystore: &KeystoreInfo) -> Result<Option<Begun>, Problem> {
    let engine = &call.service.engine;
    let Some(svm) = keystore.svm else { return Ok(None) };
    let job = match engine.enable(keystore.id) {
        Err(SvmKeystoreError::Enabled { .. }) => return Ok(None),
        Err(
            SvmKeystoreError::AnotherEnabled { .. } | SvmKeystoreError::Busy { state: KeystoreState::Switching, .. },
        ) => engine.switch(svm, keystore.id),
        begun => begun,
    };
    Ok(Some(Begun::Engine(job.map_err(|error| codes::of_svm_keystore(&error))?)))
}

fn disable(call: &Call<'_>, keystore: &KeystoreInfo) -> Result<Option<Begun>, Problem> {
    match call.service.engine.disable(keystore.id) {
        Ok(job) => Ok(Some(Begun::Engine(job))),
        Err(SvmKeystoreError::NotEnabled { .. }) => Ok(None),
        Err(error) => Err(codes::of_svm_keystore(&error)),
    }
}

fn delete(call: &Call<'_>, _: &mut Query, _: &Body) -> Result<Answer, Problem> {
    let engine = &call.service.engine;
    let keystore = known(call)?;
    // The contract's own words for a version in which this path is not there.
    if !matches!(engine.facts().cluster.version, Fact::Known(version) if version >= FIRST_VERSION) {
        return Err(code::KEYSTORES_VERSION.problem());
    }
    if keystore.svm.is_none() {
        return Err(code::KEYSTORE_TYPE.with("The onboard key manager is deleted at /api/security/key-managers."));
    }
    engine.delete_keystore(keystore.id).map_err(|error| match error {
        SvmKeystoreError::Enabled { .. } => code::KEYSTORE_ENABLED.problem(),
        SvmKeystoreError::Unknown { .. } => code::KEYSTORE_UNKNOWN.problem(),
        SvmKeystoreError::Busy { state: KeystoreState::Switching, .. } => {
            code::KEYSTORE_SWITCHING.with(error.to_string())
        }
        error => codes::of_svm_keystore(&error),
    })?;
    Ok(Answer::changed())
}

/// A keystore to delete.
fn known(call: &Call<'_>) -> Result<KeystoreInfo, Problem> {
    let keystore = call.service.engine.keystore_with_id(call.uuid("uuid")?);
    keystore.map_err(|_| code::KEYSTORE_UNKNOWN.problem())
}

static CHANGE: Change = Change {
    exists: |call| found(call).map(drop),
    parameters: &[],
    body: Some((&SCHEMA, Verb::Patch)),
    run: change,
    creates: None,
};

static DELETE: Change =
    Change { exists: |call| known(call).map(drop), parameters: &[], body: None, run: delete, creates: None };

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/security/key-stores",
        summary: "Lists the keystores of every kind.",
        does: Does::List(&KeyStores),
    },
    Endpoint {
        method: "PATCH",
        path: "/security/key-stores",
        summary: "Enables or disables every keystore that the filters select.",
        does: Does::Each { resource: &KeyStores, change: &CHANGE, key: "uuid" },
    },
    Endpoint {
        method: "DELETE",
        path: "/security/key-stores",
        summary: "Deletes every keystore that the filters select; each must be disabled.",
        does: Does::Each { resource: &KeyStores, change: &DELETE, key: "uuid" },
    },
    Endpoint {
        method: "GET",
        path: "/security/key-stores/{uuid}",
        summary: "Shows a keystore.",
        does: Does::Show(&KeyStores),
    },
    Endpoint {
        method: "PATCH",
        path: "/security/key-stores/{uuid}",
        summary: "Enables a keystore, or switches to it, or disables it.",
        does: Does::Change(&CHANGE),
    },
    Endpoint {
        method: "DELETE",
        path: "/security/key-stores/{uuid}",
        summary: "Deletes a keystore that is not enabled.",
        does: Does::Change(&DELETE),
    },
];
