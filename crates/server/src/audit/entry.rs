//! One line.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The longest text that a client chooses and a line repeats, in characters.
const LONGEST: usize = 1_024;
/// The most that a line repeats of a request's arguments, in bytes.
const MOST_ARGUMENTS: usize = 16 * 1_024;

/// A line of the log, in the order in which it is written.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// From 1, without gaps.
    pub(super) seq: u64,
    /// Of the line before; zeros before the first.
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
    /// It has run. Of a caller that may only read, it is the only line, and `unwritten` ones before it have none.
    Result {
        request: Uuid,
        who: String,
        from: SocketAddr,
        what: String,
        #[serde(default, skip_serializing_if = "Value::is_null")]
        arguments: Value,
        /// Of HTTP.
        status: u16,
        #[serde(default, skip_serializing_if = "is_none")]
        unwritten: u64,
    },
    /// Somebody did not get in. `unwritten` failures before it have no line of their own.
    LoginFailed { who: String, from: SocketAddr, unwritten: u64 },
    /// Lines could not be written before this one, and can be again.
    Writable,
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

/// Arguments, as far as a line repeats them.
pub(crate) fn clipped_arguments(arguments: Value) -> Value {
    let clipped = clipped_texts(arguments);
    match serde_json::to_vec(&clipped).map(|bytes| bytes.len()) {
        Ok(len) if len <= MOST_ARGUMENTS => clipped,
        _ => Value::String("… too long for the audit log".to_owned()),
    }
}

fn clipped_texts(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clipped(&text)),
        Value::Array(values) => values.into_iter().map(clipped_texts).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (clipped(&name), clipped_texts(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_none(unwritten: &u64) -> bool {
    *unwritten == 0
}

/// A line without its end, and its hash.
pub(super) struct Sealed {
    pub(super) line: Vec<u8>,
    pub(super) hash: LineHash,
}

/// Before and after the hash, which is the last member of every line.
const BEFORE: &[u8] = b",\"hash\":\"";
const AFTER: &[u8] = b"\"}";
const HASH_LEN: usize = 64;

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It does not look like one.
    NoEntry,
    /// Its hash is another one's.
    Changed,
}

impl Entry {
    /// The line, whose last member is the hash of all the others.
    pub(super) fn seal(&self) -> serde_json::Result<Sealed> {
        let mut line = serde_json::to_vec(self)?;
        let hash = LineHash::of(&line);
        line.pop();
        line.extend_from_slice(BEFORE);
        line.extend_from_slice(hash.to_string().as_bytes());
        line.extend_from_slice(AFTER);
        Ok(Sealed { line, hash })
    }

    /// The entry of a line without its end, and its hash.
    pub(super) fn open(line: &[u8]) -> Result<(Self, LineHash), Broken> {
        let (entry, told) = split(line).ok_or(Broken::NoEntry)?;
        let hash = LineHash::of(&entry);
        if hash != told {
            return Err(Broken::Changed);
        }
        Ok((serde_json::from_slice(&entry).map_err(|_| Broken::NoEntry)?, hash))
    }
}

/// What is hashed, and the hash that is told.
fn split(line: &[u8]) -> Option<(Vec<u8>, LineHash)> {
    let line = line.strip_suffix(AFTER)?;
    let (rest, hash) = line.split_at_checked(line.len().checked_sub(HASH_LEN)?)?;
    let mut entry = rest.strip_suffix(BEFORE)?.to_vec();
    entry.push(b'}');
    Some((entry, std::str::from_utf8(hash).ok()?.parse().ok()?))
}

/// The hash of a line of the audit log: SHA-256, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LineHash([u8; 32]);

impl LineHash {
    /// Before the first line.
    pub(super) const NONE: Self = Self([0; 32]);

    fn of(entry: &[u8]) -> Self {
        Self(Sha256::digest(entry).into())
    }
}

/// Not a hash of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash of the audit log has 64 hexadecimal digits")]
pub struct InvalidLineHash;

impl FromStr for LineHash {
    type Err = InvalidLineHash;

    fn from_str(text: &str) -> Result<Self, InvalidLineHash> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| InvalidLineHash)?;
        Ok(Self(hash))
    }
}

impl TryFrom<String> for LineHash {
    type Error = InvalidLineHash;

    fn try_from(text: String) -> Result<Self, InvalidLineHash> {
        text.parse()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_argument_makes_a_line_long() {
        let long = "x".repeat(1 << 20);
        let clipped = clipped_arguments(json!({ "a": [long, 7], "b": null }));
        assert_eq!(clipped["a"][0].as_str().unwrap().chars().count(), LONGEST + 1);
        assert_eq!((&clipped["a"][1], &clipped["b"]), (&7.into(), &Value::Null));
        for many in [json!(vec![long.as_str(); 100]), json!(vec![7; 100_000]), json!({ "x": "\u{1}".repeat(9_000) })] {
            assert!(clipped_arguments(many).to_string().len() <= MOST_ARGUMENTS);
        }
    }
}
