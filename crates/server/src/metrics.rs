//! Metrics, in the text format of Prometheus. `docs/service.md` lists their names.

mod engine;
mod recorder;

pub(crate) use self::engine::{Counted, Gauges};
pub use self::recorder::Registry;

/// What the service itself counts.
pub(crate) mod names {
    pub(crate) const REQUESTS: &str = "claviger_http_requests_total";
    pub(crate) const REQUEST_SECONDS: &str = "claviger_http_request_seconds";
    pub(crate) const IN_FLIGHT: &str = "claviger_http_requests_in_flight";
    pub(crate) const REFUSED: &str = "claviger_http_refused_total";
    pub(crate) const CONNECTIONS: &str = "claviger_connections";
    pub(crate) const LOGIN_FAILURES: &str = "claviger_login_failures_total";
    pub(crate) const AUDIT_FAILURES: &str = "claviger_audit_failures_total";
}
