//! What monitoring sees.

use crate::support::{READER, Service};

#[test]
fn health_needs_no_login_and_says_nothing() {
    let service = Service::start();
    assert_eq!(service.get("/healthz", None).body, "ok\n");
    assert_eq!(service.get("/readyz", None).body, "ready\n");
}

#[test]
fn metrics_are_for_those_who_log_in() {
    let service = Service::start();
    assert_eq!(service.get("/metrics", None).status, 401);
    service.get("/api/nowhere", Some(READER));
    service.get("/api/who", Some(READER));
    let text = service.get("/metrics", Some(READER)).body;
    for line in [
        "claviger_http_requests_total{method=\"GET\",route=\"/api/who\",status=\"200\"} 1",
        "claviger_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"} 1",
        "claviger_jobs{status=\"running\"} 0",
        "claviger_memory_slots{kind=\"key\"} 256",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
    }
    // Nothing was wrong about a login without one.
    assert!(!text.contains("claviger_login_failures_total"));
    assert!(text.contains("claviger_certificate_expiry_timestamp_seconds{certificate=\"server\"} 2"));
}

#[test]
fn metrics_are_for_everybody_where_the_configuration_says_so() {
    let service = Service::with(|config| config.danger_metrics_without_login = true);
    assert_eq!(service.get("/metrics", None).status, 200);
    assert_eq!(service.get("/api/who", None).status, 401);
}
