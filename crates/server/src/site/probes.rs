//! What monitoring asks: whether the service is alive, whether it is ready, and its metrics.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::{Site, broken};
use crate::metrics::names;

/// It answers; that is all.
pub(super) fn alive() -> Response {
    "ok\n".into_response()
}

impl Site {
    /// Whether requests can be served: changes can be written down, and accounts can be read. Says nothing else, since nobody has
    /// logged in.
    pub(super) async fn readiness(&self) -> Response {
        if !self.audit.is_writable() {
            let audit = Arc::clone(&self.audit);
            // It tells by itself whether it could.
            _ = tokio::task::spawn_blocking(move || audit.try_again()).await;
        }
        let why_not = if self.is_stopping.load(Ordering::Acquire) {
            "stopping"
        } else if !self.audit.is_writable() {
            "the audit log cannot be written"
        } else if !self.logins.is_available() {
            "the accounts cannot be read"
        } else {
            return "ready\n".into_response();
        };
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why_not}\n")).into_response()
    }

    pub(super) async fn metrics(self: &Arc<Self>) -> Response {
        let site = Arc::clone(self);
        let rendered = tokio::task::spawn_blocking(move || {
            let _alone = site.scrape.lock().unwrap_or_else(PoisonError::into_inner);
            site.registry.set(names::IN_FLIGHT, &[], site.running());
            site.gauges.publish(&site.registry, &site.tls.expiries());
            site.registry.render()
        });
        let Ok(text) = rendered.await else { return broken() };
        let mut response = text.into_response();
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
