//! Actions on key managers: KEKs moved between two, or fetched again.

use claviger::{KeystoreInfo, SvmId, SvmKeystoreError};
use uuid::Uuid;

use crate::call::Call;
use crate::codes;
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint};
use crate::jobs::Begun;
use crate::problem::Problem;
use crate::schema::{Field, Kind, Schema};

static MIGRATION: Schema = Schema {
    name: "key_manager_migration",
    fields: &[Field::hidden("uuid", Kind::Text, "The key manager that keeps the SVM's KEK from then on.").post()],
    lists: &[],
    links: &[],
};

static RESTORATION: Schema = Schema {
    name: "key_manager_restoration",
    fields: &[
        Field::hidden("node.uuid", Kind::Text, "The node whose memory is meant.").post(),
        Field::hidden("node.name", Kind::Text, "The same by name.").post(),
        Field::hidden("key_id", Kind::Text, "A key; accepted, and whatever it needs comes with all the others.").post(),
        Field::hidden("key_server", Kind::Text, "A KMIP server; accepted, and none is asked.").post(),
        Field::hidden("key_tag", Kind::Text, "A tag; accepted, and keys have none.").post(),
    ],
    lists: &[],
    links: &[],
};

/// The keystore with this UUID. The UUID of an SVM stands for its enabled one, that of the admin SVM for the cluster's.
fn keystore(call: &Call<'_>, id: Uuid) -> Option<KeystoreInfo> {
    let engine = &call.service.engine;
    let all = engine.keystores();
    let svm = || engine.svm(SvmId::from(id)).ok();
    let of_svm = |one: &&KeystoreInfo, svm: &claviger::SvmInfo| match svm.is_admin() {
        true => one.svm.is_none(),
        false => one.svm == Some(svm.id()) && one.enabled,
    };
    let by_id = all.iter().find(|one| one.id == id);
    by_id.or_else(|| svm().and_then(|svm| all.iter().find(|one| of_svm(one, &svm)))).cloned()
}

fn source(call: &Call<'_>) -> Result<KeystoreInfo, Problem> {
    keystore(call, call.uuid("uuid")?).ok_or_else(codes::missing_entry)
}

fn migrate(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let source = source(call)?;
    let no_such = || codes::missing("There is no key manager with the UUID of the destination.").about("uuid");
    let to = Uuid::parse_str(body.required("uuid")?).map_err(|_| codes::invalid("uuid", "\"uuid\" is no UUID."))?;
    let to = keystore(call, to).ok_or_else(no_such)?;
    let svm = match (source.svm, to.svm) {
        (Some(svm), None) | (None, Some(svm)) => svm,
        (Some(_), Some(_)) => {
            return Err(codes::invalid(
                "uuid",
                "Keys migrate between the cluster's key manager and an SVM's; between two of an SVM, enable the other.",
            ));
        }
        (None, None) => return Err(codes::invalid("uuid", "The destination is the source.")),
    };
    let job = call.service.engine.migrate(svm, to.id).map_err(|error| codes::of_svm_keystore(&error))?;
    Ok(Answer::acted().by(Begun::Engine(job)))
}

fn restore_keys(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let keystore = source(call)?;
    let node = &call.service.node;
    let is_other = |given: Option<&str>, known: &str| given.is_some_and(|given| given != known);
    if is_other(body.text("node.uuid"), &node.uuid.to_string()) || is_other(body.text("node.name"), &node.name) {
        return Err(codes::missing("There is no such node.").about("node"));
    }
    Ok(Answer::acted().by(restore(call, keystore.svm)?))
}

/// Fetches the KEKs of one SVM, or of all, again.
pub(super) fn restore(call: &Call<'_>, svm: Option<SvmId>) -> Result<Begun, Problem> {
    match call.service.engine.restore_keks(svm) {
        Ok(job) => Ok(Begun::Engine(job)),
        // There is nothing to fetch.
        Err(SvmKeystoreError::NoKeys { .. }) => Ok(call.service.jobs.done(call.described(), svm)),
        Err(error) => Err(codes::of_svm_keystore(&error)),
    }
}

static MIGRATE: Change = Change {
    exists: |call| source(call).map(drop),
    parameters: &[],
    body: Some((&MIGRATION, Verb::Post)),
    run: migrate,
    creates: None,
};

static RESTORE: Change = Change {
    exists: |call| source(call).map(drop),
    parameters: &[],
    body: Some((&RESTORATION, Verb::Post)),
    run: restore_keys,
    creates: None,
};

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "POST",
        path: "/security/key-managers/{uuid}/migrate",
        summary: "Moves an SVM's KEK between the cluster's key manager and the SVM's enabled one.",
        does: Does::Change(&MIGRATE),
    },
    Endpoint {
        method: "POST",
        path: "/security/key-managers/{uuid}/restore",
        summary: "Fetches the KEKs that a key manager keeps into memory again.",
        does: Does::Change(&RESTORE),
    },
];
