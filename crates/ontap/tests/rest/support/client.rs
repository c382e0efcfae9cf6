//! A client in the same process: requests as clients send them, answers as they read them.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use claviger_ontap::{Audited, Caller, Role, Service, router};
use serde_json::Value;
use tokio::runtime::Builder;
use tower::ServiceExt as _;

/// The API over one service.
pub(crate) struct Client {
    router: Router,
}

impl Client {
    pub(crate) fn of(service: Arc<Service>) -> Self {
        Self { router: router(service) }
    }

    /// A request as an administrator sends it, to a path below `/api`.
    pub(crate) fn ask<'a>(&'a self, method: &str, path: &str) -> Ask<'a> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let uri = if path.starts_with("/api") { path.to_owned() } else { format!("/api{path}") };
        Ask { client: self, method, uri, headers: Vec::new(), role: Some(Role::Admin), body: Bytes::new() }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path).send()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path).json(body).send()
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Reply {
        self.ask("PATCH", path).json(body).send()
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path).send()
    }

    /// All records of a collection, page by page.
    #[track_caller]
    pub(crate) fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let page = self.get(&path).ok();
            pages.push(page["records"].as_array().unwrap().clone());
            next = page.pointer("/_links/next/href").map(|href| href.as_str().unwrap().to_owned());
            assert!(pages.len() < 10_000, "the pages have no end");
        }
        pages
    }

    /// The one field of each record, in their order.
    #[track_caller]
    pub(crate) fn column(&self, path: &str, pointer: &str) -> Vec<String> {
        let text = |record: &Value| record.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        self.get(path).ok()["records"].as_array().unwrap().iter().map(text).collect()
    }
}

/// A request that is being written.
pub(crate) struct Ask<'a> {
    client: &'a Client,
    method: Method,
    uri: String,
    headers: Vec<(&'static str, &'static str)>,
    role: Option<Role>,
    body: Bytes,
}

impl Ask<'_> {
    pub(crate) fn accept(self, accept: &'static str) -> Self {
        self.header("accept", accept)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn role(mut self, role: Option<Role>) -> Self {
        self.role = role;
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.bytes(body.to_string())
    }

    pub(crate) fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    #[track_caller]
    pub(crate) fn send(self) -> Reply {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let mut request = request.body(Body::from(self.body)).unwrap();
        if let Some(role) = self.role {
            request.extensions_mut().insert(Caller { name: "someone".to_owned(), role });
        }
        let router = self.client.router.clone();
        // With threads of its own: what the caller's thread is denied, they are denied too.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (parts, bytes) = runtime.block_on(async {
            let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
            (parts, to_bytes(body, usize::MAX).await.unwrap())
        });
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        let audited = parts.extensions.get::<Audited>().cloned();
        let reply = Reply { status: parts.status, headers: parts.headers, text, json, audited };
        if self.method != Method::HEAD && self.method != Method::OPTIONS {
            reply.is_well_formed();
        }
        reply
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
    pub(crate) audited: Option<Audited>,
}

impl Reply {
    /// What holds of every answer: an object of JSON, and of an error its shape (conventions, section 8).
    #[track_caller]
    fn is_well_formed(&self) {
        assert!(self.json.is_object(), "no object: {} {:?}", self.status, self.text);
        if self.status.is_success() {
            return assert!(self.json.get("error").is_none() || self.json.get("uuid").is_some(), "{}", self.text);
        }
        let error = self.json["error"].as_object().unwrap_or_else(|| panic!("no error: {} {}", self.status, self.text));
        let known = ["code", "message", "target", "arguments"];
        assert!(error.keys().all(|key| known.contains(&key.as_str())), "{}", self.text);
        let code: u32 = error["code"].as_str().expect("code is a text").parse().expect("code is a number in a text");
        let message = error["message"].as_str().expect("message is a text");
        assert!(code > 0 && !message.is_empty() && message.trim() == message, "{}", self.text);
        assert!(error.get("target").is_none_or(Value::is_string), "{}", self.text);
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        self.is(200)
    }

    /// The error of this status and code, whose message has this part. Returns its target.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: u32, part: &str) -> Option<String> {
        let error = &self.json["error"];
        assert_eq!((self.status.as_u16(), error["code"].as_str()), (status, Some(&*code.to_string())), "{}", self.text);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(part), "{message:?} does not have {part:?}");
        error["target"].as_str().map(str::to_owned)
    }

    /// The error of common code 2 about this field or parameter.
    #[track_caller]
    pub(crate) fn invalid(self, target: &str) {
        let found = self.refused(400, 2, "");
        assert_eq!(found.as_deref(), Some(target));
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The job of an answer with 202, by its UUID.
    #[track_caller]
    pub(crate) fn job(self) -> String {
        let job = &self.is(202)["job"];
        let uuid = job["uuid"].as_str().unwrap();
        assert_eq!(job["_links"]["self"]["href"], format!("/api/cluster/jobs/{uuid}"));
        uuid.to_owned()
    }
}
