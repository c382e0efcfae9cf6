//! Calls to keepers are measured, under labels with few values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use claviger::{Engine, KeyAlgorithm};
use common::vault::{CREDENTIALS, create, options_with, secret, vault};
use common::{name, volume};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// How often each metric was told of, with its labels.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<String, u64>>>);

struct Line(Told, String);

impl Line {
    fn of(told: &Told, key: &Key) -> Arc<Self> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Self(told.clone(), format!("{} {}", key.name(), labels.join(" "))))
    }

    fn add(&self, count: u64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += count;
    }
}

impl CounterFn for Line {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _: u64) {
        panic!("no counter is set");
    }
}

impl HistogramFn for Line {
    fn record(&self, seconds: f64) {
        assert!((0.0..60.0).contains(&seconds), "{seconds}");
        self.add(1);
    }
}

impl Recorder for Told {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Line::of(self, key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Line::of(self, key))
    }
}

/// What is told of while `work` runs, in this thread.
fn told(work: impl FnOnce()) -> Vec<(String, u64)> {
    let told = Told::default();
    metrics::with_local_recorder(&told, work);
    let told = told.0.lock().unwrap();
    told.iter().map(|(line, count)| (line.clone(), *count)).collect()
}

#[test]
fn each_call_is_measured_once_and_each_failure_counted() {
    let vault = vault();
    let engine = Engine::open_on(common::unattended(), options_with(&vault)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let seconds = |kind: &str, operation: &str, count| {
        (format!("claviger_keeper_seconds operation={operation} kind={kind}"), count)
    };
    let failure = |operation: &str, trouble: &str| {
        (format!("claviger_keeper_failures_total operation={operation} kind=barbican trouble={trouble}"), 1)
    };
    let first = told(|| drop(engine.create_key(svm, volume(1), KeyAlgorithm::XtsAes256).unwrap()));
    assert_eq!(first, [seconds("onboard", "fetch", 1), seconds("onboard", "keep", 1)]);
    // No keeper is asked for a key.
    assert_eq!(told(|| drop(engine.open_key(svm, volume(1)).unwrap())), []);

    let keystore = create(&engine, svm, "A", 1).id;
    let probe = || told(|| drop(engine.check_keystore(keystore, |_| ())));
    assert_eq!(probe(), [seconds("barbican", "probe", 1)]);
    for (trouble, make) in [
        ("unreachable", Box::new(|| vault.set_away(true)) as Box<dyn Fn()>),
        (
            "key_missing",
            Box::new(|| {
                vault.set_away(false);
                vault.delete(&secret(1));
            }),
        ),
        ("key_unsuitable", Box::new(|| vault.put(&secret(1), &[1; 31]))),
        ("credential_refused", Box::new(|| vault.revoke(CREDENTIALS[0]))),
    ] {
        make();
        assert_eq!(probe(), [failure("probe", trouble), seconds("barbican", "probe", 1)]);
    }
}
