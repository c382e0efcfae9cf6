//! `/security/key-manager-configs`: options of the cluster's key management, Common Criteria mode among them.

mod schema;

use claviger::{
    ClusterVersion, Engine, Fact, HealthMonitorPolicies, KeystoreError, OnboardMode, PollingInterval, RecordError,
    RetryCount,
};

use self::schema::{POLICIES, SCHEMA};
use super::passphrase::passphrase;
use crate::call::Call;
use crate::codes::{self, Guarded, public as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint, always};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row};
use crate::schema::Schema;

const MODE: &str = "cc_mode_enabled";
const INTERVAL: &str = "health_monitor_polling_interval";
const RETRIES: &str = "cloud_kms_retry_count";
/// The first version with Common Criteria mode.
const FIRST_VERSION: ClusterVersion = ClusterVersion::new(9, 4, 0);

struct Configs;

impl Resource for Configs {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn rows(&self, _: &Call<'_>, _: &Filters, _: Option<&str>, _: usize) -> Result<Vec<Row>, Problem> {
        Ok(Vec::new())
    }

    fn one(&self, call: &Call<'_>) -> Result<Record, Problem> {
        let engine = &call.service.engine;
        let mut settings = engine.settings().map_err(|error| of_records(&error))?;
        let record = Record::new()
            .with(MODE, is_common_criteria(engine))
            .with(INTERVAL, settings.health_monitor_polling_interval.minutes())
            .with(RETRIES, settings.cloud_kms_retry_count.get());
        let policies = &mut settings.health_monitor_policy;
        Ok(POLICIES.iter().fold(record, |record, (name, policy)| {
            let policy = *policy(policies);
            record.with(&enabled(name), policy.enabled).with(&manages_volumes(name), policy.manage_volume_offline)
        }))
    }
}

fn is_common_criteria(engine: &Engine) -> bool {
    engine.keystore().is_some_and(|onboard| onboard.mode == OnboardMode::CommonCriteria)
}

fn enabled(kind: &str) -> String {
    format!("health_monitor_policy.{kind}.enabled")
}

fn manages_volumes(kind: &str) -> String {
    format!("health_monitor_policy.{kind}.manage_volume_offline")
}

fn of_records(error: &RecordError) -> Problem {
    codes::failed(codes::chain(error))
}

/// The settings could not be written, after something else was changed.
pub(super) fn half(changed: bool, what: &str, error: &RecordError) -> Problem {
    match changed {
        true => codes::failed(format!(
            "{what} was changed as asked for; the other settings were not: {}.",
            codes::chain(error)
        )),
        false => of_records(error),
    }
}

/// What can be refused is refused before anything is changed.
fn change(call: &Call<'_>, _: &mut Query, body: &Body) -> Result<Answer, Problem> {
    let engine = &call.service.engine;
    let interval = number(body, INTERVAL, PollingInterval::try_from)?;
    let retries = number(body, RETRIES, RetryCount::try_from)?;
    let now = engine.settings().map_err(|error| of_records(&error))?;
    let is_changed = interval.is_some_and(|interval| interval != now.health_monitor_polling_interval);
    // A Barbican is an external key manager, too.
    if is_changed && !engine.keystores().iter().any(|keystore| keystore.svm.is_some()) {
        return Err(code::POLLING_NO_EXTERNAL.problem().about(INTERVAL));
    }
    if body.gives(MODE) || body.gives("passphrase") {
        change_mode(engine, body)?;
    }
    let changed = engine.change_settings(|settings| {
        settings.health_monitor_polling_interval = interval.unwrap_or(settings.health_monitor_polling_interval);
        settings.cloud_kms_retry_count = retries.unwrap_or(settings.cloud_kms_retry_count);
        change_policies(&mut settings.health_monitor_policy, body);
    });
    changed.map_err(|error| half(body.gives(MODE), "Common Criteria mode", &error))?;
    Ok(Answer::changed())
}

fn number<T>(
    body: &Body,
    field: &str,
    parse: impl Fn(u64) -> Result<T, claviger::InvalidSetting>,
) -> Result<Option<T>, Problem> {
    let Some(given) = body.number(field) else { return Ok(None) };
    let parsed = parse(u64::try_from(given).unwrap_or(u64::MAX));
    parsed.map(Some).map_err(|error| codes::invalid(field, error.to_string()))
}

fn change_policies(policies: &mut HealthMonitorPolicies, body: &Body) {
    for (name, policy) in POLICIES {
        let policy = policy(policies);
        policy.enabled = body.flag(&enabled(name)).unwrap_or(policy.enabled);
        policy.manage_volume_offline = body.flag(&manages_volumes(name)).unwrap_or(policy.manage_volume_offline);
    }
}

/// The mode is the onboard keystore's. Whoever turns it on gives the passphrase; whoever turns it off need not.
fn change_mode(engine: &Engine, body: &Body) -> Result<(), Problem> {
    let facts = engine.facts();
    if !matches!(facts.cluster.version, Fact::Known(version) if version >= FIRST_VERSION) {
        return Err(code::CC_VERSION.problem());
    }
    if engine.keystore().is_none() {
        return Err(code::CC_NO_ONBOARD.problem());
    }
    let Some(common_criteria) = body.flag(MODE) else {
        return Err(codes::invalid("passphrase", "\"passphrase\" is for a change of \"cc_mode_enabled\"."));
    };
    if common_criteria && facts.metrocluster.configured != Fact::Known(false) {
        return Err(code::CC_METROCLUSTER.problem());
    }
    if !body.gives("passphrase") && common_criteria == is_common_criteria(engine) {
        return Ok(());
    }
    if !body.gives("passphrase") && !common_criteria {
        return engine.leave_common_criteria().map_err(|error| of_mode(&error));
    }
    let text = body.text("passphrase").ok_or_else(|| code::CC_PASSPHRASE.problem().about("passphrase"))?;
    let passphrase = passphrase(engine, text)?.ok_or_else(wrong_length)?;
    engine.set_common_criteria(&passphrase, common_criteria).map_err(|error| of_mode(&error))
}

fn wrong_length() -> Problem {
    let message = "In Common Criteria mode a passphrase has 64 to 256 ASCII characters, otherwise 32 to 256; only ASCII is allowed.";
    code::CC_LENGTH.with(format!("{} {message}", code::CC_LENGTH.meaning)).about("passphrase")
}

fn of_mode(error: &KeystoreError) -> Problem {
    match error {
        KeystoreError::Passphrase(_) => wrong_length(),
        KeystoreError::Refused(refusal) => codes::of_refusal(refusal, Guarded::CommonCriteria),
        KeystoreError::Locked => code::CC_PASSPHRASE.with(error.to_string()).about("passphrase"),
        error => codes::of_keystore(error),
    }
}

static CHANGE: Change =
    Change { exists: always, parameters: &[], body: Some((&SCHEMA, Verb::Patch)), run: change, creates: None };

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/security/key-manager-configs",
        summary: "Shows the options of the cluster's key management.",
        does: Does::Show(&Configs),
    },
    Endpoint {
        method: "PATCH",
        path: "/security/key-manager-configs",
        summary: "Changes them.",
        does: Does::Change(&CHANGE),
    },
];
