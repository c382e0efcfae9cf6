//! Barbican: what it says of a secret, and the secret.

use std::fmt;
use std::sync::Arc;

use claviger_secret::SecretBytes;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::client::Inside;
use crate::deadline::Deadline;
use crate::error::{BarbicanError, Misbehaviour, Service, Unsuitable};
use crate::exchange::{Answer, Ask, Tries};
use crate::session::Token;
use crate::url::SecretUrl;

/// The length of a key, in bytes.
const KEY_BYTES: usize = 32;

/// The longest metadata, in bytes.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// The longest payload that is read, in bytes: longer than a key, so that what is too long can be told.
const MAX_PAYLOAD_BYTES: usize = 4 * 1024;

/// What Barbican says of a secret. None of it is checked against the payload by anyone but [`Client::key`].
///
/// [`Client::key`]: crate::Client::key
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// Not unique.
    pub name: Option<String>,
    /// Active, or not.
    pub status: SecretStatus,
    /// What kind of secret it is; `opaque` where the writer gave none.
    pub secret_type: SecretType,
    /// As the writer gave it.
    pub algorithm: Option<String>,
    /// As the writer gave it.
    pub bit_length: Option<u64>,
    /// As the writer gave it.
    pub mode: Option<String>,
    /// From when on Barbican denies that the secret exists.
    #[serde(default, deserialize_with = "utc_or_none")]
    pub expiration: Option<Timestamp>,
    /// When it was stored.
    #[serde(deserialize_with = "utc")]
    pub created: Timestamp,
    /// Whether a payload was stored.
    #[serde(default, rename = "content_types", deserialize_with = "is_some")]
    pub has_payload: bool,
}

impl Metadata {
    /// Whether it can be an AES-256 key that is to be used at this time, as far as can be told without the payload.
    ///
    /// # Errors
    /// [`Unsuitable`].
    pub fn suits(&self, now: Timestamp) -> Result<(), Unsuitable> {
        if self.status != SecretStatus::Active {
            return Err(Unsuitable::Status(self.status.clone()));
        }
        if let Some(expired) = self.expiration.filter(|expiration| *expiration <= now) {
            return Err(Unsuitable::Expired(expired));
        }
        // A key that was stored without a type is opaque.
        if !matches!(self.secret_type, SecretType::Symmetric | SecretType::Opaque) {
            return Err(Unsuitable::Kind(self.secret_type.clone()));
        }
        if let Some(other) = self.algorithm.as_ref().filter(|algorithm| !algorithm.eq_ignore_ascii_case("aes")) {
            return Err(Unsuitable::Algorithm(other.clone()));
        }
        if let Some(bits) = self.bit_length.filter(|bits| *bits != 256) {
            return Err(Unsuitable::Bits(bits));
        }
        match self.has_payload {
            true => Ok(()),
            false => Err(Unsuitable::NoPayload),
        }
    }
}

/// Whether a secret is to be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum SecretStatus {
    /// `ACTIVE`.
    Active,
    /// Anything else.
    Other(String),
}

impl From<String> for SecretStatus {
    fn from(text: String) -> Self {
        match text.as_str() {
            "ACTIVE" => Self::Active,
            _ => Self::Other(text),
        }
    }
}

impl fmt::Display for SecretStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("ACTIVE"),
            Self::Other(text) => write!(f, "{text:?}"),
        }
    }
}

/// What kind of secret it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum SecretType {
    /// `symmetric`: a key.
    Symmetric,
    /// `opaque`: bytes of which nothing was said.
    Opaque,
    /// Passphrases, certificates, the keys of a pair.
    Other(String),
}

impl From<String> for SecretType {
    fn from(text: String) -> Self {
        match text.as_str() {
            "symmetric" => Self::Symmetric,
            "opaque" => Self::Opaque,
            _ => Self::Other(text),
        }
    }
}

impl fmt::Display for SecretType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symmetric => f.write_str("symmetric"),
            Self::Opaque => f.write_str("opaque"),
            Self::Other(text) => write!(f, "{text:?}"),
        }
    }
}

/// Barbican with a token.
pub(crate) struct Barbican {
    pub(crate) site: Arc<Inside>,
    pub(crate) token: Arc<Token>,
    pub(crate) tries: Tries,
    pub(crate) deadline: Deadline,
}

