//! Who sends a request, or why it is refused.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use claviger_ontap::Caller;

use super::{LATER, Peer, Site, problem, try_later};
use crate::login::Refused;
use crate::metrics::names;

/// "User is not authorized" of ONTAP.
const UNAUTHORIZED: u32 = 6_691_623;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"claviger\", charset=\"UTF-8\"");

impl Site {
    /// A password wins over a certificate: it was sent with this very request.
    pub(super) async fn caller(&self, peer: &Peer, authorization: Option<HeaderValue>) -> Result<Caller, Response> {
        let caller = match (authorization, &peer.common_name) {
            (Some(header), _) => self.logins.by_password(&header, peer.from.ip()).await,
            (None, Some(common_name)) => self.logins.by_certificate(common_name),
            (None, None) => Err(Refused::NoCredentials),
        };
        match caller {
            Ok(caller) => Ok(caller),
            Err(refused) => Err(self.refusal(peer, refused).await),
        }
    }

    async fn refusal(&self, peer: &Peer, refused: Refused) -> Response {
        match refused {
            Refused::NoCredentials => unauthorized("log in: this service wants a name and a password", None),
            Refused::Wrong { name } => {
                self.note_failure(peer, name, "wrong").await;
                unauthorized("the name or the password is wrong", None)
            }
            Refused::TooSoon { name, wait } => {
                self.note_failure(peer, name, "too_soon").await;
                let message = "too many logins have failed; nothing was checked, wait and try again";
                unauthorized(message, Some(wait))
            }
            Refused::Busy => self.too_busy("logins"),
            Refused::Unavailable => try_later(LATER, "nobody can log in now; the service's log says why"),
        }
    }

    async fn note_failure(&self, peer: &Peer, name: String, why: &str) {
        self.registry.count(names::LOGIN_FAILURES, &[("reason", why)]);
        let (audit, from) = (Arc::clone(&self.audit), peer.from);
        let written = tokio::task::spawn_blocking(move || audit.login_failed(&name, from)).await;
        if let Ok(Err(error)) = written {
            self.registry.count(names::AUDIT_FAILURES, &[]);
            tracing::error!(error = crate::chain(&error), "a failed login was not written down");
        }
    }
}

fn unauthorized(message: &str, wait: Option<Duration>) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, UNAUTHORIZED, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    if let Some(wait) = wait {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
