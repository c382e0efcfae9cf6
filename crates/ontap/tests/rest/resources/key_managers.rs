//! Key managers: the onboard one, and the actions on all.

use serde_json::json;
use uuid::Uuid;

use crate::support::{CLUSTER, OTHER_PASSPHRASE, PASSPHRASE, Stage};

#[test]
fn the_life_of_an_onboard_key_manager() {
    let stage = Stage::bare();
    let body = json!({ "onboard": { "passphrase": PASSPHRASE }, "svm": { "name": CLUSTER }, "scope": "cluster" });
    let made = stage.api.post("/security/key-managers", &body);
    let path = made.header("location").unwrap().to_owned();
    assert_eq!(made.is(201), json!({}));
    let change = json!({ "onboard": { "existing_passphrase": PASSPHRASE, "passphrase": OTHER_PASSPHRASE } });
    assert_eq!(stage.api.patch(&path, &change).ok(), json!({}));
    let test = json!({ "onboard": { "existing_passphrase": OTHER_PASSPHRASE, "passphrase": OTHER_PASSPHRASE } });
    stage.api.patch(&path, &test).refused(400, 65_536_150, "The new passphrase is same as old passphrase.");
    assert_eq!(stage.api.ask("DELETE", &path).json(&json!({})).send().ok(), json!({}));
    stage.api.get(&path).refused(404, 4, "entry doesn't exist");
    stage.api.post("/security/key-managers", &body).is(201);
}

#[test]
fn a_key_manager_of_another_kind_is_not_made() {
    let stage = Stage::bare();
    let external = json!({ "external": { "servers": [{ "server": "10.1.1.1" }] } });
    stage.api.post("/security/key-managers", &external).refused(400, 3, "key servers");
    for body in [json!({}), json!({ "policy": "x" }), json!({ "scope": "cluster" })] {
        stage.api.post("/security/key-managers", &body).invalid("onboard");
    }
    let onboard = json!({ "onboard": { "passphrase": PASSPHRASE } });
    stage.api.post("/security/key-managers?create_inactive=true", &onboard).refused(400, 3, "enabled");
    stage.api.post("/security/key-managers?create_inactive=x", &onboard).invalid("create_inactive");
    stage.api.post("/security/key-managers?create_inactive=False", &onboard).is(201);
}

#[test]
fn whether_new_volumes_are_encrypted_where_nobody_says_so() {
    let stage = Stage::new();
    stage.svm("vs0");
    let path = format!("/security/key-managers/{}", stage.onboard());
    let name = "is_default_data_at_rest_encryption_disabled";
    let is_encrypted = |volume: &str| {
        let body = json!({ "name": volume, "svm": { "name": "vs0" } });
        let location = stage.api.post("/storage/volumes", &body).header("location").unwrap().to_owned();
        stage.api.get(&location).ok()["encryption"]["enabled"].as_bool().unwrap()
    };
    assert_eq!(stage.api.get(&path).ok()[name], false);
    assert!(is_encrypted("vol1"));
    stage.api.patch(&path, &json!({ name: true })).ok();
    assert_eq!(stage.api.get(&path).ok()[name], true);
    assert!(!is_encrypted("vol2"));
    let stage = stage.restarted();
    assert_eq!(stage.api.get(&path).ok()[name], true);
}

#[test]
fn a_scope_is_taken_and_does_not_change() {
    let stage = Stage::new();
    let path = format!("/security/key-managers/{}", stage.onboard());
    stage.api.patch(&path, &json!({ "scope": "cluster" })).ok();
    stage.api.patch(&path, &json!({ "scope": "svm" })).invalid("scope");
    stage.api.patch(&format!("{path}?validate_certificates=true"), &json!({ "scope": "cluster" })).ok();
    stage
        .api
        .patch(&format!("{path}?validate_certificates=x"), &json!({ "scope": "cluster" }))
        .invalid("validate_certificates");
}

#[test]
fn a_migration_has_a_source_and_a_destination() {
    let stage = Stage::new();
    let (svm, a) = stage.own("vs0");
    let (b, onboard) = (stage.barbican(svm, "B", 2), stage.onboard());
    let migrate = |from: String, body: serde_json::Value| {
        stage.api.post(&format!("/security/key-managers/{from}/migrate?return_timeout=60"), &body)
    };
    migrate(Uuid::new_v4().to_string(), json!({ "uuid": a })).refused(404, 4, "entry doesn't exist");
    migrate("x".to_owned(), json!({ "uuid": a })).refused(404, 4, "entry doesn't exist");
    migrate(a.to_string(), json!({})).invalid("uuid");
    migrate(a.to_string(), json!({ "uuid": "x" })).invalid("uuid");
    assert_eq!(migrate(a.to_string(), json!({ "uuid": Uuid::new_v4() })).refused(404, 4, "").as_deref(), Some("uuid"));
    migrate(a.to_string(), json!({ "uuid": b })).invalid("uuid");
    migrate(onboard.to_string(), json!({ "uuid": onboard })).invalid("uuid");
    // It is there already.
    migrate(onboard.to_string(), json!({ "uuid": a })).invalid("uuid");
    // The one that is not enabled is no destination.
    migrate(onboard.to_string(), json!({ "uuid": b })).invalid("uuid");
    migrate(a.to_string(), json!({ "uuid": onboard })).is(201);
    migrate(onboard.to_string(), json!({ "uuid": a })).is(201);
}

#[test]
fn a_restore_of_one_key_manager_or_of_the_clusters() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let stage = stage.restarted();
    let node = stage.node_uuid();
    let restore = |of: String, body: serde_json::Value| {
        stage.api.post(&format!("/security/key-managers/{of}/restore?return_timeout=60"), &body)
    };
    restore(keystore.to_string(), json!({ "node": { "uuid": Uuid::new_v4() } })).refused(404, 4, "node");
    restore(keystore.to_string(), json!({ "node": { "name": "nobody" } })).refused(404, 4, "node");
    restore(Uuid::new_v4().to_string(), json!({})).refused(404, 4, "entry doesn't exist");
    assert_eq!(stage.api.get(&format!("/security/key-stores/{keystore}")).ok()["state"], "blocked");
    restore(keystore.to_string(), json!({ "node": { "uuid": node } })).is(201);
    assert_eq!(stage.api.get(&format!("/security/key-stores/{keystore}")).ok()["state"], "active");
    restore(stage.onboard().to_string(), json!({})).is(201);
    // The contract's other fields are taken.
    restore(keystore.to_string(), json!({ "key_id": "x", "key_server": "x", "key_tag": "x" })).is(201);
}

#[test]
fn the_clusters_name_means_the_admin_svm() {
    let stage = Stage::new();
    let cluster = stage.api.get("/cluster").ok()["name"].as_str().unwrap().to_owned();
    for path in ["/security/key-managers", "/security/key-stores?type=okm"] {
        let with = |filter: &str| format!("{path}{}{filter}", if path.contains('?') { '&' } else { '?' });
        assert_eq!(stage.api.get(&with(&format!("svm.name={cluster}"))).ok()["num_records"], 1);
        stage.api.get(&with("svm.name=nobody")).refused(404, 4, "SVM \"nobody\" does not exist");
    }
}
