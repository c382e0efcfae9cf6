//! Time, sizes, tries, threads and processes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use claviger_barbican::{
    BarbicanError, Client, Credential, Proxy, Service, SetupError, Site, Stage, Unanswered, certificates_from_pem,
};
use claviger_secret::testing::{End, in_child};
use support::server::{Reply, Seen, Server, closed_port, mute, reply, token, well};
use support::{KEY, arena, client, client_of, hasty, secret, site};

/// More than a call may take beyond its limit, on a busy machine.
const GRACE: Duration = Duration::from_secs(3);

/// What a call with 600 ms ended with, and that it kept to them.
fn in_time(client: &Client, server: &Server) -> (Service, Unanswered) {
    let began = Instant::now();
    let error = client.key(&server.secret()).unwrap_err();
    let took = began.elapsed();
    assert!(took < Duration::from_millis(600) + GRACE, "{took:?}");
    let BarbicanError::Unreachable { service, source } = error else { panic!("{error:?}") };
    (service, source)
}

fn ran_out(client: &Client, server: &Server, at: (Service, Stage)) {
    let (service, source) = in_time(client, server);
    let Unanswered::NoTime(stage) = source else { panic!("{source:?}") };
    assert_eq!((service, stage), at);
}

fn hasty_at(port: u16) -> Client {
    let site = site(&format!("https://localhost:{port}/v3"), &[]);
    client(&Site { timeout: Duration::from_millis(600), verify: false, ..site })
}

#[test]
fn the_time_limit_holds_while_the_listener_is_silent() {
    let unused = Server::start(well);
    ran_out(&hasty_at(mute(b"")), &unused, (Service::Keystone, Stage::Handshake));
}

#[test]
fn the_time_limit_holds_in_the_middle_of_the_handshake() {
    let unused = Server::start(well);
    // The head of a record with a ServerHello, and its first bytes.
    ran_out(
        &hasty_at(mute(&[0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3])),
        &unused,
        (Service::Keystone, Stage::Handshake),
    );
}

#[test]
fn the_time_limit_holds_while_nothing_is_answered() {
    let server = Server::start(|seen| if seen.is_login() { Reply::Silence } else { well(seen) });
    ran_out(&hasty(&server, 600), &server, (Service::Keystone, Stage::Waiting));
    let server = Server::start(|seen| if seen.is_payload() { Reply::Silence } else { well(seen) });
    ran_out(&hasty(&server, 600), &server, (Service::Barbican, Stage::Waiting));
}

#[test]
fn the_time_limit_holds_while_an_answer_drips() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 4000\r\n\r\n";
    let body = move |seen: &Seen| if seen.is_payload() { Reply::Drip(head.as_bytes().to_vec()) } else { well(seen) };
    let server = Server::start(body);
    ran_out(&hasty(&server, 600), &server, (Service::Barbican, Stage::Reading));
    let headers =
        |seen: &Seen| if seen.is_payload() { Reply::Drip(b"HTTP/1.1 200 OK\r\nA: ".to_vec()) } else { well(seen) };
    let server = Server::start(headers);
    ran_out(&hasty(&server, 600), &server, (Service::Barbican, Stage::Waiting));
}

#[test]
fn a_head_is_read_up_to_its_limit() {
    for (lines, is_read) in [(7, true), (30, false)] {
        let server = Server::start(move |seen| match seen.is_payload() {
            true => {
                let headers = format!("A: {}\r\n", "a".repeat(8 * 1024)).repeat(lines);
                reply("200 OK", &format!("Content-Type: application/octet-stream\r\n{headers}"), KEY)
            }
            false => well(seen),
        });
        let outcome = client_of(&server).key(&server.secret());
        match is_read {
            true => assert!(outcome.unwrap().ct_eq(&KEY)),
            false => {
                let error = outcome.unwrap_err();
                assert!(matches!(error, BarbicanError::Misbehaving { service: Service::Barbican, .. }), "{error:?}");
            }
        }
    }
}

