//! What a client may take, and that it takes no more.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use axum::http::Method;

use crate::support::{ADMIN, LONG, Service, client, handshake};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_header_that_does_not_end_ends_the_connection() {
    let service = Service::with(|config| config.limits.header_timeout = SHORT);
    let mut slow = service.connect();
    slow.send(b"GET /api/who HTTP/1.1\r\nHost: t\r\nX-Slow: ");
    let mut silent = service.connect();
    let mut trickling = service.connect();
    // Each byte is no new beginning.
    let mut sent = 0;
    while trickling.tls.write_all(b"G").and_then(|()| trickling.tls.flush()).is_ok() && sent < 1_000 {
        thread::sleep(Duration::from_millis(20));
        sent += 1;
    }
    assert!(sent < 1_000, "the connection is open after {sent} bytes");
    let told = String::from_utf8(slow.rest()).unwrap();
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(silent.rest().is_empty());
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
}

#[test]
fn the_next_request_may_take_longer_than_its_header() {
    let service = Service::with(|config| config.limits.header_timeout = SHORT);
    let mut connection = service.connect();
    for _ in 0..2 {
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut bytes = [0; 256];
            let read = connection.tls.read(&mut bytes).unwrap();
            assert!(read > 0, "the connection was closed");
            answer.extend_from_slice(&bytes[..read]);
        }
        thread::sleep(2 * SHORT);
    }
    // Once it has begun, it may not.
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: ");
    assert!(connection.rest().is_empty());
}

#[test]
fn a_connection_that_nobody_uses_is_closed() {
    let service = Service::with(|config| config.limits.idle_timeout = SHORT);
    let mut connection = service.connect();
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(connection.rest().ends_with(b"ok\n"));
}

#[test]
fn an_answer_that_comes_slowly_comes_whole() {
    let service = Service::with(|config| config.limits.idle_timeout = SHORT);
    let mut connection = service.connect();
    connection.send_request(&Method::POST, "/api/stream", Some(ADMIN.as_bytes()), b"");
    service.wait_for_arrival();
    // Long enough for a service that takes it for idle.
    thread::sleep(3 * SHORT);
    service.open_gate();
    let answer = connection.answer();
    assert!(answer.body.contains("streamed"), "{answer:?}");
}

#[test]
fn a_handshake_that_does_not_end_ends_the_connection() {
    let service = Service::with(|config| config.limits.handshake_timeout = SHORT);
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(&[0x16, 0x03, 0x01]).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn more_connections_than_allowed_wait_for_room() {
    let service = Service::with(|config| {
        config.limits.connections = 2;
        config.limits.header_timeout = LONG;
    });
    let (first, _second) = (service.connect(), service.connect());
    let third = TcpStream::connect(service.address).unwrap();
    third.set_read_timeout(Some(SHORT)).unwrap();
    let again = third.try_clone().unwrap();
    assert!(handshake(third, client(&service.authority, None)).is_err(), "a third connection was served");
    drop((again, first));
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
}

#[test]
fn a_body_that_is_too_long_is_not_taken() {
    let service = Service::with(|config| config.limits.body_bytes = 1_024);
    assert_eq!(service.post("/api/len", Some(ADMIN), &[b'x'; 1_024]).body, "1024");
    let answer = service.post("/api/len", Some(ADMIN), &[b'x'; 1_025]);
    assert_eq!((answer.status, answer.code().as_str()), (413, "2"));
    // Without its length in the header, it is counted.
    let login = "Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";
    let mut chunked = service.connect();
    chunked.send(
        format!(
            "POST /api/len HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{login}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        .as_bytes(),
    );
    chunked.send(format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800)).as_bytes());
    assert_eq!(chunked.answer().status, 413);
}

#[test]
fn the_answer_to_a_body_that_is_too_long_reaches_who_sends_all_of_it() {
    let service = Service::start();
    // More than lies on the way: who does not read on the other side loses the answer.
    let answer = service.post("/api/len", Some(ADMIN), &vec![b'x'; 12 << 20]);
    assert_eq!((answer.status, answer.code().as_str()), (413, "2"));
    let login = "Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";
    let mut chunked = service.connect();
    chunked.send(
        format!(
            "POST /api/len HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{login}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        .as_bytes(),
    );
    for _ in 0..12 {
        chunked.send(format!("100000\r\n{}\r\n", "x".repeat(1 << 20)).as_bytes());
    }
    chunked.send(b"0\r\n\r\n");
    assert_eq!(chunked.answer().status, 413);
    // Who sends nothing of it is not waited for.
    let mut silent = service.connect();
    silent.send(
        format!(
            "POST /api/len HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{login}\r\nContent-Length: 12000000\r\n\r\n"
        )
        .as_bytes(),
    );
    let mut begin = [0; 12];
    silent.tls.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 413");
}

#[test]
fn a_body_that_takes_too_long_is_not_waited_for() {
    let service = Service::with(|config| config.limits.body_timeout = SHORT);
    let mut slow = service.connect();
    let login = "Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";
    slow.send(
        format!("POST /api/len HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{login}\r\nContent-Length: 9\r\n\r\nx")
            .as_bytes(),
    );
    assert_eq!(slow.answer().status, 408);
}

#[test]
fn nobody_sends_a_body_without_a_login() {
    let service = Service::with(|config| config.limits.body_timeout = LONG);
    let mut nobody = service.connect();
    nobody.send(b"POST /api/len HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(nobody.answer().status, 401);
}

#[test]
fn more_requests_than_allowed_are_told_when_to_come_again() {
    let service = Service::with(|config| config.limits.requests = 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| service.get("/api/wait", Some(ADMIN)));
        service.wait_for_arrival();
        let answer = service.get("/api/who", Some(ADMIN));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        // Whoever watches the service is answered all the same.
        assert_eq!(service.get("/readyz", None).status, 200);
        service.open_gate();
        assert_eq!(waiting.join().unwrap().body, "waited");
    });
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
}

#[test]
fn a_handler_that_panics_is_an_error_500_and_the_service_goes_on() {
    let service = Service::start();
    for _ in 0..3 {
        assert_eq!(service.post("/api/panic", Some(ADMIN), b"").status, 500);
    }
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
}

#[test]
fn what_is_no_request_does_not_take_the_service_down() {
    let service = Service::start();
    let too_many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    for garbage in [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(100_000)),
        format!("GET / HTTP/1.1\r\n{too_many}\r\n"),
        "POST /api/len HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /api/len HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx".to_owned(),
    ] {
        let mut connection = service.connect();
        // It may hang up before all of it is sent.
        let sent = connection.tls.write_all(garbage.as_bytes()).and_then(|()| connection.tls.flush());
        if sent.is_ok() {
            connection.tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
            connection.tls.read_to_end(&mut Vec::new()).unwrap_or_default();
        }
    }
    let mut plain = TcpStream::connect(service.address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(service.connect().ask(&Method::GET, "/api/who", Some(ADMIN.as_bytes()), b"").status, 200);
}
