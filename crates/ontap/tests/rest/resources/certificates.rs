//! Installed certificates.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{CLUSTER, Stage};

/// A certificate that signs itself, and its key, in PEM.
pub(crate) fn certificate(name: &str, is_authority: bool) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn install(stage: &Stage, body: &Value) -> Reply {
    stage.api.post("/security/certificates?return_records=true", body)
}

#[test]
fn an_authority_is_installed_shown_and_deleted() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let (pem, _) = certificate("Lab Root", true);
    let body = json!({ "name": "lab", "type": "server_ca", "public_certificate": pem, "svm": { "name": "vs0" } });
    let made = install(&stage, &body);
    let path = made.header("location").unwrap().to_owned();
    let shown = made.is(201)["records"][0].clone();
    assert_eq!((&shown["name"], &shown["type"], &shown["scope"]), (&json!("lab"), &json!("server_ca"), &json!("svm")));
    assert_eq!((&shown["svm"]["uuid"], &shown["common_name"]), (&json!(svm.to_string()), &json!("Lab Root")));
    let lines = |text: &str| text.lines().map(str::trim).collect::<String>();
    assert_eq!(lines(shown["public_certificate"].as_str().unwrap()), lines(&pem));
    assert_eq!(stage.api.get(&path).ok(), shown);
    assert_eq!(stage.api.delete(&path).ok(), json!({}));
    stage.api.get(&path).refused(404, 4, "entry doesn't exist");
}

#[test]
fn names_are_unique_in_their_scope() {
    let stage = Stage::new();
    stage.svm("vs0");
    let (pem, _) = certificate("Lab Root", true);
    let body = json!({ "name": "lab", "type": "server_ca", "public_certificate": pem });
    install(&stage, &body).is(201);
    assert_eq!(install(&stage, &body).refused(409, 1, "lab").as_deref(), Some("name"));
    let with = |svm: &str| crate::support::changed(&body, "svm", Some(json!({ "name": svm })));
    install(&stage, &with(CLUSTER)).refused(409, 1, "lab");
    install(&stage, &with("vs0")).is(201);
    // One without a name gets one.
    let (pem, _) = certificate("Another Root", true);
    let shown =
        install(&stage, &json!({ "type": "server_ca", "public_certificate": pem })).is(201)["records"][0].clone();
    assert!(!shown["name"].as_str().unwrap().is_empty());
    assert_eq!((&shown["scope"], shown.get("svm")), (&json!("cluster"), None));
}

#[test]
fn a_private_key_comes_with_what_has_one_and_never_back() {
    let stage = Stage::new();
    let (pem, key) = certificate("node.example", false);
    let body = json!({ "type": "client", "public_certificate": pem, "private_key": key });
    let made = install(&stage, &body).is(201);
    for path in
        ["/security/certificates?fields=**", "/security/certificates?fields=private_key,intermediate_certificates"]
    {
        let shown = stage.api.ask("GET", path).accept("application/json").send().ok().to_string();
        assert!(!shown.contains("PRIVATE") && !shown.contains("private_key"), "{shown}");
    }
    assert!(!made.to_string().contains("PRIVATE"));
    let without = crate::support::changed(&body, "private_key", None);
    install(&stage, &without).invalid("private_key");
    let (_, other) = certificate("other.example", false);
    install(&stage, &crate::support::changed(&body, "private_key", Some(json!(other)))).invalid("private_key");
    install(&stage, &crate::support::changed(&body, "private_key", Some(json!("nonsense")))).invalid("private_key");
    let (root, key) = certificate("Root", true);
    install(&stage, &json!({ "type": "server_ca", "public_certificate": root, "private_key": key }))
        .invalid("private_key");
}

#[test]
fn what_is_no_certificate_is_refused() {
    let stage = Stage::new();
    let (pem, _) = certificate("Lab Root", true);
    let body = json!({ "type": "server_ca", "public_certificate": pem });
    let with = |field: &str, value: Value| crate::support::changed(&body, field, Some(value));
    for wrong in [json!(""), json!("nonsense"), json!(format!("{pem}{pem}")), json!(pem.replace("MII", "AAA"))] {
        install(&stage, &with("public_certificate", wrong)).invalid("public_certificate");
    }
    install(&stage, &with("type", json!("x"))).invalid("type");
    install(&stage, &crate::support::changed(&body, "type", None)).invalid("type");
    install(&stage, &with("name", json!(""))).invalid("name");
    install(&stage, &with("scope", json!("svm"))).invalid("svm");
    install(&stage, &with("uuid", json!("x"))).invalid("uuid");
    install(&stage, &with("intermediate_certificates", json!(["x"]))).invalid("intermediate_certificates");
    install(&stage, &with("intermediate_certificates", json!("x"))).invalid("intermediate_certificates");
    install(&stage, &with("svm", json!({ "name": "nobody" }))).refused(404, 4, "SVM \"nobody\" does not exist.");
    // They are installed here, and not made.
    install(&stage, &json!({ "type": "server_ca", "common_name": "x" })).refused(400, 3, "installed");
    let (leaf, _) = certificate("leaf.example", false);
    install(&stage, &with("public_certificate", json!(leaf))).invalid("public_certificate");
    assert_eq!(stage.api.get("/security/certificates").ok()["num_records"], 0);
}

#[test]
fn certificates_are_found_and_deleted_by_filter() {
    let stage = Stage::new();
    for name in ["a", "b", "c"] {
        let (pem, _) = certificate(&format!("Root {name}"), true);
        install(&stage, &json!({ "name": name, "type": "server_ca", "public_certificate": pem })).is(201);
    }
    let names =
        |query: &str| stage.api.column(&format!("/security/certificates?order_by=name&{query}"), "/name").join(" ");
    assert_eq!(names("common_name=Root%20b"), "b");
    assert_eq!(names("type=server_ca&scope=cluster&svm.name=null"), "a b c");
    assert_eq!(names("expiry_time=>2026-01-01T00:00:00Z".replace('>', "%3E").as_str()), "a b c");
    assert_eq!(stage.api.delete("/security/certificates?name=a|b").is(200)["num_records"], 2);
    assert_eq!(names(""), "c");
}
