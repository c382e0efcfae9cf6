//! Codes of the endpoints that the contract takes from public documentation.

use claviger::{ClusterVersion, Fact};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Reply;
use crate::support::store::Asked;
use crate::support::{LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE, Stage};

fn delete(stage: &Stage, keystore: Uuid) -> Reply {
    stage.api.delete(&format!("/security/key-stores/{keystore}"))
}

fn configure(stage: &Stage, body: &Value) -> Reply {
    stage.api.patch("/security/key-manager-configs", body)
}

/// Common Criteria mode, with a passphrase that is right and long enough.
fn common_criteria(stage: &Stage) -> Reply {
    configure(stage, &json!({ "cc_mode_enabled": true, "passphrase": LONG_PASSPHRASE }))
}

/// An onboard key manager that can be in Common Criteria mode, and is not.
fn with_long_passphrase() -> Stage {
    let stage = Stage::new();
    let body = json!({ "onboard": { "existing_passphrase": PASSPHRASE, "passphrase": LONG_PASSPHRASE } });
    stage.api.patch(&format!("/security/key-managers/{}", stage.onboard()), &body).ok();
    stage
}

/// A rekey that is held in the middle, as the path of its job.
fn rekeying() -> (Stage, crate::support::store::Held, String) {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let held = stage.store.hold(|asked| matches!(asked, Asked::Replace));
    let job = stage.api.post(&format!("/security/barbican-kms/{keystore}/rekey-internal"), &json!({})).job();
    held.reached();
    (stage, held, format!("/cluster/jobs/{job}"))
}

fn act(stage: &Stage, job: &str, action: &str) -> Reply {
    stage.api.patch(&format!("{job}?action={action}"), &json!({}))
}

#[test]
fn code_262155_a_version_without_deletion() {
    let stage = Stage::new();
    let keystore = stage.barbican(stage.svm("vs0"), "A", 1);
    for fact in [Fact::Known(ClusterVersion::new(9, 13, 1)), Fact::Unknown] {
        stage.node.set(|facts| facts.cluster.version = fact);
        delete(&stage, keystore).refused(400, 262_155, "9.14");
    }
    stage.node.set(|facts| facts.cluster.version = Fact::Known(ClusterVersion::new(9, 14, 0)));
    delete(&stage, keystore).ok();
}

#[test]
fn code_65538905_the_enabled_keystore() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    delete(&stage, keystore).refused(409, 65_538_905, "enabled");
}

#[test]
fn code_65538907_the_onboard_keystore() {
    let stage = Stage::new();
    delete(&stage, stage.onboard()).refused(400, 65_538_907, "key-managers");
}

#[test]
fn code_65538908_a_keystore_that_is_none() {
    let stage = Stage::new();
    delete(&stage, Uuid::new_v4()).refused(404, 65_538_908, "No such keystore");
    // What is no UUID names nothing of any kind.
    stage.api.delete("/security/key-stores/x").refused(404, 4, "");
}

#[test]
fn code_65539522_the_onboard_keystore_disabled() {
    let stage = Stage::new();
    let path = format!("/security/key-stores/{}", stage.onboard());
    stage.api.patch(&path, &json!({ "enabled": false })).refused(400, 65_539_522, "admin SVM");
}

#[test]
fn code_65539593_a_deletion_during_a_switch() {
    let stage = Stage::new();
    let (svm, _) = stage.own("vs0");
    let (other, third) = (stage.barbican(svm, "B", 2), stage.barbican(svm, "C", 3));
    let path = format!("/security/key-stores/{other}");
    let begun = stage.begun_and_held(|| stage.api.patch(&path, &json!({ "enabled": true })));
    delete(&stage, third).refused(409, 65_539_593, "");
    drop(begun);
    stage.until_all_ended();
    delete(&stage, third).ok();
}

#[test]
fn code_65536805_a_version_without_common_criteria() {
    let stage = with_long_passphrase();
    for fact in [Fact::Known(ClusterVersion::new(9, 3, 0)), Fact::Unknown] {
        stage.node.set(|facts| facts.cluster.version = fact);
        common_criteria(&stage).refused(400, 65_536_805, "9.4");
    }
}

#[test]
fn code_65536806_a_passphrase_that_is_too_short() {
    let stage = Stage::new();
    let body = json!({ "cc_mode_enabled": true, "passphrase": PASSPHRASE });
    configure(&stage, &body).refused(400, 65_536_806, "length");
    assert_eq!(stage.api.get("/security/key-manager-configs").ok()["cc_mode_enabled"], false);
}

