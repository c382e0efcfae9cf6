//! Volumes: as much of them as their keys need (decision 16).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Reply;
use crate::support::{CLUSTER, Stage, volume};

fn create(stage: &Stage, body: &Value) -> Reply {
    stage.api.post("/storage/volumes?return_timeout=15&return_records=true", body)
}

/// An encrypted volume of SVM `vs0`, as its path.
fn made(stage: &Stage, name: &str) -> String {
    let body = json!({ "name": name, "svm": { "name": "vs0" }, "encryption": { "enabled": true } });
    create(stage, &body).header("location").unwrap().to_owned()
}

fn uuid_of(path: &str) -> Uuid {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

#[test]
fn a_volume_is_made_with_its_key_and_deleted_with_it() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let body = json!({
        "name": "vol1", "svm": { "uuid": svm.to_string() }, "size": 1_073_741_824, "type": "rw",
        "aggregates": [{ "name": "aggr1" }], "encryption": { "enabled": true },
    });
    let reply = create(&stage, &body);
    let path = reply.header("location").unwrap().to_owned();
    let shown = reply.is(201)["records"][0].clone();
    assert_eq!(
        (&shown["name"], &shown["svm"]["name"], &shown["size"]),
        (&json!("vol1"), &json!("vs0"), &json!(1_073_741_824))
    );
    assert_eq!((&shown["type"], &shown["aggregates"][0]["name"]), (&json!("rw"), &json!("aggr1")));
    let encryption = &shown["encryption"];
    assert_eq!(
        (&encryption["enabled"], &encryption["state"], &encryption["rekey"]),
        (&json!(true), &json!("encrypted"), &json!(false))
    );
    assert_eq!((&encryption["type"], &encryption["key_manager_attribute"]), (&json!("volume"), &json!("onboard")));
    assert!(encryption["key_id"].as_str().unwrap().len() > 20 && encryption["key_creation_time"].is_string());

    let uuid = uuid_of(&path);
    stage.engine.open_key(svm, claviger::ObjectRef::Volume(uuid)).unwrap();
    assert_eq!(stage.api.delete(&format!("{path}?return_timeout=15")).ok()["job"]["uuid"].as_str().unwrap().len(), 36);
    stage.api.get(&path).refused(404, 4, "entry doesn't exist");
    stage.engine.open_key(svm, claviger::ObjectRef::Volume(uuid)).unwrap_err();
}

#[test]
fn a_volume_in_the_clear_has_no_key() {
    let stage = Stage::new();
    stage.svm("vs0");
    let body = json!({ "name": "vol1", "svm": { "name": "vs0" }, "encryption": { "enabled": false } });
    let shown = create(&stage, &body).is(201)["records"][0].clone();
    assert_eq!(
        shown["encryption"],
        json!({ "enabled": false, "state": "unencrypted", "rekey": false, "type": "none" })
    );
    let path = format!("/storage/volumes/{}", shown["uuid"].as_str().unwrap());
    let target = stage.api.patch(&path, &json!({ "encryption": { "rekey": true } })).refused(400, 2, "");
    assert_eq!(target.as_deref(), Some("encryption.rekey"));
}

#[test]
fn what_is_no_volume_is_refused() {
    let stage = Stage::new();
    stage.svm("vs0");
    let body = |name: &str, svm: &str| json!({ "name": name, "svm": { "name": svm } });
    create(&stage, &body("vol1", "nobody")).refused(404, 4, "SVM \"nobody\" does not exist.");
    create(&stage, &body("vol1", CLUSTER)).invalid("svm");
    create(&stage, &json!({ "name": "vol1" })).invalid("svm");
    create(&stage, &json!({ "svm": { "name": "vs0" } })).invalid("name");
    for wrong in ["", "a b", "a/b", "ä", &"x".repeat(300)] {
        create(&stage, &body(wrong, "vs0")).invalid("name");
    }
    create(&stage, &body("vol1", "vs0")).is(201);
    assert_eq!(create(&stage, &body("vol1", "vs0")).refused(409, 1, "vol1").as_deref(), Some("name"));
    for (field, value) in
        [("size", json!(-1)), ("size", json!("1GB")), ("type", json!("x")), ("aggregates", json!("x"))]
    {
        let mut body = body("vol2", "vs0");
        body[field] = value;
        create(&stage, &body).invalid(field);
    }
    // Its name is another SVM's to use.
    stage.svm("vs1");
    create(&stage, &body("vol1", "vs1")).is(201);
    let bare = Stage::bare();
    bare.svm("vs0");
    let encrypted = json!({ "name": "v", "svm": { "name": "vs0" }, "encryption": { "enabled": true } });
    create(&bare, &encrypted).refused(409, 8, "key manager");
    // Where nobody says so, it is in the clear then.
    let shown = create(&bare, &body("vol1", "vs0")).is(201)["records"][0].clone();
    assert_eq!(shown["encryption"]["enabled"], false);
}

