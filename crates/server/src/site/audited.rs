//! Requests that change something: written down before and after, or not done. Of callers that may only read, what came of it is
//! written down, and not of each: they change nothing, and must not fill the disk.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use claviger_ontap::{Audited, Caller};
use serde_json::Value;
use uuid::Uuid;

use super::{LATER, Peer, Site, try_later};
use crate::audit::{AuditError, AuditLog, Event, clipped, clipped_arguments};
use crate::metrics::names;

impl Site {
    pub(super) async fn run(&self, id: Uuid, peer: &Peer, caller: &Caller, request: Request<Body>) -> Response {
        if !changes(request.method()) {
            return self.call(request, caller.clone()).await;
        }
        // Without the query: what the arguments are, and which of them may be told, the handler knows.
        let what = clipped(&format!("{} {}", request.method(), request.uri().path()));
        let (who, from) = (caller.name.clone(), peer.from);
        let may_change = caller.role.may_change();
        if may_change {
            let begins = Event::Request { request: id, who: who.clone(), from, what: what.clone() };
            if let Err(error) = self.write_down(move |audit| audit.write(begins)).await {
                tracing::error!(error = crate::chain(&error), "a change was refused: it cannot be written down");
                return try_later(LATER, "the audit log cannot be written, and so nothing was changed");
            }
        }
        let mut response = self.call(request, caller.clone()).await;
        let told = response.extensions_mut().remove::<Audited>();
        let told = told.map(|told| (clipped(&told.what), clipped_arguments(told.arguments)));
        let (what, arguments) = told.unwrap_or((what, Value::Null));
        let status = response.status().as_u16();
        let ended = move |unwritten| Event::Result { request: id, who, from, what, arguments, status, unwritten };
        let written = self.write_down(move |audit| match may_change {
            true => audit.write(ended(0)),
            false => audit.reader_tried(ended),
        });
        // What was done is done. The next change is refused until the log can be written again.
        if let Err(error) = written.await {
            tracing::error!(error = crate::chain(&error), %id, status, "the result of a change was not written down");
        }
        response
    }

    async fn write_down(
        &self,
        write: impl FnOnce(&AuditLog) -> Result<(), AuditError> + Send + 'static,
    ) -> Result<(), AuditError> {
        let audit = Arc::clone(&self.audit);
        // A task that ends without a result has panicked, or the runtime is gone: nothing is known to be on disk.
        let written = tokio::task::spawn_blocking(move || write(&audit)).await.unwrap_or(Err(AuditError::Lost));
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
