//! What answers look like: the contract's fields, and the types and values that the official client insists on (conventions, section 9).

use std::collections::BTreeMap;

use claviger::{Fact, KeyAlgorithm, ObjectRef};
use claviger_ontap::openapi;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{LONG_PASSPHRASE, PASSPHRASE, Stage};

/// The contract's fields.
const CONTRACT: &str = include_str!("../contract/fields.txt");

/// A line of it.
struct Field {
    resource: &'static str,
    path: &'static str,
    kind: &'static str,
    shown: &'static str,
    post: bool,
    patch: bool,
    values: Option<Vec<&'static str>>,
}

fn contract() -> Vec<Field> {
    let line = |line: &'static str| match line.split(' ').collect::<Vec<_>>().as_slice() {
        [resource, path, kind, shown, post, patch, values] => Field {
            resource,
            path,
            kind,
            shown,
            post: *post == "yes",
            patch: *patch == "yes",
            values: Some(values.split('|').collect()).filter(|_| *values != "-"),
        },
        other => panic!("{other:?}"),
    };
    CONTRACT.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

/// Where each resource is.
fn collections() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("barbican", "/security/barbican-kms"),
        ("security_key_manager", "/security/key-managers"),
        ("security_keystore", "/security/key-stores"),
        ("security_certificate", "/security/certificates"),
        ("job", "/cluster/jobs"),
        ("svm", "/svm/svms"),
        ("node", "/cluster/nodes"),
        ("key_manager_config", "/security/key-manager-configs"),
        ("key_manager_keys", "/security/key-managers/{uuid}/keys/{node.uuid}/key-ids"),
    ])
}

/// The member of a described object, through objects and lists.
fn described<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(schema, |at, name| {
        let object = if at["type"] == "array" { &at["items"] } else { at };
        object["properties"].get(name)
    })
}

/// The description of a request's body: that of the collection, or of an instance.
fn body<'a>(document: &'a Value, path: &str, method: &str) -> Option<&'a Value> {
    let of =
        |path: &str| document["paths"].get(path)?.get(method)?.pointer("/requestBody/content/application~1json/schema");
    of(path).or_else(|| of(&format!("{path}/{{uuid}}")))
}

