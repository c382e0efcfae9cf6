//! Which of several faults is told (decision 11): the role, the path, the query, the body's shape, then the endpoint's own rules.

use claviger::{ClusterVersion, Fact, Facts};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{CLUSTER, PASSPHRASE, Stage, barbican_body, changed};

#[test]
fn the_path_then_the_query_then_the_body() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1);
    let (unknown, onboard) = (Uuid::new_v4(), stage.onboard());
    let wrong = json!({ "colour": 1 });
    for (path, missing, code) in [
        (format!("/security/barbican-kms/{keystore}"), format!("/security/barbican-kms/{unknown}"), 65_539_832),
        (format!("/security/key-stores/{keystore}"), format!("/security/key-stores/{unknown}"), 4),
        (format!("/security/key-managers/{onboard}"), format!("/security/key-managers/{unknown}"), 4),
    ] {
        stage.api.patch(&format!("{missing}?size=1"), &wrong).refused(404, code, "");
        stage.api.patch(&format!("{path}?size=1"), &wrong).invalid("size");
        stage.api.ask("PATCH", &format!("{path}?size=1")).bytes("{").send().invalid("size");
        stage.api.patch(&path, &wrong).invalid("colour");
        stage.api.get(&format!("{missing}?size=1&fields=x")).refused(404, 4, "");
    }
    stage.api.post("/security/barbican-kms?size=1", &wrong).invalid("size");
    stage.api.post("/security/barbican-kms", &wrong).invalid("colour");
}

/// Each rule of a Barbican create is broken from the last on, so that the first one is told.
#[test]
fn the_rules_of_a_barbican_create() {
    let stage = Stage::new();
    let vs0 = stage.svm("vs0");
    stage.barbican(vs0, "A", 1);
    let post = |body: &Value| stage.api.post("/security/barbican-kms", body);

    let mut body = barbican_body("vs0", "A");
    post(&body).refused(409, 65_539_808, "name");
    body["application_cred_secret"] = json!("");
    post(&body).refused(400, 65_539_805, "");
    body["application_cred_id"] = json!("");
    post(&body).refused(400, 65_539_835, "");
    body["keystone_url"] = json!("http://plain.example/v3");
    post(&body).refused(400, 65_539_811, "");
    body["key_id"] = json!("http://plain.example/v1/secrets/x");
    post(&body).refused(400, 65_539_810, "");
    body["configuration"]["name"] = json!("");
    post(&body).invalid("configuration.name");
    let mut facts = Facts::default();
    let mut with = |change: &dyn Fn(&mut Facts)| {
        change(&mut facts);
        stage.node.set(|now| *now = facts.clone());
    };
    with(&|facts| facts.cluster.version = Fact::Known(ClusterVersion::new(9, 16, 1)));
    post(&body).refused(400, 65_539_806, "");
    with(&|facts| facts.metrocluster.configured = Fact::Known(true));
    post(&body).refused(400, 65_539_809, "");
    body["svm"]["name"] = json!(CLUSTER);
    post(&body).refused(400, 65_539_807, "");
    with(&|facts| facts.licenses.mt_ek_mgmt = Fact::Known(false));
    post(&body).refused(400, 1_115_127, "");
    body["timeout"] = json!("x");
    post(&body).invalid("timeout");
}

#[test]
fn the_rules_of_a_barbican_update() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let path = format!("/security/barbican-kms/{}", stage.barbican(svm, "A", 1));
    let both = |id: &str, secret: &str| json!({ "application_cred_id": id, "application_cred_secret": secret });
    stage.api.patch(&path, &both("", "")).refused(400, 65_539_815, "");
    stage.api.patch(&path, &both("", "x")).refused(400, 65_539_815, "");
    stage.api.patch(&path, &both("x", "")).refused(400, 65_539_814, "");
    stage.api.patch(&path, &json!({ "application_cred_id": "" })).refused(400, 65_539_841, "");
    stage.api.patch(&path, &json!({ "application_cred_secret": "" })).refused(400, 65_539_841, "");
}

/// Errors.json, "precedence_notes": onboard.
#[test]
fn the_rules_of_an_onboard_create() {
    let stage = Stage::new();
    stage.svm("vs0");
    let post = |body: Value| stage.api.post("/security/key-managers", &body);
    let body = json!({ "onboard": { "passphrase": PASSPHRASE } });
    post(body.clone()).refused(409, 65_536_907, "");
    let body = changed(&body, "onboard.passphrase", Some(json!("short")));
    post(body.clone()).refused(400, 65_536_920, "");
    post(json!({ "onboard": { "passphrase": PASSPHRASE, "synchronize": true } })).refused(400, 65_537_246, "");
    let both = json!({ "synchronize": true, "passphrase": PASSPHRASE, "existing_passphrase": PASSPHRASE });
    post(json!({ "onboard": both })).refused(400, 65_537_241, "");
    post(json!({ "onboard": { "synchronize": true, "existing_passphrase": "x" } })).refused(400, 65_537_240, "");
    post(json!({ "svm": { "name": "vs0" }, "onboard": { "synchronize": true } })).refused(400, 65_536_916, "");
    post(changed(&body, "svm", Some(json!({ "name": "vs0" })))).refused(400, 65_536_916, "");
    post(changed(&body, "svm", Some(json!({ "name": CLUSTER })))).refused(400, 65_536_920, "");
}

#[test]
fn the_rules_of_a_passphrase_change() {
    let stage = Stage::new();
    let path = format!("/security/key-managers/{}", stage.onboard());
    let patch = |onboard: Value| stage.api.patch(&path, &json!({ "onboard": onboard }));
    let change = |existing: &str, new: &str| patch(json!({ "existing_passphrase": existing, "passphrase": new }));
    let wrong = "a passphrase that is wrong, whatever its length";
    patch(json!({ "synchronize": true, "passphrase": "x" })).refused(400, 65_537_242, "");
    patch(json!({ "synchronize": true, "passphrase": "x", "existing_passphrase": wrong })).refused(400, 65_537_243, "");
    patch(json!({ "passphrase": PASSPHRASE })).refused(400, 65_536_917, "");
    patch(json!({ "existing_passphrase": wrong })).refused(400, 65_536_917, "");
    change(wrong, "short").refused(400, 65_536_139, "Cluster-wide passphrase is incorrect.");
    change(PASSPHRASE, PASSPHRASE).refused(400, 65_536_150, "The new passphrase is same as old passphrase.");
    change(PASSPHRASE, "short").refused(400, 65_536_404, "32 to 256");
}

/// How a client tests a passphrase: it sends it as both values, of whatever length.
#[test]
fn a_passphrase_is_tested_by_sending_it_twice() {
    let stage = Stage::new();
    let path = format!("/security/key-managers/{}", stage.onboard());
    for wrong in ["", "x", "a passphrase that is wrong, whatever its length", &"x".repeat(500), "ä"] {
        let body = json!({ "onboard": { "existing_passphrase": wrong, "passphrase": wrong } });
        stage.api.patch(&path, &body).refused(400, 65_536_139, "Cluster-wide passphrase is incorrect.");
    }
}
