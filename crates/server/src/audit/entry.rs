//! One line.

use std::fmt;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The longest text that a client chooses and a line repeats, in characters.
const LONGEST: usize = 1_024;

/// A line of the log, in the order in which it is written.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// From 1, without gaps.
    pub(super) seq: u64,
    /// Of the line before, without its end; zeros before the first.
    pub(super) previous: LineHash,
    pub(super) time: Timestamp,
    #[serde(flatten)]
    pub(super) event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The service has started.
    Started { version: String },
    /// The service stops in order.
    Stopped,
    /// A changing request is about to run.
    Request { request: Uuid, who: String, from: SocketAddr, what: String },
    /// It has run.
    Result {
        request: Uuid,
        who: String,
        from: SocketAddr,
        what: String,
        #[serde(default, skip_serializing_if = "Value::is_null")]
        arguments: Value,
        /// Of HTTP.
        status: u16,
    },
    /// Somebody did not get in. `unwritten` failures before it have no line of their own.
    LoginFailed { who: String, from: SocketAddr, unwritten: u64 },
    /// A crash had left this unfinished line. What it was about did not happen.
    Torn { line: String },
}

/// What a client says, as far as a line repeats it.
pub(crate) fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// SHA-256 of a line without its end, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct LineHash([u8; 32]);

impl LineHash {
    pub(super) const NONE: Self = Self([0; 32]);

    pub(super) fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }
}

impl TryFrom<String> for LineHash {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash)?;
        Ok(Self(hash))
    }
}

impl From<LineHash> for String {
    fn from(hash: LineHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
