//! Stopping, and clients that leave.

use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use axum::http::Method;
use claviger_ontap::Role;
use claviger_server::{DevSite, Registry, Server};

use crate::support::{ADMIN, LONG, Service, arena};

#[test]
fn what_has_begun_is_answered_before_the_service_stops() {
    let mut service = Service::start();
    let server = service.server.take().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| service.post("/api/wait", Some(ADMIN), b""));
        service.wait_for_arrival();
        let stopping = scope.spawn(|| server.stop());
        // Nobody new comes in: once the listener is gone, connecting fails.
        while std::net::TcpStream::connect(service.address).is_ok() {
            thread::yield_now();
        }
        service.open_gate();
        assert_eq!(waiting.join().unwrap().body, "waited");
        stopping.join().unwrap();
    });
    let lines = service.audit();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "request", "result", "stopped"]);
}

#[test]
fn a_stop_waits_for_no_handshake() {
    let mut service = Service::with(|config| {
        config.limits.handshake_timeout = LONG;
        config.limits.stop_timeout = LONG;
    });
    let mut silent = std::net::TcpStream::connect(service.address).unwrap();
    silent.set_read_timeout(Some(LONG)).unwrap();
    // It was accepted after the other.
    assert_eq!(service.get("/healthz", None).status, 200);
    let begun = Instant::now();
    service.server.take().unwrap().stop();
    assert!(begun.elapsed() < LONG / 2);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut service = Service::with(|config| config.limits.stop_timeout = Duration::from_millis(200));
    let server = service.server.take().unwrap();
    let mut waiting = service.connect();
    waiting.send_request(&Method::POST, "/api/wait", Some(ADMIN.as_bytes()), b"");
    service.wait_for_arrival();
    server.stop();
    assert!(waiting.rest().is_empty());
    assert_eq!(service.audit().last().unwrap()["event"], "stopped");
}

#[test]
fn a_request_goes_on_when_its_client_leaves() {
    let mut service = Service::start();
    let mut leaving = service.connect();
    leaving.send_request(&Method::POST, "/api/wait", Some(ADMIN.as_bytes()), b"");
    service.wait_for_arrival();
    drop(leaving);
    let server = service.server.take().unwrap();
    thread::scope(|scope| {
        let stopping = scope.spawn(|| server.stop());
        while std::net::TcpStream::connect(service.address).is_ok() {
            thread::yield_now();
        }
        // Long enough for a stop that does not wait.
        thread::sleep(Duration::from_millis(300));
        service.open_gate();
        stopping.join().unwrap();
    });
    let lines = service.audit();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "request", "result", "stopped"]);
}

#[test]
fn a_stop_waits_for_work_that_outlasts_its_answer() {
    let mut service = Service::with(|config| config.limits.stop_timeout = LONG);
    let work = service.background.begin(Role::ReadOnly).unwrap();
    let server = service.server.take().unwrap();
    thread::scope(|scope| {
        let stopping = scope.spawn(|| server.stop());
        while !work.must_end() {
            thread::yield_now();
        }
        // Long enough for a stop that does not wait.
        thread::sleep(Duration::from_millis(300));
        assert!(!stopping.is_finished());
        assert!(service.background.begin(Role::Admin).is_none());
        drop(work);
        stopping.join().unwrap();
    });
}

#[test]
fn a_service_to_try_things_on_is_all_in_one_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("not/there");
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let options = claviger::Options { memory: claviger::KeyMemory::Shared(arena().clone()), ..Default::default() };
        let site = DevSite::prepare(Some(&dir), None, arena()).unwrap();
        let engine = site.open(options).unwrap();
        assert!(engine.svms().iter().any(|svm| svm.is_admin() && svm.name().unwrap().as_str() == "cluster1"));
        let api = axum::Router::new().route("/api/x", axum::routing::get(|| async { "x" }));
        let server = Server::start(&site.config, engine.into(), Registry::default(), api).unwrap();
        assert!(site.authority.starts_with(dir.canonicalize().unwrap()) && site.authority.exists());
        passwords.push(String::from_utf8(site.password.expose().to_vec()).unwrap());
        let connect = || {
            let stream = std::net::TcpStream::connect(server.address()).unwrap();
            crate::support::handshake(stream, crate::support::client(&site.authority, None)).unwrap()
        };
        let ask = |password: &str| {
            let login = format!("{}:{password}", site.user);
            connect().ask(&Method::GET, "/api/x", Some(login.as_bytes()), b"").status
        };
        assert_eq!(ask(passwords.last().unwrap()), 200);
        if let [old, _] = &passwords[..] {
            assert_eq!(ask(old), 401);
        }
        server.stop();
    }
}

#[test]
fn a_service_to_try_things_on_is_called_by_what_its_certificate_names() {
    let dir = tempfile::tempdir().unwrap();
    let options = || claviger::Options { memory: claviger::KeyMemory::Shared(arena().clone()), ..Default::default() };
    for (listen, called) in [("127.0.0.1:0", "127.0.0.1:"), ("0.0.0.0:0", "127.0.0.1:"), ("127.0.0.2:0", "127.0.0.2:")]
    {
        let site = DevSite::prepare(Some(dir.path()), Some(listen.parse().unwrap()), arena()).unwrap();
        let engine = site.open(options()).unwrap();
        let server = Server::start(&site.config, engine.into(), Registry::default(), axum::Router::new()).unwrap();
        let url = site.url(server.address());
        let address: std::net::SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
        assert!(address.to_string().starts_with(called), "{url}");
        let stream = std::net::TcpStream::connect(address).unwrap();
        let client = crate::support::client(&site.authority, None);
        crate::support::handshake_with(stream, client, address.ip()).unwrap();
        server.stop();
    }
}
