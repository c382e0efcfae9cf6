//! Codes of the key managers: onboard.

use claviger::{Fact, Facts, KeyAlgorithm, ObjectRef, PartnerKeyManager, Table};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Reply;
use crate::support::random::without_random;
use crate::support::store::{Asked, put};
use crate::support::{LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE, Stage, volume};

/// 31, 32, 63, 64, 256 or 257 characters.
fn of_length(len: usize) -> String {
    "passphrase ".chars().cycle().take(len).collect()
}

fn create(stage: &Stage, onboard: &Value) -> Reply {
    stage.api.post("/security/key-managers", &json!({ "onboard": onboard }))
}

fn patch(stage: &Stage, body: &Value) -> Reply {
    stage.api.patch(&format!("/security/key-managers/{}", stage.onboard()), body)
}

fn change(stage: &Stage, existing: &str, new: &str) -> Reply {
    patch(stage, &json!({ "onboard": { "existing_passphrase": existing, "passphrase": new } }))
}

fn delete(stage: &Stage) -> Reply {
    stage.api.delete(&format!("/security/key-managers/{}", stage.onboard()))
}

/// Both values of a fact that refuse it are refused, and the ordinary one is not.
#[track_caller]
fn refuses<T>(set: fn(&mut Facts, T), values: [T; 2], ask: impl Fn(&Stage) -> Reply, stage: &Stage, error: (u16, u32)) {
    for value in values {
        stage.node.set(|facts| set(facts, value));
        ask(stage).refused(error.0, error.1, "");
    }
    stage.node.ordinary();
}

/// An SVM whose KEK the cluster's key manager keeps, and that has no keys any more.
fn with_an_unused_kek() -> Stage {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    stage.key(svm, 1);
    stage.engine.delete_key(svm, volume(1)).unwrap();
    stage
}

#[test]
fn code_65536139_a_wrong_passphrase() {
    let stage = Stage::new();
    change(&stage, OTHER_PASSPHRASE, LONG_PASSPHRASE).refused(400, 65_536_139, "Cluster-wide passphrase is incorrect.");
    let synchronize = json!({ "onboard": { "synchronize": true, "existing_passphrase": OTHER_PASSPHRASE } });
    patch(&Stage::new(), &synchronize).refused(400, 65_536_139, "Cluster-wide passphrase is incorrect.");
    let right = json!({ "onboard": { "synchronize": true, "existing_passphrase": PASSPHRASE } });
    patch(&Stage::new(), &right).ok();
}

#[test]
fn code_65536150_the_same_passphrase() {
    let stage = Stage::new();
    change(&stage, PASSPHRASE, PASSPHRASE).refused(400, 65_536_150, "The new passphrase is same as old passphrase.");
}

#[test]
fn code_65536208_a_kek_that_is_not_dropped() {
    let stage = with_an_unused_kek();
    stage.store.refuse(|asked| asked.deletes(Table::Keks));
    delete(&stage).refused(500, 65_536_208, "could not be deleted");
}

#[test]
fn code_65536214_no_random_bytes_for_the_ckek() {
    let stage = Stage::bare();
    without_random(|| create(&stage, &json!({ "passphrase": PASSPHRASE }))).refused(500, 65_536_214, "generated");
    create(&stage, &json!({ "passphrase": PASSPHRASE })).is(201);
}

#[test]
fn code_65536216_a_key_manager_that_cannot_be_written() {
    let stage = Stage::bare();
    stage.store.refuse(|asked| asked.puts(Table::Keystores));
    create(&stage, &json!({ "passphrase": PASSPHRASE })).refused(500, 65_536_216, "stored");
}

#[test]
fn code_65536233_a_key_manager_that_is_not_deleted() {
    let stage = Stage::new();
    stage.store.refuse(|asked| asked.deletes(Table::Keystores));
    delete(&stage).refused(500, 65_536_233, "");
}

#[test]
fn code_65536239_encrypted_volumes() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    stage.key(svm, 1);
    delete(&stage).refused(409, 65_536_239, "Encrypted volumes");
    stage.engine.delete_key(svm, volume(1)).unwrap();
    delete(&stage).ok();
    assert_eq!(stage.api.get("/security/key-managers").ok()["num_records"], 0);
}