#[test]
fn the_fields_of_the_contract_are_there_with_their_types() {
    let document = openapi();
    let mut wrong = Vec::new();
    for Field { resource, path, kind, shown, post, patch, values } in contract() {
        let schema = &document["components"]["schemas"][resource];
        let found = described(schema, path);
        match (shown, found) {
            ("never", Some(_)) => wrong.push(format!("{resource} {path} is shown")),
            ("never", None) => {}
            (_, None) => wrong.push(format!("{resource} {path} is missing")),
            (_, Some(found)) => {
                if found["type"] != kind {
                    wrong.push(format!("{resource} {path} is {} and not {kind}", found["type"]));
                }
                let known = found.get("enum").and_then(Value::as_array);
                if let (Some(values), Some(known)) = (&values, known) {
                    let strange: Vec<_> = known.iter().filter(|one| !values.contains(&one.as_str().unwrap())).collect();
                    if !strange.is_empty() {
                        wrong.push(format!("{resource} {path} can be {strange:?}"));
                    }
                }
            }
        }
        let collection = collections()[resource];
        for (method, may) in [("post", post), ("patch", patch)] {
            let taken = body(&document, collection, method).is_some_and(|body| described(body, path).is_some());
            if taken != may {
                wrong
                    .push(format!("{resource} {path}: {method} {}", if may { "does not take it" } else { "takes it" }));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A client may name every field that it knows, also where nothing has it.
#[test]
fn every_field_of_the_contract_can_be_asked_for() {
    let stage = everything();
    let (onboard, node) = (stage.onboard(), stage.node_uuid());
    for Field { resource, path, shown, .. } in contract() {
        let collection = collections()[resource].replace("{uuid}", &onboard.to_string()).replace("{node.uuid}", &node);
        let reply = stage.api.get(&format!("{collection}?fields={path}"));
        assert_eq!(reply.status.as_u16(), 200, "{resource} {path}: {}", reply.text);
        if resource == "key_manager_config" {
            continue;
        }
        let filtered = stage.api.get(&format!("{collection}?{path}=null"));
        match shown {
            "never" => filtered.invalid(path),
            _ => assert_eq!(filtered.status.as_u16(), 200, "{resource} {path}: {}", filtered.text),
        }
    }
}

/// A cluster with something of every kind.
fn everything() -> Stage {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    stage.barbican(svm, "B", 2);
    let proxy =
        json!({ "proxy_host": "proxy.example", "proxy_port": 3128, "proxy_username": "me", "proxy_password": "x" });
    stage.api.patch(&format!("/security/barbican-kms/{keystore}?return_timeout=60"), &proxy).ok();
    let second = stage.svm("vs1");
    stage.key(second, 9);
    stage.engine.begin_rotation(second, crate::support::volume(9)).unwrap();
    stage.engine.create_key(stage.admin(), ObjectRef::Drive(Uuid::from_u128(7)), KeyAlgorithm::Aes256).unwrap();
    stage.engine.create_key(second, ObjectRef::Aggregate(Uuid::from_u128(8)), KeyAlgorithm::XtsAes256).unwrap();
    for (name, enabled) in [("vol1", true), ("vol2", false)] {
        let body = json!({
            "name": name, "svm": { "name": "vs1" }, "size": 1_024, "type": "rw",
            "aggregates": [{ "name": "aggr1" }], "encryption": { "enabled": enabled },
        });
        stage.api.post("/storage/volumes?return_timeout=15", &body).is(201);
    }
    stage.api.post(&format!("/security/barbican-kms/{keystore}/rekey-internal?return_timeout=60"), &json!({})).is(201);
    stage.vault.set_away(true);
    stage.ended(stage.api.post(&format!("/security/barbican-kms/{keystore}/restore"), &json!({})));
    stage.ended(stage.api.patch(&format!("/security/barbican-kms/{keystore}"), &json!({ "timeout": 5 })));
    stage
}

/// Checks a value against its description; members that it does not describe are links.
fn check(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let is_it = match schema["type"].as_str() {
        Some("object") => match value.as_object() {
            Some(members) => {
                for (name, value) in members.iter().filter(|(name, _)| *name != "_links") {
                    match schema["properties"].get(name) {
                        Some(schema) => check(value, schema, &format!("{at}.{name}"), wrong),
                        None => wrong.push(format!("{at}.{name} is not described")),
                    }
                }
                true
            }
            None => false,
        },
        Some("array") => match value.as_array() {
            Some(items) => {
                items.iter().for_each(|item| check(item, &schema["items"], &format!("{at}[]"), wrong));
                true
            }
            None => false,
        },
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("string") => value.as_str().is_some_and(|text| is_right(text, schema, at)),
        _ => false,
    };
    if !is_it {
        wrong.push(format!("{at} is {value}"));
    }
}

/// Whether a text is what its description and its name promise.
fn is_right(text: &str, schema: &Value, at: &str) -> bool {
    let values = schema.get("enum").and_then(Value::as_array);
    let is_time = schema["format"] == "date-time";
    let is_uuid = at.ends_with(".uuid") && !at.contains("job");
    values.is_none_or(|values| values.iter().any(|value| value == text))
        && (!is_time || (text.len() == 25 && text.ends_with("+00:00") && text.parse::<jiff::Timestamp>().is_ok()))
        && (!is_uuid || text.parse::<Uuid>().is_ok_and(|uuid| uuid.to_string() == text))
}

#[test]
fn answers_are_what_the_document_says() {
    let stage = everything();
    let document = openapi();
    let (onboard, node) = (stage.onboard(), stage.node_uuid());
    let keystore = stage.api.column("/security/barbican-kms", "/uuid").remove(0);
    let paths = document["paths"].as_object().unwrap();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, methods) in paths
        .iter()
        .filter(|(path, _)| !path.contains("azure") && !path.contains("key-servers") && !path.contains("auth-keys"))
    {
        let Some(answer) = methods.pointer("/get/responses/200/content/application~1json/schema") else { continue };
        for key_manager in [onboard.to_string(), keystore.clone()] {
            let filled = path
                .replace("key-managers/{uuid}/keys/{node.uuid}", &format!("key-managers/{key_manager}/keys/{node}"));
            if filled.contains('{') {
                continue;
            }
            let shown = stage.api.get(&format!("{filled}?fields=**")).ok();
            match shown.get("records").and_then(Value::as_array) {
                None => check(&shown, resolved(&document, answer), &filled, &mut wrong),
                Some(records) => {
                    assert_eq!(shown["num_records"], records.len(), "{filled}");
                    let schema = resolved(&document, &answer["properties"]["records"]["items"]);
                    for record in records {
                        seen += 1;
                        check(record, schema, &filled, &mut wrong);
                        let itself = record.pointer("/_links/self/href").and_then(Value::as_str);
                        if let Some(href) = itself {
                            check(&stage.api.get(&format!("{href}?fields=**")).ok(), schema, href, &mut wrong);
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 30, "{seen} records are few");
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

#[test]
fn a_barbican_configuration_as_the_contract_prints_it() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1).to_string();
    let shown =
        stage.api.ask("GET", &format!("/security/barbican-kms/{keystore}")).accept("application/json").send().ok();
    assert_eq!(
        shown,
        json!({
            "uuid": keystore,
            "configuration": { "name": "A", "uuid": keystore },
            "svm": { "uuid": svm.to_string(), "name": "vs0" },
            "scope": "svm",
            "enabled": false,
            "key_id": crate::support::secret(1),
            "keystone_url": crate::support::KEYSTONE,
            "application_cred_id": crate::support::CREDENTIALS[0],
            "proxy_type": "https",
            "proxy_host": "",
            "proxy_port": 0,
            "proxy_username": "",
            "verify": true,
            "verify_host": true,
            "timeout": 10,
        })
    );
}

#[test]
fn the_cluster_and_its_version() {
    let stage = Stage::bare();
    let shown = stage.api.get("/cluster").ok();
    assert_eq!(shown["name"], crate::support::CLUSTER);
    let version = &shown["version"];
    assert_eq!((&version["generation"], &version["major"], &version["minor"]), (&json!(9), &json!(17), &json!(1)));
    assert!(version["full"].as_str().unwrap().starts_with("NetApp Release 9.17.1"), "{version}");
    stage.node.set(|facts| facts.cluster.version = Fact::Unknown);
    assert_eq!(stage.api.get("/cluster").ok().get("version"), None);
}

#[test]
fn an_onboard_key_manager() {
    let stage = Stage::bare();
    let made = stage
        .api
        .post("/security/key-managers?return_records=true", &json!({ "onboard": { "passphrase": PASSPHRASE } }));
    let location = made.header("location").unwrap().to_owned();
    assert_eq!(made.is(201)["num_records"], 1);
    let shown = stage.api.get(&format!("{location}?fields=**")).ok();
    assert_eq!((&shown["scope"], &shown["onboard"]["enabled"]), (&json!("cluster"), &json!(true)));
    assert_eq!(shown["volume_encryption"], json!({ "supported": true, "code": 0, "message": "" }));
    assert_eq!(shown["status"], json!({ "code": 65_537_200, "message": "No action needed at this time." }));
    assert!(shown["onboard"]["key_backup"].as_str().unwrap().len() > 100);
    assert!(shown.get("external").is_none() && shown.get("svm").is_none(), "{shown}");
    stage.node.set(|facts| {
        facts.cluster.nodes_without_volume_encryption = Fact::Known(vec!["n1".to_owned(), "n2".to_owned()]);
    });
    let shown = stage.api.get(&location).ok();
    assert_eq!(
        (&shown["volume_encryption"]["supported"], &shown["volume_encryption"]["code"]),
        (&json!(false), &json!(65_536_935))
    );
    assert!(shown["volume_encryption"]["message"].as_str().unwrap().contains("n1, n2"), "{shown}");
}

#[test]
fn a_key_manager_that_waits_for_its_passphrase_is_shown() {
    let stage = Stage::common_criteria();
    stage.key(stage.svm("vs0"), 1);
    let stage = stage.restarted();
    let path = format!("/security/key-stores/{}", stage.onboard());
    assert_eq!(stage.api.get(&path).ok()["state"], "blocked");
    let path = format!("/security/key-managers/{}", stage.onboard());
    stage.api.get(&format!("{path}?fields=**")).ok();
    let body = json!({ "onboard": { "synchronize": true, "existing_passphrase": LONG_PASSPHRASE } });
    stage.api.patch(&path, &body).ok();
    let path = format!("/security/key-stores/{}", stage.onboard());
    assert_eq!(stage.api.get(&path).ok()["state"], "active");
}