#[test]
fn a_key_is_rotated_in_two_steps() {
    let stage = Stage::new();
    stage.svm("vs0");
    let path = made(&stage, "vol1");
    let rekey =
        |on: bool| stage.api.patch(&format!("{path}?return_timeout=15"), &json!({ "encryption": { "rekey": on } }));
    let encryption = || stage.api.get(&path).ok()["encryption"].clone();
    let before = encryption();
    rekey(true).ok();
    let during = encryption();
    assert_eq!((&during["state"], &during["rekey"]), (&json!("rekeying"), &json!(true)));
    assert_ne!(during["key_id"], before["key_id"]);
    rekey(true).refused(409, 8, "already");
    rekey(false).ok();
    let after = encryption();
    assert_eq!(
        (&after["state"], &after["rekey"], &after["key_id"]),
        (&json!("encrypted"), &json!(false), &during["key_id"])
    );
    rekey(false).ok();
}

#[test]
fn volumes_page_filter_and_are_changed_by_filter() {
    let stage = Stage::new();
    stage.svm("vs0");
    stage.svm("vs1");
    for number in 0..7 {
        made(&stage, &format!("vol{number}"));
    }
    let body = json!({ "name": "other", "svm": { "name": "vs1" }, "encryption": { "enabled": false } });
    create(&stage, &body).is(201);
    for query in ["", "&svm.name=*", "&order_by=name"] {
        let pages = stage.api.pages(&format!("/storage/volumes?max_records=3{query}"));
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2], "{query}");
    }
    let names = |query: &str| stage.api.column(&format!("/storage/volumes?order_by=name&{query}"), "/name").join(" ");
    assert_eq!(names("svm.name=vs1"), "other");
    stage.api.get("/storage/volumes?svm.name=nobody").refused(404, 4, "SVM \"nobody\" does not exist");
    assert_eq!(names("svm.uuid=x"), "");
    assert_eq!(names("name=vol1|vol3&svm.name=vs0"), "vol1 vol3");
    assert_eq!(names("encryption.enabled=false"), "other");
    assert_eq!(names("size=null&name=vol6"), "vol6");

    let path = "/storage/volumes?name=vol0|vol1";
    assert_eq!(stage.api.patch(path, &json!({ "encryption": { "rekey": true } })).is(200)["num_records"], 2);
    assert_eq!(names("encryption.state=rekeying"), "vol0 vol1");
    assert_eq!(stage.api.delete("/storage/volumes?svm.name=vs0&encryption.state=encrypted").is(200)["num_records"], 5);
    assert_eq!(names(""), "other vol0 vol1");
}

/// A key that was made without a volume's name is a volume's all the same.
#[test]
fn keys_that_have_no_volume_are_no_volumes() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    stage.key(svm, 1);
    assert_eq!(stage.api.get("/storage/volumes").ok()["num_records"], 0);
    stage.engine.open_key(svm, volume(1)).unwrap();
}

#[test]
fn an_svm_with_volumes_stays() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let path = made(&stage, "vol1");
    stage.api.delete(&format!("/svm/svms/{svm}")).refused(409, 8, "");
    stage.api.delete(&path).job();
    stage.api.delete(&format!("/svm/svms/{svm}?return_timeout=60")).ok();
}
