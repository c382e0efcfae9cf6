//! Bodies: what is taken, and what is refused before anything is done (conventions, section 6).

use serde_json::{Value, json};

use crate::support::{Stage, barbican_body, changed};

fn stage() -> Stage {
    let stage = Stage::new();
    stage.svm("vs0");
    stage
}

#[test]
fn what_is_no_json_object_is_refused() {
    let stage = stage();
    let long = format!("{{\"name\":\"{}", "x".repeat(5_000));
    for body in [
        "{",
        "}",
        "nonsense",
        "{\"name\":}",
        "{\"name\":\"x\",}",
        "{'name':'x'}",
        "{}{}",
        "[]",
        "[{}]",
        "1",
        "null",
        "\"x\"",
        "true",
        &long,
    ] {
        let reply = stage.api.ask("POST", "/svm/svms").bytes(body.to_owned()).send();
        assert_eq!(reply.refused(400, 2, "body"), None, "{body}");
    }
    for bytes in [&b"{\"name\":\"\xff\"}"[..], b"\xff\xfe{\x00}\x00", b"{\"name\":\"\x00\"}", b"\x00"] {
        stage.api.ask("POST", "/svm/svms").bytes(bytes.to_vec()).send().refused(400, 2, "JSON");
    }
    assert_eq!(stage.api.get("/svm/svms").ok()["num_records"], 1);
}

#[test]
fn a_body_that_is_no_json_is_not_quoted() {
    let stage = stage();
    let body = "{\"application_cred_secret\": \"Vb3-unquoted-Xy9\" oops";
    let reply = stage.api.ask("POST", "/security/barbican-kms").bytes(body).send();
    assert!(!reply.text.contains("unquoted"), "{}", reply.text);
    reply.refused(400, 2, "line 1");
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let stage = stage();
    let body = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    stage.api.ask("POST", "/svm/svms").bytes(body).send().refused(413, 2, "larger");
    let deep = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    stage.api.ask("POST", "/svm/svms").bytes(deep).send().refused(400, 2, "");
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(100), "]".repeat(100));
    stage.api.ask("POST", "/svm/svms").bytes(deep).send().invalid("name");
}

#[test]
fn each_field_has_its_type() {
    let stage = stage();
    let body = barbican_body("vs0", "A");
    let (text, number, flag) = (json!("x"), json!(5), json!(true));
    let (list, object, fraction) = (json!(["x"]), json!({ "x": 1 }), json!(1.5));
    for field in [
        "key_id",
        "keystone_url",
        "application_cred_id",
        "application_cred_secret",
        "proxy_host",
        "proxy_username",
        "proxy_password",
    ] {
        for wrong in [&number, &flag, &list, &object] {
            let reply = stage.api.post("/security/barbican-kms", &changed(&body, field, Some(wrong.clone())));
            reply.invalid(field);
        }
    }
    for field in ["proxy_port", "timeout"] {
        for wrong in [&text, &flag, &list, &object, &fraction, &json!("5"), &json!(u64::MAX)] {
            stage.api.post("/security/barbican-kms", &changed(&body, field, Some(wrong.clone()))).invalid(field);
        }
    }
    for field in ["verify", "verify_host"] {
        for wrong in [&text, &number, &list, &object, &json!("true")] {
            stage.api.post("/security/barbican-kms", &changed(&body, field, Some(wrong.clone()))).invalid(field);
        }
    }
    for wrong in [json!("ftp"), json!(""), json!("HTTPS"), number.clone(), flag.clone()] {
        stage.api.post("/security/barbican-kms", &changed(&body, "proxy_type", Some(wrong))).invalid("proxy_type");
    }
    for wrong in [text, number, flag, list] {
        stage.api.post("/security/barbican-kms", &changed(&body, "svm", Some(wrong.clone()))).invalid("svm");
        stage
            .api
            .post("/security/barbican-kms", &changed(&body, "configuration", Some(wrong)))
            .invalid("configuration");
    }
    assert_eq!(stage.api.get("/security/barbican-kms").ok()["num_records"], 0);
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let stage = stage();
    let body = barbican_body("vs0", "A");
    for (path, target) in [
        ("colour", "colour"),
        ("svm.colour", "svm.colour"),
        ("configuration.colour", "configuration.colour"),
        ("Name", "Name"),
    ] {
        stage.api.post("/security/barbican-kms", &changed(&body, path, Some(json!(null)))).invalid(target);
        stage.api.post("/security/barbican-kms", &changed(&body, path, Some(json!({ "x": 1 })))).invalid(target);
    }
    stage.api.post("/svm/svms", &json!({ "name": "vs1", "svm.name": "x" })).invalid("svm.name");
}

