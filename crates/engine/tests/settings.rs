//! The settings of key management.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    Engine, HealthMonitorPolicy, InvalidSetting, KeyManagerSettings, PollingInterval, Problem, RecordError, RetryCount,
    Store, Subject, Table,
};
use common::{name, records, verify_clean};

fn engine() -> (Arc<MemoryStore>, Engine) {
    let store = Arc::new(MemoryStore::default());
    let engine = Engine::create_on(store.clone(), &name("cluster1"), common::options()).unwrap();
    (store, engine)
}

#[test]
fn settings_have_limits() {
    let interval = |minutes: u64| PollingInterval::try_from(minutes).map(PollingInterval::minutes);
    let no = |found| Err(InvalidSetting::PollingInterval { found });
    assert_eq!([14, 15, 30, 31, 271].map(interval), [no(14), Ok(15), Ok(30), no(31), no(271)]);
    let count = |count: u64| RetryCount::try_from(count).map(RetryCount::get);
    let no = |found| Err(InvalidSetting::RetryCount { found });
    assert_eq!([0, 10, 11, 256].map(count), [Ok(0), Ok(10), no(11), no(256)]);
}

#[test]
fn settings_that_nobody_changed_are_ordinary() {
    let (store, engine) = engine();
    let settings = engine.settings().unwrap();
    assert_eq!(settings, KeyManagerSettings::default());
    assert_eq!((settings.health_monitor_polling_interval.minutes(), settings.cloud_kms_retry_count.get()), (15, 0));
    assert!(!settings.data_at_rest_encryption_disabled);
    let policy = settings.health_monitor_policy;
    let ordinary = HealthMonitorPolicy { enabled: true, manage_volume_offline: false };
    for policy in [policy.okm, policy.kmip, policy.akv, policy.aws, policy.gcp, policy.ikp, policy.barbican] {
        assert_eq!(policy, ordinary);
    }
    // What changes nothing writes nothing.
    let before = records(&*store);
    engine.change_settings(|settings| settings.data_at_rest_encryption_disabled = false).unwrap();
    assert!(records(&*store) == before);
}

#[test]
fn settings_last_and_those_that_are_not_named_stay() {
    let (store, engine) = engine();
    engine.change_settings(|settings| settings.health_monitor_policy.barbican.enabled = false).unwrap();
    let settings = engine
        .change_settings(|settings| {
            settings.health_monitor_polling_interval = PollingInterval::MAX;
            settings.cloud_kms_retry_count = RetryCount::MAX;
        })
        .unwrap();
    let mut expected = KeyManagerSettings::default();
    expected.health_monitor_policy.barbican.enabled = false;
    expected.health_monitor_polling_interval = PollingInterval::MAX;
    expected.cloud_kms_retry_count = RetryCount::MAX;
    assert_eq!(settings, expected);
    verify_clean(&engine);
    drop(engine);
    assert_eq!(common::open(&store).settings().unwrap(), expected);
}

#[test]
fn changes_at_the_same_time_are_all_made() {
    let (_, engine) = engine();
    std::thread::scope(|scope| {
        scope.spawn(|| engine.change_settings(|settings| settings.health_monitor_policy.okm.enabled = false).unwrap());
        scope.spawn(|| engine.change_settings(|settings| settings.health_monitor_policy.akv.enabled = false).unwrap());
        scope.spawn(|| engine.change_settings(|settings| settings.cloud_kms_retry_count = RetryCount::MAX).unwrap());
    });
    let settings = engine.settings().unwrap();
    let policy = settings.health_monitor_policy;
    assert_eq!(
        (policy.okm.enabled, policy.akv.enabled, settings.cloud_kms_retry_count),
        (false, false, RetryCount::MAX)
    );
}

#[test]
fn a_damaged_record_is_told_and_replaced_by_a_change() {
    let (store, engine) = engine();
    engine.change_settings(|settings| settings.cloud_kms_retry_count = RetryCount::MAX).unwrap();
    drop(engine);
    let mut raw = store.get(Table::Node, b"settings").unwrap().unwrap();
    *raw.last_mut().unwrap() ^= 1;
    common::put(&*store, Table::Node, b"settings", &raw);
    let engine = common::open(&store);
    assert!(matches!(engine.settings(), Err(RecordError::Sealed { .. })));
    let report = engine.verify(|_| ()).unwrap();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((finding.record.subject(), finding.problem), (Subject::Settings, Problem::Damaged));

    // Also where the ordinary ones are asked for.
    assert_eq!(engine.change_settings(|_| ()).unwrap(), KeyManagerSettings::default());
    assert_eq!(engine.settings().unwrap(), KeyManagerSettings::default());
    common::put(&*store, Table::Node, b"settings", &raw);
    let changed = engine.change_settings(|settings| settings.data_at_rest_encryption_disabled = true).unwrap();
    assert_eq!(engine.settings().unwrap(), changed);
    verify_clean(&engine);
}
