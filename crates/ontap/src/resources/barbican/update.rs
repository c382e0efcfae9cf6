//! PATCH: another credential, proxy, verification or time limit, tried before it is in force.

use claviger::{BarbicanInfo, BarbicanUpdate, Blame, Credential, Fault, Proxy, SvmKeystoreError};

use super::create::{DEFAULT_TIMEOUT, in_key_memory, timeout};
use super::proxy::ProxyFields;
use super::{Found, found};
use crate::call::Call;
use crate::codes::{self, barbican as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::Body;
use crate::conventions::query::Query;
use crate::problem::Problem;

pub(super) fn run(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let Found { keystore, svm, barbican } = found(call)?.ok_or_else(|| code::BARBICAN_UNKNOWN.problem())?;
    let update = BarbicanUpdate {
        credential: credential(call, body)?,
        proxy: changed_proxy(call, body, &barbican)?,
        // `null` takes a setting back to what it is where nobody says otherwise.
        verify: body.gives("verify").then(|| body.flag("verify").unwrap_or(true)),
        verify_host: body.gives("verify_host").then(|| body.flag("verify_host").unwrap_or(true)),
        timeout: match body.gives("timeout") {
            true => Some(timeout(body.number("timeout").unwrap_or(DEFAULT_TIMEOUT))?),
            false => None,
        },
        extra_roots: None,
    };
    let (jobs, id) = (&call.service.jobs, keystore.id);
    let job = match update.is_empty() {
        true => jobs.done(call.described(), Some(svm)),
        false => jobs.begin(call.described(), Some(svm), move |engine| {
            engine.update_barbican(id, &update).map(drop).map_err(|error| refused(&error))
        })?,
    };
    Ok(Answer::changed().by(job))
}

/// The trial is the contract's health check.
fn refused(error: &SvmKeystoreError) -> Problem {
    match (error, error.fault()) {
        (SvmKeystoreError::Keeper(_), _) | (_, Fault::Keeper) => code::UPDATE_CHECK_FAILED.because(error),
        _ => codes::of_svm_keystore(error),
    }
}

/// Both parts of a credential, or none.
fn credential(call: &Call<'_>, body: &Body) -> Result<Option<Credential>, Problem> {
    let id = body.gives("application_cred_id").then(|| body.text("application_cred_id").unwrap_or_default());
    let secret =
        body.gives("application_cred_secret").then(|| body.text("application_cred_secret").unwrap_or_default());
    match (id, secret) {
        (None, None) => Ok(None),
        (Some(""), Some(_)) => Err(code::UPDATE_CREDENTIAL_ID.problem().about("application_cred_id")),
        (Some(_), Some("")) => Err(code::UPDATE_SECRET.problem().about("application_cred_secret")),
        (Some(id), Some(secret)) => {
            let refused = || code::UPDATE_SECRET.problem().about("application_cred_secret");
            let secret = in_key_memory(&call.service.engine, secret)?.ok_or_else(refused)?;
            Ok(Some(Credential { id: id.to_owned(), secret }))
        }
        (Some(_), None) => Err(code::CREDENTIAL_HALF.problem().about("application_cred_secret")),
        (None, Some(_)) => Err(code::CREDENTIAL_HALF.problem().about("application_cred_id")),
    }
}

/// The proxy with what the body changes of it. Its password is not kept where it could be read, so it is given again with each change.
fn changed_proxy(call: &Call<'_>, body: &Body, barbican: &BarbicanInfo) -> Result<Option<Option<Proxy>>, Problem> {
    if !ProxyFields::are_in(body) {
        return Ok(None);
    }
    let old = barbican.proxy.as_ref().map(ProxyFields::of).unwrap_or_default();
    old.changed_by(body).proxy(&call.service.engine).map(Some)
}