/// Read-only fields are refused in POST and PATCH alike (decision 9).
#[test]
fn fields_that_are_only_read_are_refused_by_name() {
    let stage = stage();
    let svm = stage.engine.svm_named("vs0").unwrap().id();
    let keystore = stage.barbican(svm, "B", 1);
    let body = barbican_body("vs0", "A");
    let read_only = [
        ("uuid", json!("x")),
        ("enabled", json!(true)),
        ("scope", json!("svm")),
        ("state", json!({ "code": "0" })),
        ("barbican_reachability", json!({ "code": "0" })),
        ("_links", json!({ "self": { "href": "/" } })),
    ];
    for (field, value) in &read_only {
        for reply in [
            stage.api.post("/security/barbican-kms", &changed(&body, field, Some(value.clone()))),
            stage.api.patch(&format!("/security/barbican-kms/{keystore}"), &json!({ *field: value })),
        ] {
            let target = reply.refused(400, 2, "").unwrap();
            assert!(target == *field || target.starts_with(&format!("{field}.")), "{target}");
        }
    }
    // What a POST alone can give.
    for (field, value) in [
        ("svm", json!({ "name": "vs0" })),
        ("configuration", json!({ "name": "x" })),
        ("key_id", json!("https://x/v1/secrets/1")),
        ("keystone_url", json!("https://x/v3")),
    ] {
        let reply = stage.api.patch(&format!("/security/barbican-kms/{keystore}"), &json!({ field: value }));
        let target = reply.refused(400, 2, "").unwrap();
        assert!(target == field || target.starts_with(&format!("{field}.")), "{target}");
    }
    let onboard = stage.onboard();
    for (field, value) in [
        ("status", json!({ "code": 1 })),
        ("uuid", json!("x")),
        ("volume_encryption", json!({ "code": 0 })),
        ("svm", json!({ "uuid": "x" })),
    ] {
        let reply = stage.api.patch(&format!("/security/key-managers/{onboard}"), &json!({ field: value }));
        let target = reply.refused(400, 2, "").unwrap();
        assert!(target == field || target.starts_with(&format!("{field}.")), "{target}");
    }
    for field in ["uuid", "type", "state", "location", "is_svm_kek"] {
        let reply = stage.api.patch(&format!("/security/key-stores/{keystore}"), &json!({ field: "x" }));
        assert_eq!(reply.refused(400, 2, "").as_deref(), Some(field));
    }
}

#[test]
fn null_clears_or_is_as_good_as_absent() {
    let stage = stage();
    let mut body = barbican_body("vs0", "A");
    for field in [
        "proxy_type",
        "proxy_host",
        "proxy_port",
        "proxy_username",
        "proxy_password",
        "verify",
        "verify_host",
        "timeout",
    ] {
        body[field] = Value::Null;
    }
    let made = stage.api.post("/security/barbican-kms?return_timeout=9&return_records=true", &body).is(201);
    let made = &made["records"][0];
    assert_eq!((&made["timeout"], &made["verify"], &made["proxy_host"]), (&json!(10), &json!(true), &json!("")));
    for (field, code) in [
        ("key_id", 65_539_810),
        ("keystone_url", 65_539_811),
        ("application_cred_id", 65_539_835),
        ("application_cred_secret", 65_539_805),
    ] {
        stage.api.post("/security/barbican-kms", &changed(&body, field, Some(Value::Null))).refused(400, code, "");
    }
    // PATCH with null takes a proxy away.
    let path = format!("/security/barbican-kms/{}", made["uuid"].as_str().unwrap());
    let proxy = json!({ "proxy_host": "proxy.example", "proxy_port": 3128, "proxy_type": "http" });
    stage.api.patch(&format!("{path}?return_timeout=60"), &proxy).ok();
    assert_eq!(stage.api.get(&path).ok()["proxy_host"], "proxy.example");
    stage.api.patch(&format!("{path}?return_timeout=60"), &json!({ "proxy_host": null })).ok();
    let shown = stage.api.get(&path).ok();
    assert_eq!(
        (&shown["proxy_host"], &shown["proxy_port"], &shown["proxy_type"]),
        (&json!(""), &json!(0), &json!("https"))
    );
}

