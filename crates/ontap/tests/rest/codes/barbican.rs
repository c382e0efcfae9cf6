//! Codes of the Barbican endpoints.

use claviger::faults::Answers;
use claviger::{
    Arena, ArenaError, ArenaOptions, ClusterVersion, Fact, KeyMemory, Protection, SecretBytes, SvmId, Table,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Reply;
use crate::support::random::without_random;
use crate::support::store::{Asked, delete};
use crate::support::{CLUSTER, CREDENTIAL_SECRET, CREDENTIALS, Stage, barbican_body, changed, forge, secret, volume};

/// An SVM with three keys under a keystore of its own.
fn own() -> (Stage, SvmId, Uuid) {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    (stage, svm, keystore)
}

/// An SVM with a key whose KEK the cluster's keystore keeps, and a keystore of its own that is not enabled.
fn not_enabled() -> (Stage, SvmId, Uuid) {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    stage.key(svm, 1);
    let keystore = stage.barbican(svm, "A", 1);
    (stage, svm, keystore)
}

/// The same, enabled.
fn mixed() -> (Stage, SvmId, Uuid) {
    let (stage, svm, keystore) = not_enabled();
    stage.engine.enable(keystore).unwrap().wait().unwrap();
    (stage, svm, keystore)
}

fn rekey(stage: &Stage, keystore: Uuid) -> Reply {
    stage.api.post(&format!("/security/barbican-kms/{keystore}/rekey-internal?return_timeout=60"), &json!({}))
}

fn restore(stage: &Stage, keystore: Uuid) -> Reply {
    stage.api.post(&format!("/security/barbican-kms/{keystore}/restore?return_timeout=60"), &json!({}))
}

fn enable(stage: &Stage, keystore: Uuid) -> Reply {
    stage.api.patch(&format!("/security/key-stores/{keystore}?return_timeout=60"), &json!({ "enabled": true }))
}

fn update(stage: &Stage, keystore: Uuid, body: &Value) -> Reply {
    stage.api.patch(&format!("/security/barbican-kms/{keystore}?return_timeout=60"), body)
}

fn create(stage: &Stage, body: &Value) -> Reply {
    stage.api.post("/security/barbican-kms", body)
}

/// A create that lacks nothing but what the test takes away.
fn creating() -> (Stage, Value) {
    let stage = Stage::new();
    stage.svm("vs0");
    (stage, barbican_body("vs0", "A"))
}

/// A rekey after the byte at `at` of one key's record was changed.
fn rekey_with_damage(at: usize) -> Reply {
    let (stage, svm, keystore) = own();
    forge::damage_key(&stage.store.inner, svm, volume(1), at);
    rekey(&stage, keystore)
}

/// The same code as an answer and at the end of a job.
#[track_caller]
fn also_ends_a_job(stage: &Stage, reply: Reply, code: u32) {
    let ended = stage.ended(reply);
    assert_eq!((&ended["state"], &ended["code"]), (&json!("failure"), &json!(code)), "{ended}");
}

#[test]
fn code_1115127_no_licence() {
    let (stage, body) = creating();
    for fact in [Fact::Known(false), Fact::Unknown] {
        stage.node.set(|facts| facts.licenses.mt_ek_mgmt = fact);
        create(&stage, &body).refused(400, 1_115_127, "MT_EK_MGMT");
    }
    stage.node.ordinary();
    create(&stage, &body).job();
}

#[test]
fn code_65536205_no_random_bytes_for_a_kek() {
    let (stage, _, keystore) = own();
    without_random(|| rekey(&stage, keystore)).refused(500, 65_536_205, "could not be generated");
    rekey(&stage, keystore).is(201);
}

#[test]
fn code_65536883_a_volume_without_its_key() {
    let (stage, svm, keystore) = own();
    let made = stage.api.post(
        "/storage/volumes",
        &json!({
            "name": "vol1", "svm": { "name": "vs0" }, "encryption": { "enabled": true },
        }),
    );
    let location = made.header("location").unwrap().to_owned();
    let uuid: Uuid = location.rsplit('/').next().unwrap().parse().unwrap();
    rekey(&stage, keystore).is(201);
    delete(&stage.store.inner, Table::Keys, &forge::store_key(svm, claviger::ObjectRef::Volume(uuid)));
    rekey(&stage, keystore).refused(500, 65_536_883, "missing");
}

#[test]
fn code_65536884_a_key_of_another_place_or_kek() {
    // `docs/formats.md`, key blob: the SVM, and the KEK.
    rekey_with_damage(8).refused(500, 65_536_884, "not valid");
    rekey_with_damage(48).refused(500, 65_536_884, "not valid");
}

#[test]
fn code_65536889_a_record_that_is_no_blob() {
    rekey_with_damage(0).refused(500, 65_536_889, "invalid encryption blob");
}

#[test]
fn code_65537533_a_kek_that_does_not_open() {
    let (stage, svm, keystore) = own();
    forge::damage_kek(&stage.store.inner, svm);
    let stage = stage.restarted();
    restore(&stage, keystore).refused(500, 65_539_842, "");
    rekey(&stage, keystore).refused(500, 65_537_533, "could not be unwrapped");
}

#[test]
fn code_65537547_keys_that_the_cluster_keeps() {
    let (stage, _, keystore) = mixed();
    rekey(&stage, keystore).refused(409, 65_537_547, "migrate");
    let path = format!("/security/key-managers/{}/migrate?return_timeout=60", stage.onboard());
    stage.api.post(&path, &json!({ "uuid": keystore })).is(201);
    rekey(&stage, keystore).is(201);
}

#[test]
fn code_65537551_a_kek_that_is_not_in_memory() {
    let (stage, _, keystore) = own();
    let stage = stage.restarted();
    let shown = stage.api.get(&format!("/security/barbican-kms/{keystore}?fields=state")).ok();
    assert_eq!((&shown["state"]["cluster_state"], &shown["state"]["code"]), (&json!(false), &json!("65537551")));
    let message = shown["state"]["message"].as_str().unwrap();
    assert!(
        message.contains("not available") && message.contains("Node: ") && message.contains("Reason: "),
        "{message}"
    );
    restore(&stage, keystore).is(201);
    let shown = stage.api.get(&format!("/security/barbican-kms/{keystore}?fields=state")).ok();
    assert_eq!(shown["state"], json!({ "cluster_state": true, "code": "0", "message": "" }));
    // Before the first key there is none.
    let other = stage.barbican(stage.svm("vs1"), "A", 1);
    enable(&stage, other).ok();
    let shown = stage.api.get(&format!("/security/barbican-kms/{other}?fields=state")).ok();
    assert_eq!(shown["state"]["code"], "65537551");
    assert!(shown["state"]["message"].as_str().unwrap().contains("No volumes created yet for the SVM."));
}

#[test]
fn code_65537556_a_keeper_that_refuses() {
    let (stage, _, keystore) = not_enabled();
    stage.vault.revoke(CREDENTIALS[0]);
    enable(&stage, keystore).refused(500, 65_537_556, "");
    also_ends_a_job(
        &stage,
        stage.api.patch(&format!("/security/key-stores/{keystore}"), &json!({ "enabled": true })),
        65_537_556,
    );
    stage.vault.allow(CREDENTIALS[0], CREDENTIAL_SECRET.as_bytes());
    stage.vault.delete(&secret(1));
    enable(&stage, keystore).refused(500, 65_537_556, "");

    // A rekey while the KEK is not in memory, and while the last contact was a refusal (decision 3).
    let (stage, _, keystore) = own();
    stage.vault.revoke(CREDENTIALS[0]);
    rekey(&stage, keystore).refused(500, 65_537_556, "");
    let stage = stage.restarted();
    rekey(&stage, keystore).refused(500, 65_537_556, "");
}

#[test]
fn code_65537559_no_keys_yet() {
    let stage = Stage::new();
    let keystore = stage.barbican(stage.svm("vs0"), "A", 1);
    enable(&stage, keystore).ok();
    rekey(&stage, keystore).refused(409, 65_537_559, "");
    let path = format!("/security/key-managers/{}/migrate", stage.onboard());
    stage.api.post(&path, &json!({ "uuid": keystore })).refused(409, 65_537_559, "");
}

#[test]
fn code_65537565_a_key_that_cannot_be_written() {
    let (stage, _, keystore) = own();
    stage.store.refuse(|asked| matches!(asked, Asked::Replace));
    rekey(&stage, keystore).refused(500, 65_537_565, "could not be updated");
}

#[test]
fn code_65537610_a_switch_that_is_not_done() {
    let (stage, svm, keystore) = own();
    let other = stage.barbican(svm, "B", 2);
    let path = format!("/security/key-stores/{other}");
    let begun = stage.begun_and_held(|| stage.api.patch(&path, &json!({ "enabled": true })));
    rekey(&stage, keystore).refused(409, 65_537_610, "switch");
    drop(begun);
}

#[test]
fn code_65539201_no_room_in_key_memory() {
    let (stage, _, keystore) = own();
    let own = Arena::new(&ArenaOptions { keys: 256, states: 256, accept: Protection::Unlocked }).unwrap();
    let stage = stage.restarted_in(KeyMemory::Shared(own.clone()));
    restore(&stage, keystore).is(201);
    let fill = |len| -> Vec<SecretBytes> { std::iter::from_fn(|| own.bytes(len).ok()).collect() };
    let (keys, states) = (fill(64), fill(1_024));
    assert!(matches!(own.bytes(64), Err(ArenaError::Full { .. })));
    rekey(&stage, keystore).refused(500, 65_539_201, "Encrypt");
    drop((keys, states));
    rekey(&stage, keystore).is(201);
}

#[test]
fn code_65539202_a_key_that_is_damaged() {
    rekey_with_damage(80).refused(500, 65_539_202, "Decrypt");
}

#[test]
fn code_65539223_an_update_that_is_tried_in_vain() {
    let (stage, _, keystore) = own();
    let body = json!({ "application_cred_id": "stranger", "application_cred_secret": "Wq8-not-known" });
    update(&stage, keystore, &body).refused(500, 65_539_223, "health check");
    stage.vault.set_away(true);
    update(&stage, keystore, &json!({ "timeout": 20 })).refused(500, 65_539_223, "health check");
    stage.vault.set_away(false);
    // What was tried in vain is not in force.
    let shown = stage.api.get(&format!("/security/barbican-kms/{keystore}")).ok();
    assert_eq!((&shown["timeout"], &shown["application_cred_id"]), (&json!(10), &json!(CREDENTIALS[0])));
    let path = format!("/security/barbican-kms/{keystore}");
    stage.vault.set_away(true);
    also_ends_a_job(&stage, stage.api.patch(&path, &json!({ "timeout": 20 })), 65_539_223);
}

#[test]
fn code_65539416_a_keeper_that_cannot_be_understood() {
    let (stage, _, keystore) = not_enabled();
    stage.keepers.answer(Answers::Unreadably);
    enable(&stage, keystore).refused(500, 65_539_416, "could not be parsed");
}

#[test]
fn code_65539436_a_keystore_that_is_being_enabled() {
    let (stage, _, keystore) = not_enabled();
    let path = format!("/security/key-stores/{keystore}");
    let begun = stage.begun_and_held(|| stage.api.patch(&path, &json!({ "enabled": true })));
    rekey(&stage, keystore).refused(409, 65_539_436, "initializing");
    drop(begun);
}

#[test]
fn code_65539437_a_keystore_that_is_being_disabled() {
    let (stage, _, keystore) = mixed();
    let path = format!("/security/key-stores/{keystore}");
    let begun = stage.begun_and_held(|| stage.api.patch(&path, &json!({ "enabled": false })));
    rekey(&stage, keystore).refused(409, 65_539_437, "disabled");
    drop(begun);
}

#[test]
fn code_65539801_barbican_is_not_reached() {
    let (stage, _, keystore) = not_enabled();
    let reachability = |stage: &Stage| {
        stage.api.get(&format!("/security/barbican-kms/{keystore}?fields=barbican_reachability")).ok()
            ["barbican_reachability"].clone()
    };
    assert_eq!(reachability(&stage), json!({ "reachable": true, "code": "0", "message": "" }));
    stage.vault.set_away(true);
    let away = reachability(&stage);
    assert_eq!((&away["reachable"], &away["code"]), (&json!(false), &json!("65539801")));
    assert!(away["message"].as_str().unwrap().contains("not reachable from all nodes - "), "{away}");
    enable(&stage, keystore).refused(500, 65_539_801, "cannot be reached");
    also_ends_a_job(
        &stage,
        stage.api.patch(&format!("/security/key-stores/{keystore}"), &json!({ "enabled": true })),
        65_539_801,
    );
}

#[test]
fn code_65539805_a_create_without_a_secret() {
    let (stage, body) = creating();
    for value in [None, Some(json!("")), Some(json!(null))] {
        let body = changed(&body, "application_cred_secret", value);
        let target = create(&stage, &body).refused(400, 65_539_805, "application_cred_secret");
        assert_eq!(target.as_deref(), Some("application_cred_secret"));
    }
}

#[test]
fn code_65539806_a_version_without_barbican() {
    let (stage, body) = creating();
    for fact in [Fact::Known(ClusterVersion::new(9, 16, 1)), Fact::Unknown] {
        stage.node.set(|facts| facts.cluster.version = fact);
        create(&stage, &body).refused(400, 65_539_806, "9.17");
    }
    stage.node.set(|facts| facts.cluster.version = Fact::Known(ClusterVersion::new(9, 17, 0)));
    create(&stage, &body).job();
}

#[test]
fn code_65539807_a_barbican_for_the_admin_svm() {
    let (stage, body) = creating();
    create(&stage, &changed(&body, "svm.name", Some(json!(CLUSTER)))).refused(400, 65_539_807, "admin SVM");
    let svm = json!({ "uuid": stage.admin().to_string() });
    create(&stage, &changed(&body, "svm", Some(svm))).refused(400, 65_539_807, "admin SVM");
}

#[test]
fn code_65539808_a_name_that_is_taken() {
    let (stage, body) = creating();
    create(&stage, &body).job();
    let target = create(&stage, &body).refused(409, 65_539_808, "exists already");
    assert_eq!(target.as_deref(), Some("configuration.name"));
    // It is another SVM's to use.
    stage.svm("vs1");
    create(&stage, &barbican_body("vs1", "A")).job();
}

#[test]
fn code_65539809_a_metrocluster() {
    let (stage, body) = creating();
    for fact in [Fact::Known(true), Fact::Unknown] {
        stage.node.set(|facts| facts.metrocluster.configured = fact);
        create(&stage, &body).refused(400, 65_539_809, "MetroCluster");
    }
}

#[test]
fn code_65539810_a_create_without_a_key() {
    let (stage, body) = creating();
    for value in
        [None, Some(json!("")), Some(json!("x")), Some(json!("http://x/v1/secrets/1")), Some(json!("https://"))]
    {
        let target = create(&stage, &changed(&body, "key_id", value)).refused(400, 65_539_810, "https");
        assert_eq!(target.as_deref(), Some("key_id"));
    }
}

#[test]
fn code_65539811_a_create_without_a_keystone() {
    let (stage, body) = creating();
    for value in [None, Some(json!("")), Some(json!("x")), Some(json!("http://x:5000/v3")), Some(json!("ftp://x/v3"))] {
        let target = create(&stage, &changed(&body, "keystone_url", value)).refused(400, 65_539_811, "https");
        assert_eq!(target.as_deref(), Some("keystone_url"));
    }
}

#[test]
fn code_65539814_an_update_with_an_empty_secret() {
    let (stage, _, keystore) = own();
    let body = json!({ "application_cred_id": "x", "application_cred_secret": "" });
    update(&stage, keystore, &body).refused(400, 65_539_814, "application_cred_secret");
}

#[test]
fn code_65539815_an_update_with_an_empty_id() {
    let (stage, _, keystore) = own();
    for secret in ["x", ""] {
        let body = json!({ "application_cred_id": "", "application_cred_secret": secret });
        update(&stage, keystore, &body).refused(400, 65_539_815, "application_cred_id");
    }
}

#[test]
fn code_65539817_an_action_on_what_is_no_barbican() {
    let (stage, svm, _) = own();
    for uuid in [Uuid::new_v4(), stage.onboard(), svm.uuid(), Uuid::nil()] {
        rekey(&stage, uuid).refused(404, 65_539_817, "not configured");
        restore(&stage, uuid).refused(404, 65_539_817, "not configured");
    }
}

#[test]
fn code_65539832_an_update_of_what_is_no_barbican() {
    let (stage, _, _) = own();
    for uuid in [Uuid::new_v4(), stage.onboard()] {
        update(&stage, uuid, &json!({ "timeout": 5 })).refused(404, 65_539_832, "No Barbican configuration");
        update(&stage, uuid, &json!({})).refused(404, 65_539_832, "No Barbican configuration");
    }
}

#[test]
fn code_65539835_a_create_without_an_id() {
    let (stage, body) = creating();
    for value in [None, Some(json!("")), Some(json!(null))] {
        let target = create(&stage, &changed(&body, "application_cred_id", value)).refused(400, 65_539_835, "");
        assert_eq!(target.as_deref(), Some("application_cred_id"));
    }
}

#[test]
fn code_65539836_no_keystore_is_enabled() {
    let (stage, _, keystore) = not_enabled();
    rekey(&stage, keystore).refused(409, 65_539_836, "");
}

#[test]
fn code_65539841_half_a_credential() {
    let (stage, _, keystore) = own();
    update(&stage, keystore, &json!({ "application_cred_id": "x" })).refused(400, 65_539_841, "together");
    update(&stage, keystore, &json!({ "application_cred_secret": "Wq8-not-known" }))
        .refused(400, 65_539_841, "together");
}

#[test]
fn code_65539842_a_restore_that_gets_nothing() {
    let (stage, _, keystore) = own();
    stage.vault.set_away(true);
    restore(&stage, keystore).refused(500, 65_539_842, "could not be restored");
    let path = format!("/security/barbican-kms/{keystore}/restore");
    also_ends_a_job(&stage, stage.api.post(&path, &json!({})), 65_539_842);
    stage.vault.set_away(false);
    stage.vault.delete(&secret(1));
    restore(&stage, keystore).refused(500, 65_539_842, "could not be restored");
}

#[test]
fn code_65539844_a_keeper_that_gives_another_kek_back() {
    let (stage, _, keystore) = own();
    stage.keepers.answer(Answers::WithAnotherKek);
    rekey(&stage, keystore).refused(500, 65_539_844, "could not be imported");
    stage.keepers.answer(Answers::Rightly);
    rekey(&stage, keystore).is(201);
}