#[test]
fn code_65536242_drives_with_keys() {
    let stage = Stage::new();
    stage.node.set(|facts| facts.storage.drives_with_keys = Fact::Known(1));
    delete(&stage).refused(409, 65_536_242, "drives");
    // A drive's key that is registered counts by itself.
    let stage = Stage::new();
    let drive = ObjectRef::Drive(Uuid::from_u128(1));
    stage.engine.create_key(stage.admin(), drive, KeyAlgorithm::Aes256).unwrap();
    delete(&stage).refused(409, 65_536_242, "drives");
}

#[test]
fn code_65536310_a_partner_that_is_not_well() {
    let stage = Stage::bare();
    let set = |facts: &mut Facts, healthy| {
        facts.metrocluster.configured = Fact::Known(true);
        facts.metrocluster.partner_healthy = healthy;
    };
    let ask = |stage: &Stage| create(stage, &json!({ "passphrase": PASSPHRASE }));
    refuses(set, [Fact::Known(false), Fact::Unknown], ask, &stage, (409, 65_536_310));
    ask(&stage).is(201);
}

#[test]
fn code_65536404_a_passphrase_of_a_wrong_length() {
    let stage = Stage::new();
    for len in [0, 1, 31, 257, 5_000] {
        let target = change(&stage, PASSPHRASE, &of_length(len)).refused(400, 65_536_404, "32 to 256 ASCII");
        assert_eq!(target.as_deref(), Some("onboard.passphrase"), "{len}");
    }
    let not_ascii = format!("{}ä", of_length(40));
    change(&stage, PASSPHRASE, &not_ascii).refused(400, 65_536_404, "ASCII");
    change(&stage, PASSPHRASE, &of_length(32)).ok();
    change(&stage, &of_length(32), &of_length(256)).ok();
}

#[test]
fn code_65536406_a_passphrase_that_cannot_be_written() {
    let stage = Stage::new();
    stage.store.refuse(|asked| asked.puts(Table::Keystores));
    change(&stage, PASSPHRASE, OTHER_PASSPHRASE).refused(500, 65_536_406, "failed");
    // The old one is in force.
    let stage = stage.restarted();
    change(&stage, PASSPHRASE, OTHER_PASSPHRASE).ok();
}

#[test]
fn code_65536508_no_platform_encryption() {
    let stage = Stage::bare();
    let set = |facts: &mut Facts, value| facts.cluster.platform_encryption = value;
    let ask = |stage: &Stage| create(stage, &json!({ "passphrase": PASSPHRASE }));
    refuses(set, [Fact::Known(false), Fact::Unknown], ask, &stage, (400, 65_536_508));
}

#[test]
fn code_65536800_keys_that_cannot_be_looked_up() {
    let stage = with_an_unused_kek();
    let svm = stage.engine.svm_named("vs0").unwrap().id();
    put(&stage.store.inner, Table::Keks, svm.as_bytes(), b"no record");
    let stage = stage.restarted();
    delete(&stage).refused(500, 65_536_800, "looked up");
}

#[test]
fn code_65536802_a_passphrase_of_a_wrong_length_in_common_criteria_mode() {
    let stage = Stage::common_criteria();
    for len in [31, 32, 63, 257] {
        let target = change(&stage, LONG_PASSPHRASE, &of_length(len)).refused(400, 65_536_802, "64 to 256 ASCII");
        assert_eq!(target.as_deref(), Some("onboard.passphrase"), "{len}");
    }
    change(&stage, LONG_PASSPHRASE, &of_length(64)).ok();
}

#[test]
fn code_65536813_encrypted_core_files() {
    let stage = Stage::new();
    stage.node.set(|facts| facts.storage.encrypted_core_files = Fact::Known(true));
    delete(&stage).refused(409, 65_536_813, "core files");
}

