//! `/security/barbican-kms`: keystores of data SVMs at an OpenStack Barbican.

mod create;
mod proxy;
mod schema;
mod status;
mod update;

use claviger::{BarbicanInfo, Engine, KeeperInfo, KeystoreInfo, KeystoreState, SvmId};

use self::schema::SCHEMA;
use crate::call::{Call, instance};
use crate::codes::{self, barbican as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::fields::Wanted;
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint, always};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row, few};
use crate::schema::Schema;

const COLLECTION: &str = "/security/barbican-kms";

struct Barbicans;

impl Resource for Barbicans {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, call: &Call<'_>, _: &Filters, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Problem> {
        let engine = &call.service.engine;
        let all = engine.keystores().into_iter().filter_map(Found::of);
        Ok(few(all, |found| found.keystore.id.to_string(), after, limit, |found| Some(found.record(engine))))
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        Ok(found(call)?.ok_or_else(codes::missing_entry)?.record(&call.service.engine))
    }

    fn compute(&self, call: &Call<'_>, record: &mut Record, wanted: &Wanted) -> Result<(), Problem> {
        status::compute(call, record, wanted);
        Ok(())
    }
}

/// A keystore that is at a Barbican.
struct Found {
    keystore: KeystoreInfo,
    svm: SvmId,
    barbican: BarbicanInfo,
}

impl Found {
    fn of(keystore: KeystoreInfo) -> Option<Self> {
        match (&keystore.keeper, keystore.svm) {
            (KeeperInfo::Barbican(barbican), Some(svm)) => Some(Self { barbican: barbican.clone(), svm, keystore }),
            _ => None,
        }
    }

    fn record(&self, engine: &Engine) -> Record {
        let Self { keystore, svm, barbican } = self;
        let svm_name = engine.svm(*svm).ok().and_then(|svm| svm.name().map(ToString::to_string));
        let proxy = barbican.proxy.as_ref();
        let proxy_type = proxy.map_or("https", |proxy| if proxy.tls { "https" } else { "http" });
        let proxy_user = proxy.and_then(|proxy| proxy.user.clone()).unwrap_or_default();
        Record::new()
            .with("uuid", keystore.id.to_string())
            .with_some("configuration.name", keystore.name.as_ref().map(ToString::to_string))
            .with("configuration.uuid", keystore.id.to_string())
            .with("svm.uuid", svm.to_string())
            .with_some("svm.name", svm_name)
            .with("scope", "svm")
            .with("enabled", keystore.enabled)
            .with("key_id", barbican.key_id.clone())
            .with("keystone_url", barbican.keystone_url.clone())
            .with("application_cred_id", barbican.application_cred_id.clone())
            .with("proxy_type", proxy_type)
            .with("proxy_host", proxy.map(|proxy| proxy.host.clone()).unwrap_or_default())
            .with("proxy_port", proxy.map_or(0, |proxy| proxy.port))
            .with("proxy_username", proxy_user)
            .with("verify", barbican.verify)
            .with("verify_host", barbican.verify_host)
            .with("timeout", barbican.timeout_seconds)
    }
}

/// The keystore that the path names, if there is one and it is at a Barbican.
fn found(call: &Call<'_>) -> Result<Option<Found>, Problem> {
    let engine = &call.service.engine;
    let keystore = engine.keystore_with_id(call.uuid("uuid")?).ok();
    Ok(keystore.and_then(Found::of))
}

/// The same for an action.
fn configured(call: &Call<'_>) -> Result<Found, Problem> {
    found(call)?.ok_or_else(|| code::BARBICAN_NOT_CONFIGURED.problem())
}

fn rekey_internal(call: &Call<'_>, _: &mut Query, _: &Body) -> Result<Answer, Problem> {
    let engine = &call.service.engine;
    let Found { keystore, svm, .. } = configured(call)?;
    let state = engine.keystore_status(keystore.id).ok().and_then(|status| status.state);
    if !keystore.enabled && state != Some(KeystoreState::Initializing) {
        let another = engine.keystores().iter().any(|other| other.svm == Some(svm) && other.enabled);
        return Err(match another {
            true => code::BARBICAN_NOT_CONFIGURED.with("The configuration is not the enabled one of its SVM."),
            false => code::NONE_ENABLED.problem(),
        });
    }
    // What runs, or was interrupted, is told before that there is nothing to rekey.
    match state {
        Some(KeystoreState::Initializing) => return Err(code::INITIALIZING.problem()),
        Some(KeystoreState::Disabling) => return Err(code::DISABLING.problem()),
        Some(KeystoreState::Switching) => return Err(code::SWITCHING.problem()),
        _ => {}
    }
    let job = engine.rekey_internal(svm).map_err(|error| codes::of_rekey(&error))?;
    Ok(Answer::acted().by(crate::jobs::Begun::Engine(job)))
}

fn restore(call: &Call<'_>, _: &mut Query, _: &Body) -> Result<Answer, Problem> {
    let Found { keystore, svm, .. } = configured(call)?;
    let location = instance(COLLECTION, keystore.id);
    super::actions::restore(call, Some(svm)).map(|job| Answer::acted().by(job).at(location))
}

static CREATE: Change = Change {
    exists: always,
    parameters: &[],
    body: Some((&SCHEMA, Verb::Post)),
    run: create::run,
    creates: Some(&Barbicans),
};

static UPDATE: Change = Change {
    exists: |call| found(call)?.map(drop).ok_or_else(|| code::BARBICAN_UNKNOWN.problem()),
    parameters: &[],
    body: Some((&SCHEMA, Verb::Patch)),
    run: update::run,
    creates: None,
};

static REKEY: Change = Change {
    exists: |call| configured(call).map(drop),
    parameters: &[],
    body: None,
    run: rekey_internal,
    creates: None,
};

static RESTORE: Change =
    Change { exists: |call| configured(call).map(drop), parameters: &[], body: None, run: restore, creates: None };

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: COLLECTION,
        summary: "Lists the Barbican configurations of all SVMs.",
        does: Does::List(&Barbicans),
    },
    Endpoint {
        method: "POST",
        path: COLLECTION,
        summary: "Makes an inactive Barbican configuration for a data SVM.",
        does: Does::Change(&CREATE),
    },
    Endpoint {
        method: "PATCH",
        path: COLLECTION,
        summary: "Changes every Barbican configuration that the filters select.",
        does: Does::Each { resource: &Barbicans, change: &UPDATE, key: "uuid" },
    },
    Endpoint {
        method: "GET",
        path: "/security/barbican-kms/{uuid}",
        summary: "Shows a Barbican configuration.",
        does: Does::Show(&Barbicans),
    },
    Endpoint {
        method: "PATCH",
        path: "/security/barbican-kms/{uuid}",
        summary: "Changes the credential, the proxy, the verification or the time limit of a Barbican configuration.",
        does: Does::Change(&UPDATE),
    },
    Endpoint {
        method: "POST",
        path: "/security/barbican-kms/{uuid}/rekey-internal",
        summary: "Gives the SVM a new KEK, and re-wraps its keys.",
        does: Does::Change(&REKEY),
    },
    Endpoint {
        method: "POST",
        path: "/security/barbican-kms/{uuid}/restore",
        summary: "Fetches the SVM's KEKs from Barbican again.",
        does: Does::Change(&RESTORE),
    },
];
