//! The keys under a key manager's KEKs.

use claviger::{KeyAlgorithm, ObjectRef};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Stage, volume};

fn path(stage: &Stage, manager: Uuid) -> String {
    format!("/security/key-managers/{manager}/keys/{}/key-ids", stage.node_uuid())
}

#[test]
fn each_key_manager_shows_the_keys_that_need_it() {
    let stage = Stage::new();
    let (own, keystore) = stage.own("vs0");
    let other = stage.svm("vs1");
    stage.key(other, 1);
    stage.engine.create_key(other, ObjectRef::Aggregate(Uuid::from_u128(2)), KeyAlgorithm::XtsAes256).unwrap();
    stage.engine.create_key(stage.admin(), ObjectRef::Drive(Uuid::from_u128(3)), KeyAlgorithm::Aes256).unwrap();
    let kinds = |manager| {
        let mut kinds = stage.api.column(&format!("{}?fields=key_type", path(&stage, manager)), "/key_type");
        kinds.sort();
        kinds.join(" ")
    };
    assert_eq!(kinds(keystore), "svm_kek vek vek vek");
    assert_eq!(kinds(stage.onboard()), "aek nse_ak svm_kek svm_kek vek");

    let shown = stage.api.get(&format!("{}?key_type=vek&fields=*", path(&stage, keystore))).ok();
    for record in shown["records"].as_array().unwrap() {
        assert_eq!((&record["key_store"], &record["key_store_type"]), (&json!("external"), &json!("barbican")));
        assert_eq!((&record["key_manager"], &record["key_user"]), (&json!("A"), &json!("vs0")));
        assert_eq!((&record["restored"], &record["encryption_algorithm"]), (&json!(true), &json!("XTS-AES-256")));
        assert_eq!((&record["scope"], &record["svm"]["uuid"]), (&json!("svm"), &json!(own.to_string())));
        let id = record["key_id"].as_str().unwrap();
        let one = stage.api.get(&format!("{}/{id}", path(&stage, keystore))).ok();
        assert_eq!(&one, record);
        stage.api.get(&format!("{}/{id}", path(&stage, stage.onboard()))).refused(404, 4, "entry doesn't exist");
    }
    // Not one byte of a key is in it.
    let key = stage.engine.open_key(own, volume(0)).unwrap();
    let mut heard = claviger_tests::heard::Heard::default();
    heard.bytes(shown.to_string().as_bytes());
    assert!(heard.find([("key", key.newest().expose())]).is_empty());
}

#[test]
fn many_keys_come_page_by_page() {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    (10..31).for_each(|number| stage.key(svm, number));
    let all = path(&stage, keystore);
    for size in [1, 2, 5, 24, 25, 26] {
        for query in ["", "&order_by=key_id", "&key_type=vek|svm_kek"] {
            let pages = stage.api.pages(&format!("{all}?max_records={size}{query}"));
            let mut ids: Vec<_> = pages.iter().flatten().map(|record| record["key_id"].to_string()).collect();
            assert_eq!(ids.len(), 25, "pages of {size}{query}");
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 25, "pages of {size}{query}");
        }
    }
}

#[test]
fn what_is_not_in_memory_is_not_restored() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let stage = stage.restarted();
    let restored = |stage: &Stage, manager| {
        stage.api.get(&format!("{}?restored=false", path(stage, manager))).ok()["num_records"].clone()
    };
    assert_eq!(restored(&stage, keystore), 4);
    stage.api.post(&format!("/security/key-managers/{keystore}/restore?return_timeout=60"), &json!({})).is(201);
    assert_eq!(restored(&stage, keystore), 0);
}

#[test]
fn a_path_that_names_nothing() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let node = stage.node_uuid();
    for path in [
        format!("/security/key-managers/{}/keys/{node}/key-ids", Uuid::new_v4()),
        format!("/security/key-managers/{keystore}/keys/{}/key-ids", Uuid::new_v4()),
        format!("/security/key-managers/{keystore}/keys/x/key-ids"),
        format!("/security/key-managers/{keystore}/keys/{node}/key-ids/x"),
    ] {
        stage.api.get(&path).refused(404, 4, "entry doesn't exist");
    }
}
