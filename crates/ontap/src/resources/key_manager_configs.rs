//! `/security/key-manager-configs`: options of the cluster's key management, Common Criteria mode among them.

mod schema;

use claviger::{Engine, Fact, KeyManagerSettings, KeystoreError, OnboardMode};

use self::schema::{POLICIES, SCHEMA};
use crate::call::Call;
use crate::codes::{self, public as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::{Body, Verb};
use crate::conventions::filter::Filters;
use crate::conventions::query::Query;
use crate::endpoint::{Change, Does, Endpoint, always};
use crate::problem::Problem;
use crate::record::Record;
use crate::resource::{Resource, Row};
use crate::schema::Schema;

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
        let settings = engine.settings();
        let record = Record::new()
            .with("cc_mode_enabled", is_common_criteria(engine))
            .with("health_monitor_polling_interval", settings.health_monitor_polling_interval.minutes())
            .with("cloud_kms_retry_count", settings.cloud_kms_retry_count.get());
        let policies = POLICIES.iter().map(|(name, kind)| (name, settings.health_monitor_policy.of(*kind)));
        Ok(policies.fold(record, |record, (name, policy)| {
            record
                .with(&format!("health_monitor_policy.{name}.enabled"), policy.enabled)
                .with(&format!("health_monitor_policy.{name}.manage_volume_offline"), policy.manage_volume_offline)
        }))
    }
}

fn is_common_criteria(engine: &Engine) -> bool {
    engine.keystore().is_some_and(|onboard| onboard.mode == OnboardMode::CommonCriteria)
}
