//! Requests that change something: written down before and after, or not done.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use claviger_ontap::{Audited, Caller};
use serde_json::Value;
use uuid::Uuid;

use super::{LATER, Peer, Site, try_later};
use crate::audit::{AuditError, Event, clipped};
use crate::metrics::names;

impl Site {
    pub(super) async fn run(&self, id: Uuid, peer: &Peer, caller: &Caller, request: Request<Body>) -> Response {
        if !changes(request.method()) {
            return self.call(request, caller.clone()).await;
        }
        // Without the query: what the arguments are, and which of them may be told, the handler knows.
        let what = clipped(&format!("{} {}", request.method(), request.uri().path()));
        let (who, from) = (caller.name.clone(), peer.from);
        let begins = Event::Request { request: id, who: who.clone(), from, what: what.clone() };
        if let Err(error) = self.write_down(begins).await {
            tracing::error!(error = crate::chain(&error), "a change was refused: it cannot be written down");
            return try_later(LATER, "the audit log cannot be written, and so nothing was changed");
        }
        let mut response = self.call(request, caller.clone()).await;
        let told = response.extensions_mut().remove::<Audited>();
        let (what, arguments) = told.map_or((what, Value::Null), |told| (told.what, told.arguments));
        let status = response.status().as_u16();
        let ended = Event::Result { request: id, who, from, what, arguments, status };
        // What was done is done. The next change is refused until the log can be written again.
        if let Err(error) = self.write_down(ended).await {
            tracing::error!(error = crate::chain(&error), %id, status, "the result of a change was not written down");
        }
        response
    }

    async fn write_down(&self, event: Event) -> Result<(), AuditError> {
        let audit = Arc::clone(&self.audit);
        // A task that ends without a result has panicked, or the runtime is gone: nothing is known to be on disk.
        let written = tokio::task::spawn_blocking(move || audit.write(event)).await.unwrap_or(Err(AuditError::Lost));
        if written.is_err() {
            self.registry.count(names::AUDIT_FAILURES, &[]);
        }
        written
    }
}

/// RFC 9110, section 9.2.1.
fn changes(method: &Method) -> bool {
    !method.is_safe()
}