#[test]
fn code_65536817_a_fact_that_is_not_known() {
    let stage = Stage::new();
    for set in [
        |facts: &mut Facts| facts.storage.encrypted_core_files = Fact::Unknown,
        |facts: &mut Facts| facts.storage.drives_with_keys = Fact::Unknown,
    ] {
        stage.node.set(set);
        delete(&stage).refused(500, 65_536_817, "");
    }
    stage.node.ordinary();
    delete(&stage).ok();
}

#[test]
fn code_65536827_keys_that_cannot_be_read() {
    let stage = with_an_unused_kek();
    stage.store.refuse(|asked| matches!(asked, Asked::Scan { table: Table::Keys }));
    delete(&stage).refused(500, 65_536_827, "could not be determined");
}

#[test]
fn code_65536828_no_external_key_manager() {
    let stage = Stage::new();
    for external in [
        json!({ "client_certificate": { "uuid": Uuid::new_v4() } }),
        json!({ "server_ca_certificates": [{ "uuid": Uuid::new_v4() }] }),
    ] {
        patch(&stage, &json!({ "external": external })).refused(404, 65_536_828, "not enabled");
    }
}

#[test]
fn code_65536867_a_keystore_that_keeps_keys() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let path = format!("/security/key-stores/{keystore}");
    // At once, without a job (decision 13).
    stage.api.patch(&path, &json!({ "enabled": false })).refused(409, 65_536_867, "");
}

#[test]
fn code_65536900_a_partner_with_an_external_key_manager() {
    let stage = Stage::bare();
    let set = |facts: &mut Facts, value| {
        facts.metrocluster.configured = Fact::Known(true);
        facts.metrocluster.partner_key_manager = value;
    };
    let ask = |stage: &Stage| create(stage, &json!({ "passphrase": PASSPHRASE }));
    refuses(set, [Fact::Known(PartnerKeyManager::External), Fact::Unknown], ask, &stage, (409, 65_536_900));
}

/// A site of a MetroCluster whose partner has an onboard key manager.
fn beside_onboard(stage: Stage) -> Stage {
    stage.node.set(|facts| {
        facts.metrocluster.configured = Fact::Known(true);
        facts.metrocluster.partner_key_manager = Fact::Known(PartnerKeyManager::Onboard);
    });
    stage
}

#[test]
fn code_65536906_a_partner_with_an_onboard_key_manager() {
    let stage = beside_onboard(Stage::bare());
    create(&stage, &json!({ "passphrase": PASSPHRASE })).refused(409, 65_536_906, "synchronize");
    create(&stage, &json!({ "passphrase": PASSPHRASE, "synchronize": true })).is(201);
}

#[test]
fn code_65536907_a_second_onboard_key_manager() {
    create(&Stage::new(), &json!({ "passphrase": OTHER_PASSPHRASE })).refused(409, 65_536_907, "already");
}

#[test]
fn code_65536916_onboard_for_a_data_svm() {
    let stage = Stage::bare();
    let uuid = stage.svm("vs0").to_string();
    for svm in [json!({ "name": "vs0" }), json!({ "uuid": uuid })] {
        let body = json!({ "svm": svm, "onboard": { "passphrase": PASSPHRASE } });
        stage.api.post("/security/key-managers", &body).refused(400, 65_536_916, "admin SVM");
    }
}

#[test]
fn code_65536917_half_a_passphrase_change() {
    let stage = Stage::new();
    patch(&stage, &json!({ "onboard": { "passphrase": OTHER_PASSPHRASE } })).refused(400, 65_536_917, "both");
    patch(&stage, &json!({ "onboard": { "existing_passphrase": PASSPHRASE } })).refused(400, 65_536_917, "both");
}

#[test]
fn code_65536920_a_first_passphrase_of_a_wrong_length() {
    let stage = Stage::bare();
    let texts = [1, 31, 257].map(of_length).into_iter().chain([String::new(), format!("{}é", of_length(40))]);
    for text in texts {
        let target = create(&stage, &json!({ "passphrase": text })).refused(400, 65_536_920, "ASCII");
        assert_eq!(target.as_deref(), Some("onboard.passphrase"));
    }
    create(&stage, &json!({ "synchronize": false })).refused(400, 65_536_920, "ASCII");
    stage.node.set(|facts| facts.cluster.common_criteria = Some(Fact::Known(true)));
    create(&stage, &json!({ "passphrase": of_length(63) })).refused(400, 65_536_920, "64");
    create(&stage, &json!({ "passphrase": of_length(64) })).is(201);
}

