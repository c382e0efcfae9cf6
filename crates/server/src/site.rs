//! What happens to a request, from its header to its answer.
//!
//! Admission, authentication, the body, and only then the API, with a line of the audit log before and after what changes something.
//! Whatever a client sends, and whenever it leaves: a request that has begun is run to its end.

mod audited;
mod body;
mod login;
mod probes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, extract};
use claviger_ontap::{Caller, Problem};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service as _;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::audit::AuditLog;
use crate::config::Limits;
use crate::login::Logins;
use crate::metrics::{Gauges, Registry, names};
use crate::tls::Tls;

/// Ask again after so many seconds.
const SOON: u32 = 1;
const LATER: u32 = 30;

/// The field "is not valid" (conventions, section 8), which stands for every request that is wrong as a whole.
const INVALID: u32 = 2;
/// No code of the contract: the service itself cannot, or not now.
const INTERNAL: u32 = 5;

/// What all requests share.
pub(crate) struct Site {
    pub(crate) limits: Limits,
    pub(crate) logins: Logins,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) registry: Registry,
    pub(crate) gauges: Gauges,
    pub(crate) tls: Tls,
    /// One permit for each request that may run.
    pub(crate) admission: Arc<Semaphore>,
    pub(crate) danger_metrics_without_login: bool,
    pub(crate) is_stopping: AtomicBool,
    /// Held while the metrics are gathered and rendered: a gauge that one scrape clears must not be missing in another.
    scrape: Mutex<()>,
    api: Router,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) from: SocketAddr,
    /// Of the certificate that TLS has checked.
    pub(crate) common_name: Option<String>,
}

/// Which route answered, for the metrics.
#[derive(Clone)]
struct Route(MatchedPath);

/// The parts that a [`Site`] is made of.
pub(crate) struct Parts {
    pub(crate) limits: Limits,
    pub(crate) logins: Logins,
    pub(crate) audit: AuditLog,
    pub(crate) registry: Registry,
    pub(crate) gauges: Gauges,
    pub(crate) tls: Tls,
    pub(crate) danger_metrics_without_login: bool,
    pub(crate) api: Router,
}

impl Site {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { limits, logins, audit, registry, gauges, tls, danger_metrics_without_login, api } = parts;
        registry.explain(&names::HELP);
        Self {
            admission: Arc::new(Semaphore::new(limits.requests)),
            limits,
            logins,
            audit: Arc::new(audit),
            registry,
            gauges,
            tls,
            danger_metrics_without_login,
            is_stopping: AtomicBool::new(false),
            scrape: Mutex::default(),
            api: api.layer(middleware::from_fn(tell_route)),
        }
    }

    pub(crate) fn stops(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Answers; it has no errors of its own.
    pub(crate) async fn answer(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let begun = Instant::now();
        let id = Uuid::new_v4();
        let method = request.method().clone();
        let span = tracing::info_span!("request", %id, %method, path = request.uri().path(), from = %peer.from);
        let mut response = Arc::clone(&self).routed(id, peer, request).instrument(span.clone()).await;
        let route = response.extensions_mut().remove::<Route>();
        let route = route.as_ref().map_or("other", |route| route.0.as_str());
        let status = response.status();
        self.registry
            .count(names::REQUESTS, &[("method", class_of(&method)), ("route", route), ("status", status.as_str())]);
        self.registry.observe(names::REQUEST_SECONDS, &[("route", route)], begun.elapsed().as_secs_f64());
        span.in_scope(|| tracing::debug!(status = status.as_u16(), "answered"));
        Ok(response)
    }

    async fn routed(self: Arc<Self>, id: Uuid, peer: Peer, request: Request<Incoming>) -> Response {
        match request.uri().path() {
            "/healthz" => probes::alive(),
            "/readyz" => self.readiness().await,
            _ => match Arc::clone(&self.admission).try_acquire_owned() {
                Ok(admitted) => {
                    let response = Arc::clone(&self).admitted(id, peer, request, admitted).await;
                    response.unwrap_or_else(|refusal| refusal)
                }
                Err(_) => self.too_busy("requests"),
            },
        }
    }

    /// The error is a response too: the request goes no further.
    async fn admitted(
        self: Arc<Self>,
        id: Uuid,
        peer: Peer,
        mut request: Request<Incoming>,
        admitted: OwnedSemaphorePermit,
    ) -> Result<Response, Response> {
        let is_metrics = request.uri().path() == "/metrics";
        if is_metrics && self.danger_metrics_without_login {
            return Ok(self.metrics().await);
        }
        // Nobody behind this sees it.
        let authorization = request.headers_mut().remove(header::AUTHORIZATION);
        // Its own task: whoever leaves before the answer has failed all the same, and was counted.
        let login = {
            let (site, peer) = (Arc::clone(&self), peer.clone());
            async move { (site.caller(&peer, authorization).await, admitted) }
        };
        let (caller, admitted) = tokio::spawn(login.in_current_span()).await.map_err(|_| broken())?;
        let caller = caller?;
        if is_metrics {
            return Ok(self.metrics().await);
        }
        let request = self.whole(request).await?;
        // Its own task: it goes on when the client leaves, and the permit with it.
        let task = async move {
            let response = self.run(id, &peer, &caller, request).await;
            drop(admitted);
            response
        };
        let done = tokio::spawn(task.in_current_span()).await;
        Ok(done.unwrap_or_else(|_| broken()))
    }

    /// Hands the request to the API. A handler that panics is an answer like another.
    async fn call(&self, mut request: Request<Body>, caller: Caller) -> Response {
        request.extensions_mut().insert(caller);
        let mut api = self.api.clone();
        let call = async move { api.call(request).await };
        match tokio::spawn(call.in_current_span()).await {
            Ok(Ok(response)) => response,
            Err(_) => {
                tracing::error!("a handler panicked; the service goes on");
                broken()
            }
        }
    }

    fn too_busy(&self, what: &'static str) -> Response {
        self.registry.count(names::REFUSED, &[("limit", what)]);
        try_later(SOON, "the service has as many requests as it takes; try again")
    }

    /// Requests that run now.
    fn running(&self) -> f64 {
        let running = self.limits.requests.saturating_sub(self.admission.available_permits());
        u32::try_from(running).unwrap_or(u32::MAX).into()
    }
}

/// Leaves the route in the answer, where the metrics find it.
async fn tell_route(request: extract::Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(Route(route));
    }
    response
}

fn problem(status: StatusCode, code: u32, message: &str) -> Response {
    Problem::new(status, code, message).into_response()
}

fn try_later(seconds: u32, message: &str) -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, INTERNAL, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn broken() -> Response {
    let message = "claviger made a mistake; its log says more. What was asked for may or may not have been done";
    problem(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, message)
}

/// Clients make methods up; the metrics have a series for each name.
fn class_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
