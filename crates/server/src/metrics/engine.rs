//! What is told of the engine: what is cheap to know at each scrape, the rest counted in the background.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger::{Engine, JobInfo, JobOperation, JobStatus, KeyError, KeyType, Protection, SvmInfo};
use jiff::Timestamp;

use super::names;
use super::recorder::Registry;

/// Keys counted in one look at the store.
const PAGE: usize = 1_000;

/// The keys are counted again after this, and after so many times as long as the last count took.
const REST: Duration = Duration::from_secs(60);
const RESTS_PER_COUNT: u32 = 50;

/// How many keys there are, as of the last count.
#[derive(Default)]
pub(crate) struct Counted {
    keys: Mutex<BTreeMap<Kind, u64>>,
}

/// Keys that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    svm: String,
    key_type: &'static str,
    /// `None` of keys whose records do not open.
    kek_version: Option<u32>,
}

impl Counted {
    /// Counts all keys. `go_on` is asked between pages.
    ///
    /// Returns how long to rest before the next count; `None` where it was told to stop.
    pub(crate) fn count(&self, engine: &Engine, go_on: impl Fn() -> bool) -> Option<Duration> {
        let begun = Instant::now();
        let mut keys = BTreeMap::new();
        for svm in engine.svms() {
            if let Err(error) = count_svm(engine, &svm, &mut keys, &go_on) {
                tracing::warn!(
                    error = crate::chain(&error),
                    svm = name_of(&svm),
                    "the keys of an SVM could not be counted"
                );
            }
            if !go_on() {
                return None;
            }
        }
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        Some(REST.max(begun.elapsed().saturating_mul(RESTS_PER_COUNT)))
    }

    fn publish(&self, registry: &Registry) {
        registry.clear(names::KEYS);
        for (kind, count) in self.keys.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Kind { svm, key_type, kek_version } = kind;
            let kek_version = kek_version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
            let labels = [("svm", svm.as_str()), ("type", key_type), ("kek_version", kek_version.as_str())];
            registry.set(names::KEYS, &labels, float(*count));
        }
    }
}

fn count_svm(
    engine: &Engine,
    svm: &SvmInfo,
    keys: &mut BTreeMap<Kind, u64>,
    go_on: &impl Fn() -> bool,
) -> Result<(), KeyError> {
    let name = name_of(svm);
    let mut after = None;
    while go_on() {
        let page = engine.list_keys(svm.id(), after, PAGE)?;
        for key in &page {
            let (key_type, kek_version) = match key {
                Ok(key) => (type_name(key.object.key_type()), Some(key.kek_version.get())),
                Err(_) => ("damaged", None),
            };
            *keys.entry(Kind { svm: name.clone(), key_type, kek_version }).or_default() += 1;
        }
        // A page of nothing but damage gives no place to go on from.
        let last = page.iter().rev().find_map(|key| key.as_ref().ok()).map(|key| key.object);
        match last {
            Some(last) if page.len() == PAGE => after = Some(last),
            Some(_) | None => return Ok(()),
        }
    }
    Ok(())
}

/// What is set at each scrape.
pub(crate) struct Gauges {
    pub(crate) engine: Arc<Engine>,
    pub(crate) counted: Arc<Counted>,
}

impl Gauges {
    /// Reads memory, and the few records of jobs.
    pub(crate) fn publish(&self, registry: &Registry, certificates: &[(&'static str, Timestamp)]) {
        registry.clear(names::PROTECTION);
        let protection: Protection = self.engine.protection();
        registry.set(names::PROTECTION, &[("protection", protection.as_str())], 1.0);
        let usage = self.engine.memory();
        for (kind, slots) in [("key", usage.keys), ("state", usage.states)] {
            registry.set(names::SLOTS_USED, &[("kind", kind)], float(slots.used as u64));
            registry.set(names::SLOTS, &[("kind", kind)], float(slots.capacity as u64));
        }
        for (certificate, expiry) in certificates {
            registry.set(
                names::CERTIFICATE_EXPIRY,
                &[("certificate", certificate)],
                float(u64::try_from(expiry.as_second()).unwrap_or(0)),
            );
        }
        self.counted.publish(registry);
        self.publish_keks(registry);
        self.publish_jobs(registry);
    }

    fn publish_keks(&self, registry: &Registry) {
        [names::KEK_CREATED, names::KEK_VERSION, names::KEK_IN_MEMORY]
            .into_iter()
            .for_each(|name| registry.clear(name));
        for svm in self.engine.svms() {
            let name = name_of(&svm);
            let labels = [("svm", name.as_str())];
            match self.engine.kek(svm.id()) {
                Ok(Some(kek)) => {
                    let created = u64::try_from(kek.created.as_second()).unwrap_or(0);
                    registry.set(names::KEK_CREATED, &labels, float(created));
                    registry.set(names::KEK_VERSION, &labels, kek.version.get().into());
                    registry.set(names::KEK_IN_MEMORY, &labels, f64::from(u8::from(kek.in_memory)));
                }
                Ok(None) => {}
                // A damaged record is a KEK that is not there.
                Err(_) => registry.set(names::KEK_IN_MEMORY, &labels, 0.0),
            }
        }
    }

    fn publish_jobs(&self, registry: &Registry) {
        [names::JOBS, names::JOB_DONE, names::JOB_TOTAL].into_iter().for_each(|name| registry.clear(name));
        let jobs = match self.engine.jobs() {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::warn!(error = crate::chain(&error), "jobs could not be read for the metrics");
                return;
            }
        };
        let mut by_status = BTreeMap::from(["running", "interrupted", "failed"].map(|status| (status, 0_u64)));
        for job in &jobs {
            *by_status.entry(status_name(job)).or_default() += 1;
            if let JobStatus::Running | JobStatus::Interrupted = job.status {
                let id = job.id.to_string();
                let labels = [("job", id.as_str()), ("operation", operation_name(&job.operation))];
                registry.set(names::JOB_DONE, &labels, float(job.progress.done));
                if let Some(total) = job.progress.total {
                    registry.set(names::JOB_TOTAL, &labels, float(total));
                }
            }
        }
        for (status, count) in by_status {
            registry.set(names::JOBS, &[("status", status)], float(count));
        }
    }
}

fn name_of(svm: &SvmInfo) -> String {
    svm.name().map_or_else(|| svm.id().to_string(), ToString::to_string)
}

const fn type_name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Vek => "vek",
        KeyType::Aek => "aek",
        KeyType::NseAk => "nse_ak",
    }
}

const fn status_name(job: &JobInfo) -> &'static str {
    match job.status {
        JobStatus::Running => "running",
        JobStatus::Interrupted => "interrupted",
        JobStatus::Succeeded => "succeeded",
        JobStatus::Cancelled => "cancelled",
        JobStatus::Failed { .. } => "failed",
        _ => "other",
    }
}

const fn operation_name(operation: &JobOperation) -> &'static str {
    match operation {
        JobOperation::RekeyInternal { .. } => "rekey_internal",
        JobOperation::RekeyExternal { .. } => "rekey_external",
        JobOperation::Enable { .. } => "enable",
        JobOperation::Switch { .. } => "switch",
        JobOperation::Migrate { .. } => "migrate",
        JobOperation::Disable { .. } => "disable",
        JobOperation::Restore { .. } => "restore",
        _ => "other",
    }
}

/// Prometheus has no other numbers; what is counted here is exact in them up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "as it says")]
fn float(number: u64) -> f64 {
    number as f64
}
