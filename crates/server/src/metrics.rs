//! Metrics, in the text format of Prometheus. `docs/service.md` lists their names.

mod engine;
mod recorder;

pub(crate) use self::engine::{Counted, Gauges};
pub use self::recorder::Registry;

/// What the service tells of itself and of the engine.
pub(crate) mod names {
    pub(crate) const REQUESTS: &str = "claviger_http_requests_total";
    pub(crate) const REQUEST_SECONDS: &str = "claviger_http_request_seconds";
    pub(crate) const IN_FLIGHT: &str = "claviger_http_requests_in_flight";
    pub(crate) const REFUSED: &str = "claviger_http_refused_total";
    pub(crate) const CONNECTIONS: &str = "claviger_connections";
    pub(crate) const LOGIN_FAILURES: &str = "claviger_login_failures_total";
    pub(crate) const AUDIT_FAILURES: &str = "claviger_audit_failures_total";
    pub(crate) const CERTIFICATE_EXPIRY: &str = "claviger_certificate_expiry_timestamp_seconds";
    pub(crate) const KEYS: &str = "claviger_keys";
    pub(crate) const KEK_CREATED: &str = "claviger_kek_created_timestamp_seconds";
    pub(crate) const KEK_VERSION: &str = "claviger_kek_version";
    pub(crate) const KEK_IN_MEMORY: &str = "claviger_kek_in_memory";
    pub(crate) const JOBS: &str = "claviger_jobs";
    pub(crate) const JOB_DONE: &str = "claviger_job_items_done";
    pub(crate) const JOB_TOTAL: &str = "claviger_job_items";
    pub(crate) const PROTECTION: &str = "claviger_memory_protection";
    pub(crate) const SLOTS: &str = "claviger_memory_slots";
    pub(crate) const SLOTS_USED: &str = "claviger_memory_slots_used";

    /// What each says.
    pub(crate) const HELP: [(&str, &str); 18] = [
        (REQUESTS, "Requests answered, by method, route and status"),
        (REQUEST_SECONDS, "How long answers took, by route"),
        (IN_FLIGHT, "Requests that run now"),
        (REFUSED, "Requests and connections refused, by the limit that they met"),
        (CONNECTIONS, "Connections that are open"),
        (LOGIN_FAILURES, "Logins refused, by reason"),
        (AUDIT_FAILURES, "Lines of the audit log that could not be written"),
        (CERTIFICATE_EXPIRY, "When the first certificate of a file expires, in Unix time"),
        (KEYS, "Keys as of the last count, by SVM, type and version of their KEK"),
        (KEK_CREATED, "When the current KEK of an SVM was made, in Unix time"),
        (KEK_VERSION, "The version of the current KEK of an SVM"),
        (KEK_IN_MEMORY, "Whether all live KEKs of an SVM are in memory: 1 or 0"),
        (JOBS, "Jobs that are remembered, by status"),
        (JOB_DONE, "Items that an unfinished job has done"),
        (JOB_TOTAL, "Items of an unfinished job, once they are known"),
        (PROTECTION, "The weakest protection of key memory in use, as a label"),
        (SLOTS, "Slots of key memory, by kind"),
        (SLOTS_USED, "Slots of key memory in use, by kind"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the engine emits through the facade.
    const OF_THE_ENGINE: [&str; 2] = ["claviger_keeper_seconds", "claviger_keeper_failures_total"];
    const DASHBOARD: &str = include_str!("../../../docs/service/dashboard.json");

    #[test]
    fn every_metric_is_explained_to_operators() {
        let page = include_str!("../../../docs/service.md");
        for name in names::HELP.map(|(name, _)| name).into_iter().chain(OF_THE_ENGINE) {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/service.md");
        }
    }

    /// The engine's own page says them too.
    #[test]
    fn keepers_are_told_apart_by_the_labels_that_the_engine_gives() {
        let (page, embedding) = (include_str!("../../../docs/service.md"), include_str!("../../../docs/embedding.md"));
        for (name, labels) in OF_THE_ENGINE.into_iter().zip(["`operation`, `kind`", "`operation`, `kind`, `trouble`"]) {
            assert!(page.contains(&format!("| `{name}` | {labels} |")), "the labels of {name}");
            assert!(embedding.contains(&format!("`{name}` ({labels})")), "the labels of {name}");
        }
        let queries: Vec<_> = DASHBOARD.lines().filter(|line| line.contains("claviger_keeper_")).collect();
        assert!(queries.iter().all(|query| !query.contains("call") && !query.contains("reason")), "{queries:?}");
        assert_eq!(queries.iter().filter(|query| query.contains("kind")).count(), 2);
    }

    #[test]
    fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
        let known: Vec<_> = names::HELP.map(|(name, _)| name).into_iter().chain(OF_THE_ENGINE).collect();
        for text in [DASHBOARD, include_str!("../../../docs/service/alerts.yml")] {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.starts_with("claviger_")) {
                let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
                assert!(known.contains(&name), "there is no metric {word}");
            }
        }
    }
}
