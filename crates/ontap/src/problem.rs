//! An error as the contract has it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// An error answer: `{"error":{"code":"4","message":"…","target":"…"}}` with its HTTP status (conventions, section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Body {
    error: Fields,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Fields {
    /// A number in a string.
    code: String,
    message: String,
    /// The field or parameter that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Problem {
    /// An error with this status and ONTAP code.
    #[must_use]
    pub fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, body: Body { error: Fields { code: code.to_string(), message: message.into(), target: None } } }
    }

    /// The same error, about this field or parameter.
    #[must_use]
    pub fn about(mut self, target: impl Into<String>) -> Self {
        self.body.error.target = Some(target.into());
        self
    }

    /// The error as a member of an answer that says more.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        match serde_json::to_value(&self.body) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The ONTAP code, a number in a string.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.body.error.code
    }

    /// What is wrong, and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.body.error.message
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
