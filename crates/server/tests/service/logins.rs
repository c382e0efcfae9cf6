//! Who gets in.

use axum::http::Method;
use claviger_server::Accounts;

use crate::support::{ADMIN, LONG, READER, Service, secret};

#[test]
fn nobody_gets_in_without_a_login_and_the_answer_is_ontaps() {
    let service = Service::start();
    let answer = service.get("/api/who", None);
    assert_eq!((answer.status, answer.code().as_str()), (401, "6691623"));
    assert!(answer.header("www-authenticate").unwrap().starts_with("basic realm="));
}

#[test]
fn each_account_gets_in_with_its_role_and_the_password_goes_no_further() {
    let service = Service::start();
    assert_eq!(service.get("/api/who", Some(ADMIN)).body, "admin Admin false");
    assert_eq!(service.get("/api/who", Some(READER)).body, "reader ReadOnly false");
}

#[test]
fn a_wrong_password_and_a_wrong_name_are_refused_alike() {
    let service = Service::start();
    let wrong = service.get("/api/who", Some("admin:incorrect horse"));
    let unknown = service.get("/api/who", Some("nobody:correct horse battery"));
    assert_eq!((wrong.status, unknown.status), (401, 401));
    assert_eq!(wrong.body, unknown.body);
}

#[test]
fn headers_that_are_none_are_refused() {
    let service = Service::start();
    for authorization in ["Bearer x", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "basic  ", "B\u{e4}sic YTpi"] {
        let mut connection = service.connect();
        let head =
            format!("GET /api/who HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: {authorization}\r\n\r\n");
        connection.send(head.as_bytes());
        assert_eq!(connection.answer().status, 401, "{authorization}");
    }
}

#[test]
fn a_password_beyond_ascii_is_taken_in_the_spellings_of_both_kinds_of_clients() {
    let service = Service::start();
    let mut accounts = Accounts::load(&service.data_dir()).unwrap();
    accounts
        .create(
            "jörg".replace('ö', "o").parse().unwrap(),
            claviger_ontap::Role::Admin,
            &secret("schlüßel-öl".as_bytes()),
        )
        .unwrap();
    let ask = |password: &[u8]| {
        let login = [b"jorg:", password].concat();
        service.connect().ask(&Method::GET, "/api/who", Some(&login), b"").status
    };
    assert_eq!(ask("schlüßel-öl".as_bytes()), 200);
    assert_eq!(ask(b"schl\xfc\xdfel-\xf6l"), 200);
    assert_eq!(ask(b"schl\xfc\xdfel-\xf6x"), 401);
}

#[test]
fn failed_logins_make_the_next_ones_wait_and_do_not_keep_out_who_is_in() {
    let service = Service::start();
    // Verified before, it is remembered.
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
    for _ in 0..4 {
        let answer = service.get("/api/who", Some("admin:wrong wrong"));
        assert_eq!((answer.status, answer.header("retry-after")), (401, None));
    }
    let answer = service.get("/api/who", Some("admin:wrong wrong"));
    assert_eq!((answer.status, answer.header("retry-after")), (401, Some("1")));
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
    // Another name from the same place is not meant.
    assert_eq!(service.get("/api/who", Some(READER)).status, 200);
}

#[test]
fn a_login_that_is_left_early_has_failed_all_the_same() {
    let service = Service::start();
    let failed = || service.audit().iter().filter(|line| line["event"] == "login_failed").count();
    let begun = std::time::Instant::now();
    // Of those that leave before anybody has looked, nothing is to be seen: some are early enough to be looked at.
    while failed() < 4 {
        let mut connection = service.connect();
        connection.send_request(&Method::GET, "/api/who", Some(b"admin:wrong wrong"), b"");
        // Gone before its password is checked.
        connection.tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
        connection.rest();
        assert!(begun.elapsed() < LONG / 4, "{} failed logins were written down", failed());
    }
    assert!(service.get("/api/who", Some(ADMIN)).header("retry-after").is_some());
}

#[test]
fn the_right_password_waits_too_where_it_was_not_known() {
    let service = Service::start();
    for _ in 0..4 {
        assert_eq!(service.get("/api/who", Some("admin:wrong wrong")).status, 401);
    }
    let answer = service.get("/api/who", Some(ADMIN));
    assert_eq!((answer.status, answer.header("retry-after")), (401, Some("1")));
}

#[test]
fn a_running_service_notices_changed_accounts_at_once() {
    let service = Service::start();
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
    let mut accounts = Accounts::load(&service.data_dir()).unwrap();
    accounts.set_password(&"admin".parse().unwrap(), &secret(b"another password")).unwrap();
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 401);
    assert_eq!(service.get("/api/who", Some("admin:another password")).status, 200);
    accounts.delete(&"admin".parse().unwrap()).unwrap();
    assert_eq!(service.get("/api/who", Some("admin:another password")).status, 401);
}

#[test]
fn accounts_that_cannot_be_read_let_nobody_in() {
    let service = Service::start();
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
    std::fs::write(service.data_dir().join("accounts.json"), "{").unwrap();
    let answer = service.get("/api/who", Some(ADMIN));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_eq!(service.get("/readyz", None).status, 503);
    assert_eq!(service.get("/healthz", None).status, 200);
}