impl Barbican {
    /// Barbican itself: any answer will do that is none of a service out of order, or of a token refused.
    pub(crate) async fn service(&self, secret: &SecretUrl) -> Result<Answer, BarbicanError> {
        let ask = self.ask(secret, Asked::Service);
        let answer = ask.answer(&self.site.way, self.tries, self.deadline).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Err(refusal(&ask, answer.status)),
            status if status.is_server_error() => Err(refusal(&ask, answer.status)),
            _ => Ok(answer),
        }
    }

    pub(crate) async fn metadata(&self, secret: &SecretUrl) -> Result<(Metadata, Answer), BarbicanError> {
        let ask = self.ask(secret, Asked::Metadata);
        let answer = ask.answer(&self.site.way, self.tries, self.deadline).await?;
        match answer.status {
            StatusCode::OK => {}
            status => return Err(refusal(&ask, status)),
        }
        let metadata = serde_json::from_slice(&answer.body)
            .map_err(|error| ask.misbehaving(Misbehaviour::Json(Arc::new(error))))?;
        Ok((metadata, answer))
    }

    /// The payload of a secret whose metadata suits.
    pub(crate) async fn payload(&self, secret: &SecretUrl) -> Result<(SecretBytes, Answer), BarbicanError> {
        let ask = self.ask(secret, Asked::Payload);
        let answer = match ask.answer(&self.site.way, self.tries, self.deadline).await.map_err(BarbicanError::from) {
            // Barbican stores 20,000 bytes and more.
            Err(BarbicanError::Misbehaving { source: Misbehaviour::TooLong { .. }, .. }) => {
                return Err(BarbicanError::Unsuitable { why: Unsuitable::Length { found: None } });
            }
            answer => answer?,
        };
        match answer.status {
            StatusCode::OK => {}
            status => return Err(refusal(&ask, status)),
        }
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()?.split(';').next());
        if kind.map(str::trim) != Some(OCTETS) {
            return Err(ask.misbehaving(Misbehaviour::ContentType));
        }
        if answer.body.len() != KEY_BYTES {
            return Err(BarbicanError::Unsuitable { why: Unsuitable::Length { found: Some(answer.body.len()) } });
        }
        let mut key = self.site.arena.bytes(KEY_BYTES)?;
        key.expose_mut().copy_from_slice(&answer.body);
        Ok((key, answer))
    }

    fn ask<'a>(&'a self, secret: &'a SecretUrl, asked: Asked) -> Ask<'a> {
        let (target, accept, limit) = match asked {
            Asked::Service => (secret.service(), JSON, MAX_METADATA_BYTES),
            Asked::Metadata => (secret.metadata(), JSON, MAX_METADATA_BYTES),
            Asked::Payload => (secret.payload(), OCTETS, MAX_PAYLOAD_BYTES),
        };
        let origin = secret.origin();
        Ask { service: Service::Barbican, origin, target, accept, token: Some(&self.token), body: None, limit }
    }
}

enum Asked {
    Service,
    Metadata,
    Payload,
}

const JSON: &str = "application/json";

/// A list of several types is refused with 406.
const OCTETS: &str = "application/octet-stream";

fn refusal(ask: &Ask<'_>, status: StatusCode) -> BarbicanError {
    let service = Service::Barbican;
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED => BarbicanError::CredentialRefused { service, status: code },
        StatusCode::FORBIDDEN => BarbicanError::Forbidden { service, status: code },
        StatusCode::NOT_FOUND => BarbicanError::SecretMissing { status: code },
        _ => ask.misbehaving(Misbehaviour::Status(code)),
    }
}

/// Barbican's times are UTC and do not say so.
fn utc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    parse_utc(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn utc_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.as_deref().map(parse_utc).transpose().map_err(D::Error::custom)
}

fn parse_utc(text: &str) -> Result<Timestamp, jiff::Error> {
    match text.parse::<Timestamp>() {
        Ok(told) => Ok(told),
        Err(_) => Ok(text.parse::<DateTime>()?.to_zoned(TimeZone::UTC)?.timestamp()),
    }
}

fn is_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T02:45:00Z".parse().unwrap()
    }

    /// The recorded one, changed.
    fn with(change: serde_json::Value) -> Metadata {
        let mut json = serde_json::json!({
            "created": "2026-11-21T02:44:38.052310", "updated": "2026-11-21T02:44:38.054820", "status": "ACTIVE",
            "name": "lab", "secret_type": "symmetric", "expiration": null, "algorithm": "aes", "bit_length": 256,
            "mode": "cbc", "creator_id": "bdd1", "content_types": {"default": "application/octet-stream"},
            "secret_ref": "https://bb/v1/secrets/U"
        });
        json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn times_are_utc_with_and_without_saying_so() {
        let told: Timestamp = "2026-11-21T02:45:38Z".parse().unwrap();
        for text in
            ["2026-11-21T02:45:38", "2026-11-21T02:45:38.000000", "2026-11-21T02:45:38Z", "2026-11-21T03:45:38+01:00"]
        {
            assert_eq!(parse_utc(text).unwrap(), told, "{text}");
        }
        assert!(parse_utc("tomorrow").is_err());
    }

    #[test]
    fn what_suits() {
        let null = serde_json::Value::Null;
        for change in [
            serde_json::json!({}),
            serde_json::json!({ "secret_type": "opaque", "algorithm": null, "bit_length": null, "mode": null }),
            serde_json::json!({ "algorithm": "AES", "consumers": [] }),
            serde_json::json!({ "algorithm": null, "name": null }),
            serde_json::json!({ "expiration": "2026-11-21T02:45:01" }),
        ] {
            assert_eq!(with(change.clone()).suits(now()), Ok(()), "{change}");
        }
        let other = |kind: &str| Unsuitable::Kind(SecretType::Other(kind.to_owned()));
        for (field, value, why) in [
            ("status", "PENDING".into(), Unsuitable::Status(SecretStatus::Other("PENDING".to_owned()))),
            ("expiration", "2026-11-21T02:45:00".into(), Unsuitable::Expired(now())),
            ("secret_type", "passphrase".into(), other("passphrase")),
            ("secret_type", "private".into(), other("private")),
            ("secret_type", "public".into(), other("public")),
            ("secret_type", "certificate".into(), other("certificate")),
            ("algorithm", "des".into(), Unsuitable::Algorithm("des".to_owned())),
            ("bit_length", 128.into(), Unsuitable::Bits(128)),
            ("content_types", null, Unsuitable::NoPayload),
        ] {
            let change = serde_json::Value::Object([(field.to_owned(), value)].into_iter().collect());
            assert_eq!(with(change.clone()).suits(now()), Err(why), "{change}");
        }
    }
}
