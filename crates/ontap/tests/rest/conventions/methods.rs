//! Methods and paths (conventions, section 1).

use serde_json::json;
use uuid::Uuid;

use crate::support::{Stage, barbican_body};

#[test]
fn head_is_get_without_its_body() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    for path in [
        "/cluster".to_owned(),
        "/svm/svms".to_owned(),
        format!("/svm/svms/{svm}"),
        "/security/key-managers?fields=*".to_owned(),
    ] {
        let get = stage.api.get(&path);
        let head = stage.api.ask("HEAD", &path).send();
        assert_eq!((head.status, head.text.as_str()), (get.status, ""));
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
    let missing = stage.api.ask("HEAD", &format!("/svm/svms/{}", Uuid::new_v4())).send();
    assert_eq!((missing.status.as_u16(), missing.text.as_str()), (404, ""));
    let refused = stage.api.ask("HEAD", "/svm/svms?colour=red").send();
    assert_eq!((refused.status.as_u16(), refused.text.as_str()), (400, ""));
}

#[test]
fn options_tells_the_methods_of_a_path() {
    let stage = Stage::new();
    for (path, expected) in [
        ("/cluster", "GET, HEAD, OPTIONS"),
        ("/svm/svms", "GET, POST, HEAD, OPTIONS"),
        ("/svm/svms/x", "GET, DELETE, HEAD, OPTIONS"),
        ("/security/barbican-kms", "GET, POST, PATCH, HEAD, OPTIONS"),
        ("/security/barbican-kms/x", "GET, PATCH, HEAD, OPTIONS"),
        ("/security/barbican-kms/x/restore", "POST, OPTIONS"),
        ("/security/key-stores/x/", "GET, PATCH, DELETE, HEAD, OPTIONS"),
        ("/cluster/jobs/x", "GET, PATCH, HEAD, OPTIONS"),
    ] {
        let reply = stage.api.ask("OPTIONS", path).send();
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (200, Some(expected)), "{path}");
    }
}

#[test]
fn another_method_is_405_and_says_which_there_are() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1);
    for (method, path, allowed) in [
        // A Barbican configuration is deleted as a keystore.
        ("DELETE", format!("/security/barbican-kms/{keystore}"), "GET, PATCH, HEAD, OPTIONS"),
        ("DELETE", "/security/barbican-kms".to_owned(), "GET, POST, PATCH, HEAD, OPTIONS"),
        ("PUT", format!("/security/key-stores/{keystore}"), "GET, PATCH, DELETE, HEAD, OPTIONS"),
        ("POST", "/security/key-stores".to_owned(), "GET, PATCH, DELETE, HEAD, OPTIONS"),
        ("GET", format!("/security/barbican-kms/{keystore}/restore"), "POST, OPTIONS"),
        ("PATCH", "/cluster".to_owned(), "GET, HEAD, OPTIONS"),
        ("POST", "/cluster/jobs".to_owned(), "GET, HEAD, OPTIONS"),
        ("BREW", "/cluster".to_owned(), "GET, HEAD, OPTIONS"),
        ("TRACE", "/cluster".to_owned(), "GET, HEAD, OPTIONS"),
    ] {
        let reply = stage.api.ask(method, &path).json(&json!({})).send();
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
        reply.refused(405, 3, "");
    }
    stage.api.get(&format!("/security/key-stores/{keystore}")).ok();
}

#[test]
fn a_slash_at_the_end_changes_nothing() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    stage.api.get("/svm/svms/").ok();
    stage.api.get("/cluster/?fields=name").ok();
    stage.api.get(&format!("/security/barbican-kms/{keystore}/")).ok();
    stage.api.patch(&format!("/security/barbican-kms/{keystore}/?return_timeout=60"), &json!({ "timeout": 12 })).ok();
    let action =
        stage.api.post(&format!("/security/barbican-kms/{keystore}/rekey-internal/?return_timeout=60"), &json!({}));
    let job = action.is(201)["job"]["uuid"].as_str().unwrap().to_owned();
    let described = stage.api.get(&format!("/cluster/jobs/{job}/")).ok()["description"].clone();
    assert_eq!(described, format!("POST /api/security/barbican-kms/{keystore}/rekey-internal"));
    let made = stage.api.post("/security/barbican-kms/", &barbican_body("vs0", "Z"));
    assert!(made.header("location").unwrap().starts_with("/api/security/barbican-kms/"));
    assert!(!made.header("location").unwrap().contains("//"));
}

#[test]
fn a_path_that_is_none_is_404() {
    let stage = Stage::new();
    for path in [
        "/",
        "/x",
        "/svm",
        "/svm/svms/x/y",
        "/security",
        "/security/barbican",
        "/security/barbican-kms/x/y",
        "/security//barbican-kms",
    ] {
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            stage.api.ask(method, path).json(&json!({})).send().refused(404, 4, "");
        }
    }
}

#[test]
fn what_a_path_names_must_be_there() {
    let stage = Stage::new();
    let (svm, _) = stage.own("vs0");
    let uuid = svm.to_string();
    let unlike = [
        Uuid::new_v4().to_string(),
        "x".to_owned(),
        uuid.replace('-', ""),
        format!("{{{uuid}}}"),
        format!("urn:uuid:{uuid}"),
        format!("{uuid}0"),
        "%20".to_owned(),
        "%00".to_owned(),
        "%2F".to_owned(),
    ];
    for collection in [
        "/svm/svms",
        "/security/barbican-kms",
        "/security/key-stores",
        "/security/key-managers",
        "/cluster/jobs",
        "/cluster/nodes",
    ] {
        for uuid in &unlike {
            stage.api.get(&format!("{collection}/{}", uuid.replace('{', "%7B").replace('}', "%7D"))).refused(
                404,
                4,
                "entry doesn't exist",
            );
        }
        let reply = stage.api.get(&format!("{collection}/%FF"));
        reply.refused(404, 4, "entry doesn't exist");
    }
    // The admin SVM is none of the data SVMs.
    stage.api.get(&format!("/svm/svms/{}", stage.admin())).refused(404, 4, "entry doesn't exist");
    stage.api.delete(&format!("/svm/svms/{}", stage.admin())).refused(404, 4, "entry doesn't exist");
}

/// Headers by which some clients name an SVM or themselves change nothing.
#[test]
fn headers_that_are_not_used_are_ignored() {
    let stage = Stage::new();
    stage.svm("vs0");
    let expected = stage.api.get("/svm/svms").ok();
    for (name, value) in [
        ("x-dot-svm-name", "nobody"),
        ("x-dot-svm-uuid", "x"),
        ("x-dot-client-app", "ansible/23.6.0"),
        ("accept-encoding", "gzip"),
        ("content-type", "text/plain"),
    ] {
        assert_eq!(stage.api.ask("GET", "/svm/svms").header(name, value).send().ok(), expected, "{name}");
    }
    let made =
        stage.api.ask("POST", "/svm/svms").header("content-type", "application/hal+json").bytes(r#"{"name":"vs1"}"#);
    made.send().job();
}