#[test]
fn a_refused_connection_is_tried_again_while_there_is_time() {
    let unused = Server::start(well);
    let began = Instant::now();
    let (service, source) = in_time(&hasty_at(closed_port()), &unused);
    assert_eq!(service, Service::Keystone);
    assert!(matches!(source, Unanswered::Connect(_)), "{source:?}");
    // The wait before the second try.
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_name_without_an_address_is_unreachable() {
    let unused = Server::start(well);
    let client = client(&Site { timeout: Duration::from_millis(600), ..site("https://nowhere.invalid/v3", &[]) });
    let (service, source) = in_time(&client, &unused);
    assert_eq!(service, Service::Keystone);
    // Some resolvers keep silent.
    assert!(matches!(source, Unanswered::Name(_) | Unanswered::NoTime(Stage::Connecting)), "{source:?}");
}

#[test]
fn what_may_pass_is_tried_again() {
    let passing: [fn() -> Reply; 7] = [
        || Reply::Cut,
        || {
            reply(
                "503 Service Unavailable",
                "Content-Type: text/plain\r\n",
                "The Keystone service is temporarily unavailable.",
            )
        },
        || reply("500 Internal Server Error", "Content-Type: text/plain\r\n", ""),
        || reply("502 Bad Gateway", "", ""),
        || reply("504 Gateway Timeout", "", "<html>"),
        || reply("429 Too Many Requests", "", ""),
        || {
            Reply::Bytes(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 32\r\n\r\nabc".to_vec(),
            )
        },
    ];
    for (at, passing) in passing.into_iter().enumerate() {
        for first in [Seen::is_login, Seen::is_payload] {
            let asked = AtomicUsize::new(0);
            let server = Server::start(move |seen| match first(seen) && asked.fetch_add(1, Ordering::SeqCst) < 2 {
                true => passing(),
                false => well(seen),
            });
            assert!(client_of(&server).key(&server.secret()).unwrap().ct_eq(&KEY), "{at}");
            assert_eq!(server.seen().len(), 5, "{at}");
        }
    }
}

#[test]
fn trying_again_has_an_end() {
    let server = Server::start(|_| reply("500 Internal Server Error", "", r#"{"code": 500}"#));
    let error = client_of(&server).key(&server.secret()).unwrap_err();
    assert!(matches!(error, BarbicanError::Unreachable { source: Unanswered::Status(500), .. }), "{error:?}");
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn a_short_retry_after_is_waited_for_and_a_long_one_is_not() {
    for (line, status) in [("429 Too Many Requests", 429), ("503 Service Unavailable", 503)] {
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let server = Server::start({
            let asked = Arc::clone(&asked);
            move |seen| {
                let mut asked = asked.lock().unwrap();
                asked.push(Instant::now());
                if asked.len() == 1 { reply(line, "Retry-After: 1\r\n", "") } else { well(seen) }
            }
        });
        client_of(&server).key(&server.secret()).unwrap();
        let [first, second, ..] = *asked.lock().unwrap().clone() else { panic!("{line}") };
        // What was asked for, and the usual wait: at least 100 ms, and more by chance.
        assert!(second - first >= Duration::from_millis(1100), "{line}");
        for long in ["3600", "Sat, 21 Nov 2026 03:00:00 GMT"] {
            let server = Server::start(move |_| reply(line, &format!("Retry-After: {long}\r\n"), ""));
            let error = client_of(&server).key(&server.secret()).unwrap_err();
            assert!(
                matches!(error, BarbicanError::Unreachable { source: Unanswered::Status(told), .. } if told == status)
            );
            assert_eq!(server.seen().len(), 1, "{line} {long}");
        }
    }
}

/// Has 32 threads read the key at once.
fn all_at_once(client: &Client, server: &Server) -> Vec<Result<bool, BarbicanError>> {
    let start = Barrier::new(32);
    let read = || {
        start.wait();
        client.key(&server.secret()).map(|key| key.ct_eq(&KEY))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|_| scope.spawn(read)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn one_login_serves_all_who_wait() {
    let server = Server::start(well);
    let client = client_of(&server);
    assert!(all_at_once(&client, &server).into_iter().all(|outcome| outcome.unwrap()));
    assert_eq!(server.logins(), 1);
    assert!(client.key(&server.secret()).unwrap().ct_eq(&KEY));
    assert_eq!(server.logins(), 1);
}

#[test]
fn one_new_login_serves_all_whose_token_was_refused() {
    let server = Server::start(|seen| match seen.header("x-auth-token") {
        Some("gAAAAAB-token-0") => reply("401 Unauthorized", "", ""),
        _ => well(seen),
    });
    assert!(all_at_once(&client_of(&server), &server).into_iter().all(|outcome| outcome.unwrap()));
    assert_eq!(server.logins(), 2);
}

#[test]
fn a_failed_login_is_not_remembered() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => reply("401 Unauthorized", "", ""),
        _ => well(seen),
    });
    let client = client_of(&server);
    client.key(&server.secret()).unwrap_err();
    client.key(&server.secret()).unwrap();
}

#[test]
fn a_token_about_to_die_is_not_used() {
    let server = Server::start(|seen| if seen.is_login() { token("short", 1) } else { well(seen) });
    let client = client_of(&server);
    client.key(&server.secret()).unwrap();
    client.key(&server.secret()).unwrap();
    assert_eq!(server.logins(), 2);
}

#[test]
fn connections_are_not_kept() {
    let server = Server::start(well);
    client_of(&server).key(&server.secret()).unwrap();
    assert_eq!(server.connections(), 3);
}

#[test]
fn a_thread_of_a_runtime_may_call() {
    let server = Server::start(well);
    let client = client_of(&server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(async { client.key(&server.secret()) }).unwrap().ct_eq(&KEY));
}

#[test]
fn many_clients_share_one_thread() {
    let (arena, site) = (arena(), site("https://localhost/v3", &[]));
    let one = Credential { id: "one".to_owned(), secret: secret(&arena, "s") };
    // As many as the arena has room for, nearly.
    let clients: Vec<_> = (0..400).map(|_| Client::new(&arena, &site, &one).unwrap()).collect();
    let names = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        // A thread may end meanwhile.
        fs::read_to_string(task.ok()?.path().join("comm")).ok()
    });
    assert_eq!(names.filter(|name| name.trim() == "claviger-barbic").count(), 1);
    drop(clients);
}

#[test]
fn a_child_is_told_and_may_make_its_own() {
    let server = Server::start(well);
    let client = client_of(&server);
    client.key(&server.secret()).unwrap();
    let secret_url = server.secret();
    let end = in_child(|| {
        let told = matches!(client.key(&secret_url), Err(BarbicanError::Forked));
        let own = client_of(&server).key(&secret_url).is_ok_and(|key| key.ct_eq(&KEY));
        told && own
    });
    assert_eq!(end, End::Returned(true));
    assert!(client.key(&secret_url).unwrap().ct_eq(&KEY));
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let arena = arena();
    let fine = || site("https://localhost/v3", &[]);
    let refused = |site: &Site, id: &str, text: &[u8]| {
        let mut bytes = arena.bytes(text.len()).unwrap();
        bytes.expose_mut().copy_from_slice(text);
        Client::new(&arena, site, &Credential { id: id.to_owned(), secret: bytes }).unwrap_err()
    };
    assert!(matches!(refused(&fine(), "", b"s"), SetupError::Empty("id")));
    assert!(matches!(refused(&fine(), "id", b""), SetupError::Empty("secret")));
    assert!(matches!(refused(&fine(), "id", &[0xff]), SetupError::NotText));
    assert!(matches!(refused(&Site { timeout: Duration::ZERO, ..fine() }, "id", b"s"), SetupError::NoTime));
    let broken = vec![claviger_barbican::CertificateDer::from(vec![1, 2, 3])];
    assert!(matches!(refused(&Site { extra_roots: broken, ..fine() }, "id", b"s"), SetupError::Root(_)));
    for host in ["a b", "", "name:proxy-word-61@proxy"] {
        let proxy = Proxy { host: host.to_owned(), ..support::proxy(&arena, "http://proxy:3128") };
        let error = refused(&Site { proxy: Some(proxy), ..fine() }, "id", b"s");
        assert!(matches!(error, SetupError::ProxyHost), "{host}");
        assert!(!format!("{error} {error:?}").contains("proxy-word-61"));
    }
    let mut proxy = support::proxy(&arena, "http://name:word@proxy:3128");
    if let Some(user) = &mut proxy.user {
        user.name.push(':');
    }
    assert!(matches!(refused(&Site { proxy: Some(proxy), ..fine() }, "id", b"s"), SetupError::ProxyUser));
    assert!(certificates_from_pem(b"").is_err());
}