#[test]
fn code_65536807_common_criteria_in_a_metrocluster() {
    let stage = with_long_passphrase();
    for fact in [Fact::Known(true), Fact::Unknown] {
        stage.node.set(|facts| facts.metrocluster.configured = fact);
        common_criteria(&stage).refused(400, 65_536_807, "MetroCluster");
    }
}

#[test]
fn code_65536809_common_criteria_is_disabled() {
    let stage = with_long_passphrase();
    for fact in [Fact::Known(false), Fact::Unknown] {
        stage.node.set(|facts| facts.cluster.common_criteria = Some(fact));
        common_criteria(&stage).refused(409, 65_536_809, "disabled");
    }
    stage.node.set(|facts| facts.cluster.common_criteria = Some(Fact::Known(true)));
    common_criteria(&stage).ok();
    assert_eq!(stage.api.get("/security/key-manager-configs").ok()["cc_mode_enabled"], true);
}

#[test]
fn code_65537301_common_criteria_without_onboard() {
    let stage = Stage::bare();
    common_criteria(&stage).refused(409, 65_537_301, "Onboard");
    // Before the passphrase is asked for (decision 11).
    configure(&stage, &json!({ "cc_mode_enabled": true })).refused(409, 65_537_301, "Onboard");
}

#[test]
fn code_65537302_common_criteria_without_a_passphrase() {
    let stage = with_long_passphrase();
    configure(&stage, &json!({ "cc_mode_enabled": true })).refused(400, 65_537_302, "passphrase");
    let body = json!({ "cc_mode_enabled": true, "passphrase": OTHER_PASSPHRASE });
    configure(&stage, &body).refused(400, 65_536_139, "Cluster-wide passphrase is incorrect.");
}

#[test]
fn code_65537304_polling_without_an_external_key_manager() {
    let stage = Stage::new();
    configure(&stage, &json!({ "health_monitor_polling_interval": 20 })).refused(409, 65_537_304, "external");
    let keystore = stage.barbican(stage.svm("vs0"), "A", 1);
    stage.engine.enable(keystore).unwrap().wait().unwrap();
    configure(&stage, &json!({ "health_monitor_polling_interval": 20 })).ok();
    assert_eq!(stage.api.get("/security/key-manager-configs").ok()["health_monitor_polling_interval"], 20);
}

#[test]
fn code_458762_a_job_that_has_ended() {
    let stage = Stage::new();
    let own = stage.api.post("/svm/svms", &json!({ "name": "vs0" })).job();
    let keystore = stage.barbican(stage.engine.svm_named("vs0").unwrap().id(), "A", 1);
    let engines = stage.api.patch(&format!("/security/key-stores/{keystore}"), &json!({ "enabled": true })).job();
    stage.until_ended(&engines);
    for job in [own, engines] {
        for action in ["pause", "resume", "cancel"] {
            act(&stage, &format!("/cluster/jobs/{job}"), action).refused(409, 458_762, "ended");
        }
    }
}

#[test]
fn code_458771_a_job_that_runs_already() {
    let (stage, held, job) = rekeying();
    act(&stage, &job, "resume").refused(409, 458_771, "running");
    drop(held);
}

#[test]
fn code_458776_a_job_that_does_not_run() {
    let (stage, held, job) = rekeying();
    let left = crate::support::store::copy_of(&stage.store.inner);
    drop(held);
    let stage = stage.restarted_on(left);
    assert_eq!(stage.api.get(&job).ok()["state"], "queued");
    act(&stage, &job, "pause").refused(409, 458_776, "not running");
}

#[test]
fn code_458783_a_job_cannot_be_paused() {
    let (stage, held, job) = rekeying();
    act(&stage, &job, "pause").refused(400, 458_783, "paused");
    drop(held);
}

#[test]
fn code_458784_a_job_cannot_be_cancelled() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    // A change that waits for its keeper has no place to stop at.
    stage.vault.set_silent(true);
    let job = stage.api.patch(&format!("/security/barbican-kms/{keystore}"), &json!({ "timeout": 20 })).job();
    let job = format!("/cluster/jobs/{job}");
    act(&stage, &job, "cancel").refused(400, 458_784, "cancelled");
    act(&stage, &job, "pause").refused(400, 458_783, "paused");
    act(&stage, &job, "resume").refused(409, 458_771, "running");
    stage.vault.set_silent(false);
    stage.until_all_ended();
}
