//! POST: a new configuration. What is checked, and in which order, the contract says.

use std::time::Duration;

use claviger::{BarbicanSettings, Credential, Engine, InvalidKeystoreName, KeystoreName, SecretBytes, Site};

use super::COLLECTION;
use super::proxy::ProxyFields;
use crate::call::{Call, instance};
use crate::codes::{self, barbican as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::Body;
use crate::conventions::query::Query;
use crate::conventions::references::required_svm;
use crate::problem::Problem;

/// The most bytes of a credential's secret, or a proxy's password.
const LONGEST_SECRET: usize = 1_024;
/// The limit of one call where nobody says otherwise, in seconds.
pub(super) const DEFAULT_TIMEOUT: i64 = 10;

pub(super) fn run(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let engine = &call.service.engine;
    let svm = required_svm(call.service, body)?.id();
    engine.may_create_barbican(svm).map_err(|error| codes::of_svm_keystore(&error))?;
    let name: KeystoreName = body
        .required("configuration.name")?
        .parse()
        .map_err(|error: InvalidKeystoreName| codes::invalid("configuration.name", error.to_string()))?;
    let key = body.text("key_id").unwrap_or_default().parse();
    let key = key.map_err(|error: claviger::UrlError| about(code::CREATE_KEY_ID, "key_id", &error))?;
    let keystone = body.text("keystone_url").unwrap_or_default().parse();
    let keystone =
        keystone.map_err(|error: claviger::UrlError| about(code::CREATE_KEYSTONE_URL, "keystone_url", &error))?;
    let id = body.text("application_cred_id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| code::CREATE_CREDENTIAL_ID.problem().about("application_cred_id"))?.to_owned();
    let secret = body.text("application_cred_secret").filter(|secret| !secret.is_empty());
    let refused = || code::CREATE_SECRET.problem().about("application_cred_secret");
    let secret = in_key_memory(engine, secret.ok_or_else(refused)?)?.ok_or_else(refused)?;

    let site = Site {
        keystone,
        proxy: ProxyFields::default().changed_by(body).proxy(engine)?,
        verify: body.flag("verify").unwrap_or(true),
        verify_host: body.flag("verify_host").unwrap_or(true),
        extra_roots: Vec::new(),
        timeout: timeout(body.number("timeout").unwrap_or(DEFAULT_TIMEOUT))?,
    };
    let credential = Credential { id, secret };
    let settings = BarbicanSettings { key, site, credential };
    let keystore = engine.create_barbican(svm, &name, &settings).map_err(|error| codes::of_svm_keystore(&error))?;
    let job = call.service.jobs.done(call.described(), Some(svm));
    Ok(Answer::created(instance(COLLECTION, keystore.id)).by(job))
}

fn about(code: codes::Code, field: &str, error: &claviger::UrlError) -> Problem {
    code.with(format!("{} {error}.", code.meaning)).about(field)
}

/// The limit of one call; the engine knows the range.
pub(super) fn timeout(seconds: i64) -> Result<Duration, Problem> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| (1..=3_600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| codes::invalid("timeout", "\"timeout\" must be 1 to 3600 seconds."))
}

/// A secret of a body, where secrets belong. `None` where it is longer than any can be.
pub(super) fn in_key_memory(engine: &Engine, secret: &str) -> Result<Option<SecretBytes>, Problem> {
    if secret.len() > LONGEST_SECRET {
        return Ok(None);
    }
    let mut bytes = engine.arena().bytes(secret.len()).map_err(|error| codes::failed(error.to_string()))?;
    bytes.expose_mut().copy_from_slice(secret.as_bytes());
    Ok(Some(bytes))
}
