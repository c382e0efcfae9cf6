//! What is written down.

use axum::http::Method;
use claviger_server::{audit_file, verify_audit};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde_json::Value;
use std::os::fd::AsRawFd as _;

use crate::support::{ADMIN, READER, Service};

fn of_event<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn a_change_is_written_down_before_and_after_with_what_the_handler_says_of_it() {
    let service = Service::start();
    assert_eq!(service.post("/api/change/vs0?secret=hunter22", Some(ADMIN), b"{\"p\":\"hunter22\"}").status, 201);
    let lines = service.audit();
    let (request, result) = (of_event(&lines, "request"), of_event(&lines, "result"));
    let ([request], [result]) = (&request[..], &result[..]) else { panic!("{lines:?}") };
    assert_eq!((&request["who"], &request["what"]), (&"admin".into(), &"POST /api/change/vs0".into()));
    assert_eq!((&result["what"], &result["status"]), (&"a change".into(), &201.into()));
    assert_eq!(result["arguments"]["size"], 4);
    assert_eq!(request["request"], result["request"]);
    assert!(request["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    let text = std::fs::read_to_string(audit_file(&service.data_dir())).unwrap();
    assert!(!text.contains("hunter22") && !text.contains("correct horse"), "{text}");
}

#[test]
fn a_change_without_more_to_say_is_written_down_by_its_path_and_reading_is_not() {
    let service = Service::start();
    service.post("/api/panic", Some(ADMIN), b"");
    service.ask(Method::HEAD, "/api/who", Some(ADMIN), b"");
    service.get("/api/who", Some(READER));
    service.ask(Method::DELETE, "/api/nowhere", Some(READER), b"");
    let lines = service.audit();
    let results: Vec<_> = of_event(&lines, "result")
        .iter()
        .map(|line| (line["who"].as_str().unwrap(), line["what"].as_str().unwrap(), line["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(results, [("admin", "POST /api/panic", 500), ("reader", "DELETE /api/nowhere", 404)]);
    // Who may only read changes nothing: what came of it is enough.
    assert_eq!(of_event(&lines, "request").len(), 1);
}

#[test]
fn who_may_only_read_does_not_fill_the_disk() {
    let service = Service::start();
    for _ in 0..30 {
        service.post("/api/long", Some(READER), b"");
    }
    let lines = service.audit();
    assert_eq!((of_event(&lines, "request").len(), of_event(&lines, "result").len()), (0, 20));
    service.post("/api/long", Some(ADMIN), b"");
    let text = std::fs::read_to_string(audit_file(&service.data_dir())).unwrap();
    assert!(text.lines().all(|line| line.len() < 32 * 1024) && text.contains("POST /api/long"), "{}", text.len());
}

#[test]
fn failed_logins_are_written_down_without_their_passwords() {
    let service = Service::start();
    service.get("/api/who", Some("mallory:hunter22"));
    let lines = service.audit();
    assert_eq!(of_event(&lines, "login_failed")[0]["who"], "mallory");
    assert!(!lines.iter().any(|line| line.to_string().contains("hunter22")));
}

#[test]
fn the_chain_goes_on_over_restarts_and_breaks_where_a_line_was_changed() {
    let mut service = Service::start();
    service.post("/api/change/a", Some(ADMIN), b"");
    service.server.take().unwrap().stop();
    let dir = service.dir;
    let mut service = Service::in_dir(dir, |_| {});
    service.post("/api/change/b", Some(ADMIN), b"");
    service.server.take().unwrap().stop();
    let path = audit_file(&service.data_dir());
    let report = verify_audit(&path, None, |_| {}).unwrap();
    assert_eq!((report.entries, report.interrupted, report.bad), (8, 0, None));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("/api/change/a", "/api/change/x", 1)).unwrap();
    let bad = verify_audit(&path, None, |_| {}).unwrap().bad.unwrap();
    assert_eq!(bad.to_string(), "line 2 is not as it was written: its hash is another line's");
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    // A file that can be made to refuse what is written to it.
    let file = memfd_create("audit", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let service = Service::in_dir(dir, |config| {
        let path = audit_file(&config.data_dir);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(format!("/proc/self/fd/{}", file.as_raw_fd()), path).unwrap();
    });
    assert_eq!(service.post("/api/change/a", Some(ADMIN), b"").status, 201);
    fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
    let answer = service.post("/api/change/b", Some(ADMIN), b"");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_eq!(service.get("/api/who", Some(ADMIN)).status, 200);
    assert_eq!(service.get("/readyz", None).status, 503);
    assert!(service.get("/metrics", Some(ADMIN)).body.contains("claviger_audit_failures_total 1"));
}
