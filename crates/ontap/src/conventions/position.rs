//! Where a page ended, as its `next` link carries it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codes;
use crate::problem::Problem;

/// The parameter that carries it.
pub(crate) const PARAMETER: &str = "start.position";

/// Behind which record the next page begins. It stays right when records before it come or go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// The place of the last record looked at, in the collection's own order.
    pub(crate) place: String,
    /// What it is put in order by, where an order was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<Value>,
}

impl Position {
    pub(crate) fn encode(&self) -> String {
        // A text and JSON values are always JSON.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn decode(text: &str) -> Result<Self, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let position = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        position.ok_or_else(refused)
    }
}

/// What does not come from a `next` link.
pub(crate) fn refused() -> Problem {
    codes::invalid(PARAMETER, format!("\"{PARAMETER}\" is not of a \"next\" link."))
}
