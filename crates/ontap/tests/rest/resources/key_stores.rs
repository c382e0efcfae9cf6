//! Keystores: enabled, switched between, disabled, deleted.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Reply;
use crate::support::{Stage, barbican_body};

fn enabled(stage: &Stage, keystore: Uuid, enabled: bool) -> Reply {
    stage.api.patch(&format!("/security/key-stores/{keystore}?return_timeout=60"), &json!({ "enabled": enabled }))
}

fn show(stage: &Stage, keystore: Uuid) -> Value {
    stage.api.get(&format!("/security/key-stores/{keystore}")).ok()
}

#[test]
fn a_configuration_is_one_object_under_two_paths() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let location = stage.api.post("/security/barbican-kms", &barbican_body("vs0", "A"));
    let uuid = location.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    let shown = stage.api.ask("GET", &format!("/security/key-stores/{uuid}")).accept("application/json").send().ok();
    let expected = json!({
        "uuid": uuid, "configuration": { "name": "A", "uuid": uuid }, "enabled": false, "type": "barbican",
        "location": "external", "is_svm_kek": true, "scope": "svm",
        "svm": { "uuid": svm.to_string(), "name": "vs0" },
    });
    assert_eq!(shown, expected);
    stage.api.delete(&format!("/security/key-stores/{uuid}")).ok();
    stage.api.get(&format!("/security/barbican-kms/{uuid}")).refused(404, 4, "entry doesn't exist");
}

/// Enabling leaves keys where they are (decision 1); `migrate` moves them.
#[test]
fn enabled_mixed_migrated_switched_and_disabled() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    stage.key(svm, 1);
    let (a, b) = (stage.barbican(svm, "A", 1), stage.barbican(svm, "B", 2));
    assert_eq!(show(&stage, a).get("state"), None);
    enabled(&stage, a, true).ok();
    let shown = show(&stage, a);
    assert_eq!((&shown["enabled"], &shown["state"]), (&json!(true), &json!("mixed")));

    let onboard = stage.onboard();
    let migrate = |from: Uuid, to: Uuid| {
        stage.api.post(&format!("/security/key-managers/{from}/migrate?return_timeout=60"), &json!({ "uuid": to }))
    };
    migrate(onboard, a).is(201);
    assert_eq!(show(&stage, a)["state"], "active");
    enabled(&stage, b, true).ok();
    assert_eq!((show(&stage, a)["enabled"].clone(), show(&stage, b)["state"].clone()), (json!(false), json!("active")));
    assert_eq!(show(&stage, a).get("state"), None);
    // The SVM's and the admin SVM's UUIDs stand for their key managers.
    migrate(svm.uuid(), stage.admin().uuid()).is(201);
    assert_eq!(show(&stage, b)["state"], "mixed");
    enabled(&stage, b, false).ok();
    let shown = show(&stage, b);
    assert_eq!((&shown["enabled"], shown.get("state")), (&json!(false), None));
    stage.engine.open_key(svm, crate::support::volume(1)).unwrap();
}

#[test]
fn what_is_so_already_is_done() {
    let stage = Stage::new();
    let (svm, a) = stage.own("vs0");
    let b = stage.barbican(svm, "B", 2);
    enabled(&stage, a, true).ok();
    enabled(&stage, b, false).ok();
    enabled(&stage, stage.onboard(), true).ok();
    assert_eq!(show(&stage, a)["state"], "active");
}

#[test]
fn the_scope_is_taken_and_does_not_change() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let path = format!("/security/key-stores/{keystore}?return_timeout=60");
    stage.api.patch(&path, &json!({ "enabled": true, "scope": "svm" })).ok();
    stage.api.patch(&path, &json!({ "enabled": true, "scope": "cluster" })).invalid("scope");
    stage.api.patch(&path, &json!({ "enabled": null })).invalid("enabled");
    stage.api.patch(&path, &json!({ "enabled": "yes" })).invalid("enabled");
}

#[test]
fn a_keeper_that_refuses_makes_a_keystore_blocked_and_keys_go_on() {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    stage.vault.revoke(crate::support::CREDENTIALS[0]);
    let path = format!("/security/barbican-kms/{keystore}");
    stage.api.post(&format!("{path}/restore?return_timeout=60"), &json!({})).refused(500, 65_539_842, "");
    assert_eq!(show(&stage, keystore)["state"], "blocked");
    // It is in memory all the same (decision 3).
    assert_eq!(stage.api.get(&format!("{path}?fields=state")).ok()["state"]["cluster_state"], true);
    stage.key(svm, 50);
    stage.engine.open_key(svm, crate::support::volume(0)).unwrap();
}

#[test]
fn states_while_something_is_under_way() {
    let stage = Stage::new();
    let (svm, a) = stage.own("vs0");
    let b = stage.barbican(svm, "B", 2);
    let path = format!("/security/key-stores/{b}");
    let held = stage.begun_and_held(|| stage.api.patch(&path, &json!({ "enabled": true })));
    assert_eq!(show(&stage, a)["state"], "switching");
    drop(held);
    stage.until_all_ended();
    let path = format!("/security/barbican-kms/{b}/rekey-internal");
    let held = stage.begun_and_held(|| stage.api.post(&path, &json!({})));
    assert_eq!(show(&stage, b)["state"], "svm_kek_rekey");
    drop(held);
    stage.until_all_ended();
    assert_eq!(show(&stage, b)["state"], "active");
}
