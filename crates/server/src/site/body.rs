//! The body: whole, before anybody looks at it, or not at all.
//!
//! What is left of one that is too long is read and forgotten, up to a point, while the answer is on its way: a client of HTTP/1.1 that
//! still sends would lose the answer with the connection (RFC 9112, section 9.6).

use std::error::Error;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use super::{INVALID, Site, problem};
use crate::metrics::names;

/// The most that is read of a body for nothing.
const DISCARDED: u64 = 16 * 1024 * 1024;

impl Site {
    /// The request with its body, which neither is longer than it may be nor takes longer.
    pub(super) async fn whole(&self, request: Request<Incoming>) -> Result<Request<Body>, Response> {
        let (head, mut body) = request.into_parts();
        let limit = self.limits.body_bytes;
        if body.size_hint().lower() > limit as u64 {
            // Who waits to be told whether to send it is told so, and sends nothing.
            if !head.headers.contains_key(header::EXPECT) {
                self.discard(body);
            }
            return Err(self.too_large());
        }
        let whole = Limited::new(&mut body, limit).collect();
        match tokio::time::timeout(self.limits.body_timeout, whole).await {
            Ok(Ok(whole)) => Ok(Request::from_parts(head, Body::from(whole.to_bytes()))),
            Ok(Err(error)) if is_too_long(error.as_ref()) => {
                self.discard(body);
                Err(self.too_large())
            }
            Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, INVALID, "the request's body broke off")),
            Err(_) => {
                self.registry.count(names::REFUSED, &[("limit", "body_timeout")]);
                Err(problem(StatusCode::REQUEST_TIMEOUT, INVALID, "the request's body took too long"))
            }
        }
    }

    fn discard(&self, mut body: Incoming) {
        let rest = async move {
            let mut left = DISCARDED;
            while let Some(Ok(frame)) = body.frame().await {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(still) = left.checked_sub(len) else { return };
                left = still;
            }
        };
        tokio::spawn(tokio::time::timeout(self.limits.body_timeout, rest));
    }

    fn too_large(&self) -> Response {
        self.registry.count(names::REFUSED, &[("limit", "body_bytes")]);
        let message = format!("the request's body has more than {} bytes", self.limits.body_bytes);
        problem(StatusCode::PAYLOAD_TOO_LARGE, INVALID, &message)
    }
}

fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>()
}
