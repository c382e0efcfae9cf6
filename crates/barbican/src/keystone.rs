//! Keystone: a token for an application credential.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_secret::Arena;
use hyper::StatusCode;
use hyper::header::HeaderName;
use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::deadline::Deadline;
use crate::error::{BarbicanError, Misbehaviour, Service};
use crate::exchange::{Answer, Ask, Failure, Tries};
use crate::session::Token;
use crate::site::Credential;
use crate::transport::Way;
use crate::url::KeystoneUrl;

/// The longest body with a token, in bytes: a site's whole catalogue is in it.
const MAX_TOKEN_BYTES: usize = 256 * 1024;

/// The longest other body, in bytes.
const MAX_VERSION_BYTES: usize = 64 * 1024;

const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// Asks for a token. An application credential takes no scope: it has its own project.
pub(crate) async fn login(
    arena: &Arena,
    way: &Way,
    url: &KeystoneUrl,
    credential: &Credential,
    tries: Tries,
    deadline: Deadline,
) -> Result<(Token, Answer), Failure> {
    // Its life is counted from before it began.
    let asked = Instant::now();
    let ask = Ask {
        service: Service::Keystone,
        origin: url.origin(),
        target: url.tokens(),
        accept: "application/json",
        token: None,
        body: Some(request(credential)),
        limit: MAX_TOKEN_BYTES,
    };
    let answer = ask.answer(way, tries, deadline).await?;
    let status = answer.status.as_u16();
    match answer.status {
        StatusCode::CREATED => {}
        // Wrong, expired, or its user is disabled; unknown, revoked, or its project is disabled.
        StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => {
            return Err(BarbicanError::CredentialRefused { service: Service::Keystone, status }.into());
        }
        StatusCode::FORBIDDEN => return Err(BarbicanError::Forbidden { service: Service::Keystone, status }.into()),
        _ => return Err(ask.misbehaving(Misbehaviour::Status(status)).into()),
    }
    let Issued { token: Life { expires_at, issued_at } } =
        serde_json::from_slice(&answer.body).map_err(|error| ask.misbehaving(Misbehaviour::Json(Arc::new(error))))?;
    let text = answer.headers.get(SUBJECT_TOKEN).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| ask.misbehaving(Misbehaviour::NoToken))?;
    let token = Token::new(arena, text.as_bytes(), usable_until(asked, issued_at, expires_at))?;
    Ok((token, answer))
}

/// Asks Keystone which version it speaks, without a token.
pub(crate) async fn version(way: &Way, url: &KeystoneUrl, deadline: Deadline) -> Result<Answer, BarbicanError> {
    let ask = Ask {
        service: Service::Keystone,
        origin: url.origin(),
        target: url.version(),
        accept: "application/json",
        token: None,
        body: None,
        limit: MAX_VERSION_BYTES,
    };
    let answer = ask.answer(way, Tries::One, deadline).await?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        status => Err(ask.misbehaving(Misbehaviour::Status(status.as_u16()))),
    }
}

/// The body of the request, in memory that is wiped.
fn request(credential: &Credential) -> Zeroizing<Vec<u8>> {
    // It was found to be UTF-8 when the client was made.
    let secret = std::str::from_utf8(credential.secret.expose()).unwrap_or_default();
    // Room for every character escaped, so that it never moves and leaves nothing behind.
    let room = 256 + 6 * (credential.id.len() + secret.len());
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    body.extend_from_slice(
        br#"{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":"#,
    );
    append_json(&mut body, &credential.id);
    body.extend_from_slice(br#","secret":"#);
    append_json(&mut body, secret);
    body.extend_from_slice(b"}}}}");
    body
}

/// A text as JSON (RFC 8259, section 7).
fn append_json(body: &mut Vec<u8>, text: &str) {
    body.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => body.extend_from_slice(&[b'\\', byte]),
            0..0x20 => body.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => body.push(byte),
        }
    }
    body.push(b'"');
}

#[derive(Deserialize)]
struct Issued {
    token: Life,
}

#[derive(Deserialize)]
struct Life {
    expires_at: Timestamp,
    issued_at: Timestamp,
}

/// When to ask for another token, by a clock that does not jump.
///
/// `issued_at` is cut to the second, so that the token dies up to a second before it seems to; and it is given up early,
/// by a tenth of its life, at most 30 s.
fn usable_until(asked: Instant, issued: Timestamp, expires: Timestamp) -> Instant {
    let life = Duration::try_from(expires.duration_since(issued)).unwrap_or_default();
    let sure = life.saturating_sub(Duration::from_secs(1));
    let early = (sure / 10).min(Duration::from_secs(30));
    asked.checked_add(sure - early).unwrap_or(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_secret::ArenaOptions;

    #[test]
    fn a_token_is_given_up_early() {
        let asked = Instant::now();
        let lives = |issued: &str, expires: &str| {
            usable_until(asked, issued.parse().unwrap(), expires.parse().unwrap()).duration_since(asked)
        };
        let hour = lives("2026-11-21T02:45:27.000000Z", "2026-11-21T03:45:27.000000Z");
        assert_eq!(hour, Duration::from_secs(3600 - 1 - 30));
        let short = lives("2026-11-21T02:45:27.000000Z", "2026-11-21T02:45:32.000000Z");
        assert_eq!(short, Duration::from_millis(3600));
        assert_eq!(lives("2026-11-21T02:45:27.000000Z", "2026-11-21T02:45:28.000000Z"), Duration::ZERO);
        assert_eq!(lives("2026-11-21T02:45:27.000000Z", "2026-11-21T02:45:20.000000Z"), Duration::ZERO);
    }

    #[test]
    fn the_request_is_json_whatever_is_in_the_credential() {
        let arena = Arena::new(&ArenaOptions { keys: 8, states: 8, ..ArenaOptions::default() }).unwrap();
        let text = "a\"b\\c\n\u{1}\u{e9}\u{1f511}";
        let mut secret = arena.bytes(text.len()).unwrap();
        secret.expose_mut().copy_from_slice(text.as_bytes());
        let body = request(&Credential { id: "0a\"".to_owned(), secret });
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let identity = &read["auth"]["identity"];
        assert_eq!(identity["methods"], serde_json::json!(["application_credential"]));
        assert_eq!(identity["application_credential"], serde_json::json!({ "id": "0a\"", "secret": text }));
        assert!(read["auth"].get("scope").is_none());
    }
}
