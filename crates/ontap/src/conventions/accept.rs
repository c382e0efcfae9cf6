//! With links or without (conventions, section 2).

use axum::http::{HeaderMap, header};

/// What the caller reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// JSON with links.
    Hal,
    /// JSON without them, but for a page's `next`.
    Json,
}

impl Accept {
    /// Whoever does not ask for plain JSON gets links.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let plain = |kind: &str| kind.eq_ignore_ascii_case("application/json");
        match kinds.clone().any(|kind| kind.eq_ignore_ascii_case("application/hal+json")) {
            false if kinds.any(plain) && !accept.contains("*/*") => Self::Json,
            _ => Self::Hal,
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Hal => "application/hal+json",
            Self::Json => "application/json",
        }
    }
}