#[test]
fn code_65537240_synchronize_without_a_passphrase() {
    create(&Stage::bare(), &json!({ "synchronize": true })).refused(400, 65_537_240, "passphrase");
}

#[test]
fn code_65537241_synchronize_with_an_existing_passphrase() {
    let both = json!({ "synchronize": true, "passphrase": PASSPHRASE, "existing_passphrase": PASSPHRASE });
    create(&Stage::bare(), &both).refused(400, 65_537_241, "existing_passphrase");
}

#[test]
fn code_65537242_a_synchronization_without_an_existing_passphrase() {
    patch(&Stage::new(), &json!({ "onboard": { "synchronize": true } })).refused(
        400,
        65_537_242,
        "existing_passphrase",
    );
}

#[test]
fn code_65537243_a_synchronization_with_a_passphrase() {
    let both = json!({ "synchronize": true, "passphrase": PASSPHRASE, "existing_passphrase": PASSPHRASE });
    patch(&Stage::new(), &json!({ "onboard": both })).refused(400, 65_537_243, "passphrase");
}

#[test]
fn code_65537244_synchronize_where_there_is_one() {
    let stage = beside_onboard(Stage::new());
    create(&stage, &json!({ "synchronize": true, "passphrase": PASSPHRASE })).refused(409, 65_537_244, "already");
}

#[test]
fn code_65537245_synchronize_with_a_partner_that_has_none() {
    let stage = Stage::bare();
    stage.node.set(|facts| facts.metrocluster.configured = Fact::Known(true));
    create(&stage, &json!({ "synchronize": true, "passphrase": PASSPHRASE })).refused(409, 65_537_245, "partner");
}

#[test]
fn code_65537246_synchronize_without_a_metrocluster() {
    let stage = Stage::bare();
    create(&stage, &json!({ "synchronize": true, "passphrase": PASSPHRASE })).refused(400, 65_537_246, "MetroCluster");
}

#[test]
fn code_196608301_encryption_that_is_not_known() {
    let stage = Stage::new();
    stage.node.set(|facts| facts.storage.nae_aggregates = Fact::Unknown);
    delete(&stage).refused(500, 196_608_301, "could not be determined");
}

#[test]
fn code_196608305_encrypted_aggregates() {
    let stage = Stage::new();
    stage.node.set(|facts| facts.storage.nae_aggregates = Fact::Known(vec!["aggr1".to_owned()]));
    delete(&stage).refused(409, 196_608_305, "NAE");
    // An aggregate's key that is registered counts by itself.
    let stage = Stage::new();
    let aggregate = ObjectRef::Aggregate(Uuid::from_u128(1));
    stage.engine.create_key(stage.admin(), aggregate, KeyAlgorithm::XtsAes256).unwrap();
    delete(&stage).refused(409, 196_608_305, "NAE");
}

/// The order of the guards, each broken from the last on (`docs/rest.md`).
#[test]
fn the_guards_of_a_deletion_are_looked_at_in_their_order() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let mut facts = Facts::default();
    let mut with = |change: &dyn Fn(&mut Facts)| {
        change(&mut facts);
        stage.node.set(|now| *now = facts.clone());
    };
    with(&|facts| facts.storage.encrypted_core_files = Fact::Known(true));
    delete(&stage).refused(409, 65_536_813, "");
    with(&|facts| facts.storage.nae_aggregates = Fact::Known(vec!["aggr1".to_owned()]));
    delete(&stage).refused(409, 196_608_305, "");
    with(&|facts| facts.storage.drives_with_keys = Fact::Known(2));
    delete(&stage).refused(409, 65_536_242, "");
    stage.key(svm, 1);
    delete(&stage).refused(409, 65_536_239, "");
}
