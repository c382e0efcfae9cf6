//! What the services were seen to answer, and what nobody should: one test for each, over a server of the tests' own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use claviger_barbican::{BarbicanError, Client, HopName, Misbehaviour, Service, Unsuitable};
use support::server::{Reply, Seen, Server, metadata, payload, reply, token, well};
use support::{ID, KEY, SECRET, client_of};

/// A server where all is well but for what `odd` answers.
fn server(odd: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Server {
    Server::start(move |seen| odd(seen).unwrap_or_else(|| well(seen)))
}

fn key(server: &Server) -> Result<bool, BarbicanError> {
    client_of(server).key(&server.secret()).map(|key| key.ct_eq(&KEY))
}

/// What became of it when logins are answered so.
fn login(answer: impl Fn() -> Reply + Send + Sync + 'static) -> (Result<bool, BarbicanError>, Server) {
    let server = server(move |seen| seen.is_login().then(&answer));
    (key(&server), server)
}

/// What became of it when requests for payloads are answered so.
fn payloads(answer: impl Fn() -> Reply + Send + Sync + 'static) -> (Result<bool, BarbicanError>, Server) {
    let server = server(move |seen| seen.is_payload().then(&answer));
    (key(&server), server)
}

/// What became of it when requests for metadata are answered so.
fn metadatas(answer: impl Fn() -> Reply + Send + Sync + 'static) -> (Result<bool, BarbicanError>, Server) {
    let server = server(move |seen| seen.first.ends_with(&format!("/{ID} HTTP/1.1")).then(&answer));
    (key(&server), server)
}

const KEYSTONE_401: &str = r#"{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}
"#;
const KEYSTONE_404: &str =
    r#"{"error":{"code":404,"message":"Could not find Application Credential: 0000.","title":"Not Found"}}"#;
const KEYSTONE_500: &str = r#"{"error":{"code":500,"message":"An unexpected error prevented the server from fulfilling your request.","title":"Internal Server Error"}}"#;
const BARBICAN_500: &str = r#"{"code": 500, "title": "Internal Server Error", "description": "Secret payload retrieval failure seen - please contact site administrator."}"#;
const BARBICAN_404: &str = r#"{"code": 404, "title": "Not Found", "description": "Secret not found."}"#;

#[test]
fn the_requests_are_as_the_services_want_them() {
    let server = Server::start(well);
    assert!(key(&server).unwrap());
    let [login, metadata, payload] = server.seen().try_into().unwrap();
    let asked: serde_json::Value = serde_json::from_str(&login.body).unwrap();
    let wanted = serde_json::json!({"auth": {"identity": {"methods": ["application_credential"],
        "application_credential": {"id": "394de01f", "secret": SECRET}}}});
    assert_eq!(asked, wanted);
    assert_eq!(login.header("content-type"), Some("application/json"));
    assert_eq!(login.header("x-auth-token"), None);
    assert_eq!(metadata.first, format!("GET /v1/secrets/{ID} HTTP/1.1"));
    assert_eq!(metadata.header("accept"), Some("application/json"));
    assert_eq!(payload.first, format!("GET /v1/secrets/{ID}/payload HTTP/1.1"));
    assert_eq!(payload.header("accept"), Some("application/octet-stream"));
    for seen in [metadata, payload] {
        assert_eq!(seen.header("x-auth-token"), Some("gAAAAAB-token-0"));
        assert_eq!(seen.header("host"), Some(format!("localhost:{}", server.port).as_str()));
        for absent in ["openstack-api-version", "accept-encoding", "cookie", "content-type"] {
            assert_eq!(seen.header(absent), None, "{absent}");
        }
    }
}

#[test]
fn a_token_may_be_long() {
    let text = "t".repeat(9000);
    let (outcome, server) = login({
        let text = text.clone();
        move || token(&text, 3600)
    });
    assert!(outcome.unwrap());
    assert_eq!(server.seen()[2].header("x-auth-token"), Some(text.as_str()));
}

#[test]
fn a_catalogue_may_be_large() {
    let body = format!(
        r#"{{"token": {{"catalog": "{}", "expires_at": "2026-11-21T03:00:00.000000Z", "issued_at": "2026-11-21T02:00:00.000000Z"}}}}"#,
        "c".repeat(200 * 1024)
    );
    let (outcome, _) = login(move || reply("201 CREATED", "X-Subject-Token: t\r\n", &body));
    assert!(outcome.unwrap());
    let (outcome, _) = login(|| reply("201 CREATED", "X-Subject-Token: t\r\n", vec![b' '; 256 * 1024 + 1]));
    let BarbicanError::Misbehaving { service: Service::Keystone, source } = outcome.unwrap_err() else { panic!() };
    assert!(matches!(source, Misbehaviour::TooLong { limit: 262_144 }));
}

#[test]
fn a_refused_credential_is_401_or_404_and_not_tried_again() {
    for (line, status, body) in [("401 UNAUTHORIZED", 401, KEYSTONE_401), ("404 NOT FOUND", 404, KEYSTONE_404)] {
        let (outcome, server) =
            login(move || reply(line, "WWW-Authenticate: Keystone uri=\"https://localhost/v3\"\r\n", body));
        let BarbicanError::CredentialRefused { service: Service::Keystone, status: told } = outcome.unwrap_err() else {
            panic!("{line}")
        };
        assert_eq!(told, status);
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_login_that_is_not_allowed_is_403() {
    let (outcome, _) = login(|| reply("403 FORBIDDEN", "", r#"{"error":{"code":403}}"#));
    assert!(matches!(outcome, Err(BarbicanError::Forbidden { service: Service::Keystone, status: 403 })));
}

#[test]
fn a_login_answered_otherwise_is_misbehaviour() {
    for (line, code) in [("200 OK", 200), ("300 Multiple Choices", 300), ("400 Bad Request", 400), ("410 Gone", 410)] {
        let (outcome, server) = login(move || reply(line, "X-Subject-Token: t\r\n", "{}"));
        let BarbicanError::Misbehaving { source: Misbehaviour::Status(told), .. } = outcome.unwrap_err() else {
            panic!("{line}")
        };
        assert_eq!(told, code);
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_redirection_is_not_followed() {
    for line in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let elsewhere = Server::start(well);
        let location = format!("Location: https://localhost:{}/\r\n", elsewhere.port);
        let (outcome, _) = login({
            let location = location.clone();
            move || reply(line, &location, "")
        });
        assert!(matches!(outcome, Err(BarbicanError::Misbehaving { service: Service::Keystone, .. })));
        let (outcome, _) = payloads(move || reply(line, &location, KEY));
        assert!(matches!(outcome, Err(BarbicanError::Misbehaving { service: Service::Barbican, .. })));
        assert_eq!(elsewhere.connections(), 0);
    }
}

#[test]
fn a_login_without_a_token_is_misbehaviour() {
    let body = r#"{"token": {"expires_at": "2026-11-21T03:00:00Z", "issued_at": "2026-11-21T02:00:00Z"}}"#;
    for header in ["", "X-Subject-Token: \r\n"] {
        let (outcome, _) = login(move || reply("201 CREATED", header, body));
        let BarbicanError::Misbehaving { source, .. } = outcome.unwrap_err() else { panic!() };
        assert!(matches!(source, Misbehaviour::NoToken));
    }
}

#[test]
fn a_login_whose_times_cannot_be_read_is_misbehaviour() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"token": {"issued_at": "2026-11-21T02:00:00.000000Z"}}"#,
        r#"{"token": {"expires_at": "soon", "issued_at": "2026-11-21T02:00:00.000000Z"}}"#,
    ] {
        let (outcome, _) = login(move || reply("201 CREATED", "X-Subject-Token: t\r\n", body));
        let BarbicanError::Misbehaving { source, .. } = outcome.unwrap_err() else { panic!() };
        assert!(matches!(source, Misbehaviour::Json(_)), "{body}");
    }
}

#[test]
fn a_token_that_barbican_refuses_is_replaced_once() {
    let unauthorized = || reply("401 Unauthorized", "WWW-Authenticate: Keystone uri=\"https://localhost/v3\"\r\n", "");
    let refused = server(move |seen| (seen.header("x-auth-token") == Some("gAAAAAB-token-0")).then(unauthorized));
    assert!(key(&refused).unwrap());
    assert_eq!(refused.logins(), 2);

    // Between metadata and payload too.
    let (outcome, server) = payloads(unauthorized);
    assert!(matches!(outcome, Err(BarbicanError::CredentialRefused { service: Service::Barbican, status: 401 })));
    assert_eq!(server.logins(), 2);
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn a_status_decides_whatever_the_body_says() {
    let long = "x".repeat(100_000);
    for body in
        ["", "{}", BARBICAN_404, KEYSTONE_401, r#"{"message": "m", "code": "406 Not Acceptable"}"#, "<html>", &long]
    {
        for (line, is_it) in [
            (
                "403 Forbidden",
                (|error| matches!(error, BarbicanError::Forbidden { service: Service::Barbican, .. })) as fn(_) -> _,
            ),
            ("404 Not Found", |error| matches!(error, BarbicanError::SecretMissing { status: 404 })),
            ("406 Not Acceptable", |error| {
                matches!(error, BarbicanError::Misbehaving { source: Misbehaviour::Status(406), .. })
            }),
            ("204 No Content", |error| {
                matches!(error, BarbicanError::Misbehaving { source: Misbehaviour::Status(204), .. })
            }),
        ] {
            let body = if line.starts_with("204") { String::new() } else { body.to_owned() };
            let copy = body.clone();
            let (outcome, _) = metadatas(move || reply(line, "Content-Type: application/json\r\n", &copy));
            assert!(is_it(outcome.unwrap_err()), "{line}");
            let (outcome, _) = payloads(move || reply(line, "", &body));
            assert!(is_it(outcome.unwrap_err()), "{line}");
        }
    }
}

#[test]
fn a_status_decides_though_its_body_never_comes() {
    let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 4000\r\n\r\n".as_bytes();
    for ending in [|head: &[u8]| Reply::Drip(head.to_vec()), |head: &[u8]| Reply::Bytes(head.to_vec())] {
        let (outcome, server) = payloads(move || ending(head));
        assert!(matches!(outcome, Err(BarbicanError::SecretMissing { status: 404 })), "{outcome:?}");
        assert_eq!(server.seen().len(), 3);
    }
}

#[test]
fn a_500_is_tried_again_whatever_it_says() {
    for (first, body) in [(Seen::is_login as fn(&Seen) -> bool, KEYSTONE_500), (Seen::is_payload, BARBICAN_500)] {
        let asked = AtomicUsize::new(0);
        let server = server(move |seen| match first(seen) && asked.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Some(reply("500 Internal Server Error", "Content-Type: application/json\r\n", body)),
            false => None,
        });
        assert!(key(&server).unwrap());
        assert_eq!(server.seen().len(), 4);
    }
}

#[test]
fn a_payload_of_another_length_is_no_key() {
    for len in [0, 16, 31, 33, 44, 64, 4096] {
        let (outcome, _) = payloads(move || payload(vec![b'A'; len]));
        let BarbicanError::Unsuitable { why } = outcome.unwrap_err() else { panic!("{len}") };
        assert_eq!(why, Unsuitable::Length { found: Some(len) });
    }
    let (outcome, _) = payloads(|| payload(vec![b'A'; 4097]));
    let BarbicanError::Unsuitable { why } = outcome.unwrap_err() else { panic!() };
    assert_eq!(why, Unsuitable::Length { found: None });
}

#[test]
fn a_payload_may_come_in_chunks() {
    let chunked = || {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (a, b) = KEY.split_at(5);
        Reply::Bytes([head.as_bytes(), b"5\r\n", a, b"\r\n1b\r\n", b, b"\r\n0\r\n\r\n"].concat())
    };
    assert!(payloads(chunked).0.unwrap());
}

#[test]
fn a_payload_that_ends_early_is_no_key() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 64\r\n\r\n";
    let server = server(move |seen| seen.is_payload().then(|| Reply::Bytes([head.as_bytes(), &KEY].concat())));
    let outcome = support::hasty(&server, 1500).key(&server.secret());
    assert!(matches!(outcome, Err(BarbicanError::Unreachable { service: Service::Barbican, .. })), "{outcome:?}");
}

#[test]
fn a_payload_of_another_type_is_misbehaviour() {
    for header in ["", "Content-Type: */*\r\n", "Content-Type: text/html\r\n"] {
        let (outcome, _) = payloads(move || reply("200 OK", header, KEY));
        let BarbicanError::Misbehaving { source, .. } = outcome.unwrap_err() else { panic!() };
        assert!(matches!(source, Misbehaviour::ContentType));
    }
    assert!(payloads(|| reply("200 OK", "Content-Type: application/octet-stream; a=b\r\n", KEY)).0.unwrap());
}

#[test]
fn metadata_that_is_none_is_misbehaviour() {
    for body in ["", "null", "[]", "{}", "<html>", r#"{"status": 7}"#] {
        let (outcome, _) = metadatas(move || reply("200 OK", "", body));
        let BarbicanError::Misbehaving { source, .. } = outcome.unwrap_err() else { panic!("{body}") };
        assert!(matches!(source, Misbehaviour::Json(_)), "{body}");
    }
    let (outcome, _) = metadatas(|| reply("200 OK", "", vec![b' '; 64 * 1024 + 1]));
    let BarbicanError::Misbehaving { source, .. } = outcome.unwrap_err() else { panic!() };
    assert!(matches!(source, Misbehaviour::TooLong { limit: 65_536 }));
}

#[test]
fn what_does_not_suit_is_not_fetched() {
    let (outcome, server) = metadatas(|| {
        let mut passphrase = metadata();
        passphrase["secret_type"] = "passphrase".into();
        reply("200 OK", "", passphrase.to_string())
    });
    assert!(matches!(outcome, Err(BarbicanError::Unsuitable { why: Unsuitable::Kind(_) })));
    assert!(!server.seen().iter().any(Seen::is_payload));
}

#[test]
fn what_is_not_http_is_misbehaviour() {
    let (outcome, _) = payloads(|| Reply::Bytes(b"220 mail.example ESMTP\r\n".to_vec()));
    let BarbicanError::Misbehaving { source, .. } = outcome.unwrap_err() else { panic!() };
    assert!(matches!(source, Misbehaviour::Http(_)));
}

#[test]
fn a_check_stops_at_the_first_hop_that_fails_and_tries_it_once() {
    fn hops(client: &Client, server: &Server) -> (Vec<(HopName, bool)>, Result<bool, BarbicanError>) {
        let mut hops = Vec::new();
        let outcome = client.check(&server.secret(), |hop| hops.push((hop.name, hop.outcome.is_ok())));
        (hops, outcome.map(|key| key.ct_eq(&KEY)))
    }
    let all = [HopName::Keystone, HopName::Credential, HopName::Barbican, HopName::Secret, HopName::Payload];
    let paths = ["GET /v3 ", "POST /v3/auth/tokens ", "GET /v1/ ", "/0123456789ab ", "/payload "];
    let fine = Server::start(well);
    let (gone, outcome) = hops(&client_of(&fine), &fine);
    assert_eq!(gone, all.map(|name| (name, true)));
    assert!(outcome.unwrap());
    for (at, path) in paths.into_iter().enumerate() {
        let path = path.trim_start_matches("/0");
        let failing =
            server(move |seen| seen.first.contains(path).then(|| reply("503 Service Unavailable", "", "gone")));
        let (gone, outcome) = hops(&client_of(&failing), &failing);
        let wanted: Vec<_> = all.iter().take(at + 1).map(|name| (*name, *name != all[at])).collect();
        assert_eq!(gone, wanted, "{path}");
        assert!(matches!(outcome, Err(BarbicanError::Unreachable { .. })));
        assert_eq!(failing.seen().len(), at + 1);
    }
}