#[test]
fn a_patch_changes_only_what_it_names() {
    let stage = stage();
    let path =
        stage.api.post("/security/barbican-kms", &barbican_body("vs0", "A")).header("location").unwrap().to_owned();
    let mut expected = stage.api.get(&path).ok();
    let wait = format!("{path}?return_timeout=60");
    stage.api.patch(&wait, &json!({ "timeout": 77 })).ok();
    expected["timeout"] = 77.into();
    assert_eq!(stage.api.get(&path).ok(), expected);
    stage.api.patch(&wait, &json!({ "verify_host": false })).ok();
    expected["verify_host"] = false.into();
    assert_eq!(stage.api.get(&path).ok(), expected);
    stage.api.patch(&wait, &json!({ "proxy_host": "p", "proxy_port": 1 })).ok();
    expected["proxy_host"] = "p".into();
    expected["proxy_port"] = 1.into();
    assert_eq!(stage.api.get(&path).ok(), expected);
    stage.api.patch(&wait, &json!({ "proxy_port": 2 })).ok();
    expected["proxy_port"] = 2.into();
    assert_eq!(stage.api.get(&path).ok(), expected);
}

#[test]
fn references_by_name_by_uuid_or_both_where_they_agree() {
    let stage = stage();
    let svm = stage.engine.svm_named("vs0").unwrap().id().to_string();
    let other = stage.svm("vs1").to_string();
    let body = |name: &str, svm: Value| changed(&barbican_body("vs0", name), "svm", Some(svm));
    let post = |name: &str, svm: Value| stage.api.post("/security/barbican-kms?return_timeout=9", &body(name, svm));
    post("A", json!({ "uuid": svm })).is(201);
    post("B", json!({ "name": "vs0", "uuid": svm })).is(201);
    post("C", json!({ "name": "vs0", "uuid": null })).is(201);
    post("D", json!({ "name": "vs0", "uuid": other })).refused(400, 2, "different");
    post("D", json!({})).invalid("svm");
    post("D", json!(null)).invalid("svm");
    post("D", json!({ "name": "nobody" })).refused(404, 4, "SVM \"nobody\" does not exist.");
    post("D", json!({ "uuid": uuid::Uuid::new_v4() })).refused(404, 4, "does not exist");
    let target = post("D", json!({ "uuid": "x" })).refused(400, 2, "UUID");
    assert_eq!(target.as_deref(), Some("svm.uuid"));
}

#[test]
fn names_are_unique_and_must_be_names() {
    let stage = stage();
    stage.api.post("/svm/svms", &json!({ "name": "vs0" })).refused(409, 1, "vs0");
    for wrong in ["", "9a", "a b", "a/b", "ä", &"a".repeat(48)] {
        stage.api.post("/svm/svms", &json!({ "name": wrong })).invalid("name");
    }
    stage.api.post("/svm/svms", &json!({})).invalid("name");
    stage.api.post("/svm/svms", &json!({ "name": null })).invalid("name");
    // The cluster's name is the admin SVM's.
    stage.api.post("/svm/svms", &json!({ "name": crate::support::CLUSTER })).refused(409, 1, "");
}
