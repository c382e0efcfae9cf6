//! The body: whole, before anybody looks at it, or not at all.

use std::error::Error;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use super::{INVALID, Site, problem};
use crate::metrics::names;

impl Site {
    /// The request with its body, which neither is longer than it may be nor takes longer.
    pub(super) async fn whole(&self, request: Request<Incoming>) -> Result<Request<Body>, Response> {
        let (head, body) = request.into_parts();
        let limit = self.limits.body_bytes;
        // Where the header says so, nothing of it is read.
        if body.size_hint().lower() > limit as u64 {
            return Err(self.too_large());
        }
        let body = Limited::new(body, limit).collect();
        match tokio::time::timeout(self.limits.body_timeout, body).await {
            Ok(Ok(body)) => Ok(Request::from_parts(head, Body::from(body.to_bytes()))),
            Ok(Err(error)) if is_too_long(error.as_ref()) => Err(self.too_large()),
            Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, INVALID, "the request's body broke off")),
            Err(_) => {
                self.registry.count(names::REFUSED, &[("limit", "body_timeout")]);
                Err(problem(StatusCode::REQUEST_TIMEOUT, INVALID, "the request's body took too long"))
            }
        }
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
