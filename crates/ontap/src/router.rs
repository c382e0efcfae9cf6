//! The router: one route per path of the table of endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::response::Html;
use axum::routing::{any, get};
use axum::{Json, Router};

use crate::codes;
use crate::conventions::links::BASE;
use crate::dispatch;
use crate::endpoint::{self, Endpoint};
use crate::openapi::openapi;
use crate::page::page;
use crate::service::Service;

/// All of the API, below `/api`. It expects a [`Caller`](crate::Caller) in each request's extensions.
pub fn router(service: Arc<Service>) -> Router {
    let mut paths: BTreeMap<&str, Vec<&'static Endpoint>> = BTreeMap::new();
    for endpoint in endpoint::all() {
        paths.entry(endpoint.path).or_default().push(endpoint);
    }
    let mut router = Router::new();
    for (path, endpoints) in paths {
        let endpoints: Arc<[_]> = endpoints.into();
        let service = service.clone();
        let route = any(move |params: Result<RawPathParams, RawPathParamsRejection>, request: Request| {
            dispatch::answer(service.clone(), endpoints.clone(), params, request)
        });
        // Clients end paths with a slash, too.
        router = router.route(&format!("{BASE}{path}"), route.clone()).route(&format!("{BASE}{path}/"), route);
    }
    let document = || async { Json(openapi()) };
    router = router.route("/docs/api", get(|| async { Html(page()) })).route("/docs/api/openapi.json", get(document));
    router.fallback(|| async { codes::missing("There is no such path in this API.") })
}
