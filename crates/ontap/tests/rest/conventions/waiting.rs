//! What a change is answered with: at once, after a wait, or with a job (conventions, section 6).

use claviger::SvmId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::store::Asked;
use crate::support::{Stage, barbican_body};

/// An SVM with keys, whose next job is held back where it asks the store.
fn rekeying() -> (Stage, SvmId, Uuid) {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    (stage, svm, keystore)
}

#[test]
fn without_a_wait_a_job_is_answered() {
    let stage = Stage::new();
    stage.svm("vs0");
    for (name, path) in [("A", ""), ("B", "?return_timeout=0"), ("C", "?return_timeout=0&return_records=true")] {
        let reply = stage.api.post(&format!("/security/barbican-kms{path}"), &barbican_body("vs0", name));
        let location = reply.header("location").unwrap().to_owned();
        assert_eq!(stage.api.get(&location).ok()["configuration"]["name"], name);
        let job = reply.job();
        // A record cannot be in this answer.
        let shown = stage.api.get(&format!("/cluster/jobs/{job}")).ok();
        assert_eq!(
            (&shown["state"], &shown["description"]),
            (&json!("success"), &json!("POST /api/security/barbican-kms"))
        );
    }
}

#[test]
fn a_creation_that_is_waited_for_says_so_and_where_it_is() {
    let stage = Stage::new();
    stage.svm("vs0");
    let reply = stage.api.post("/security/barbican-kms?return_timeout=15", &barbican_body("vs0", "A"));
    let location = reply.header("location").unwrap().to_owned();
    let uuid = location.strip_prefix("/api/security/barbican-kms/").unwrap().to_owned();
    assert_eq!(uuid.parse::<Uuid>().unwrap().to_string(), uuid);
    let body = reply.is(201);
    assert!(body.get("records").is_none(), "{body}");
    // Clients read the state of a job that they see.
    let job = body["job"]["_links"]["self"]["href"].as_str().unwrap();
    assert_eq!(stage.api.get(job).ok()["state"], "success");

    let reply =
        stage.api.post("/security/barbican-kms?return_timeout=15&return_records=True", &barbican_body("vs0", "B"));
    let location = reply.header("location").unwrap().to_owned();
    let body = reply.is(201);
    assert_eq!((body["num_records"].as_u64(), body["records"].as_array().unwrap().len()), (Some(1), 1));
    assert_eq!(body["records"][0], stage.api.get(&location).ok());
}

#[test]
fn an_svm_is_created_and_deleted_as_the_clients_do_it() {
    let stage = Stage::new();
    let reply = stage.api.post("/svm/svms", &json!({ "name": "vs0" }));
    let location = reply.header("location").unwrap().to_owned();
    reply.job();
    assert_eq!(stage.api.get(&location).ok()["name"], "vs0");
    let reply = stage.api.ask("DELETE", &format!("{location}?return_timeout=30")).json(&json!({})).send();
    let body = reply.is(200);
    assert!(body["job"]["uuid"].is_string());
    stage.api.get(&location).refused(404, 4, "entry doesn't exist");
    let created = stage.api.post("/svm/svms?return_records=true&return_timeout=30", &json!({ "name": "vs1" })).is(201);
    assert_eq!(created["records"][0]["name"], "vs1");
}

#[test]
fn what_is_not_done_in_time_goes_on_as_a_job() {
    let (stage, _, keystore) = rekeying();
    let held = stage.store.hold(|asked| matches!(asked, Asked::Replace));
    let path = format!("/security/barbican-kms/{keystore}/rekey-internal");
    let job = stage.api.post(&format!("{path}?return_timeout=1"), &json!({})).job();
    held.reached();
    assert_eq!(stage.api.get(&format!("/cluster/jobs/{job}")).ok()["state"], "running");
    held.release();
    // The same again waits for the same job, or begins the next.
    stage.api.post(&format!("{path}?return_timeout=60"), &json!({})).is(201);
}

#[test]
fn an_action_that_is_done_is_201_and_only_restore_has_a_location() {
    let (stage, svm, keystore) = rekeying();
    let base = format!("/security/barbican-kms/{keystore}");
    let rekey = stage.api.post(&format!("{base}/rekey-internal?return_timeout=60"), &json!({}));
    assert_eq!(rekey.header("location"), None);
    assert!(rekey.is(201)["job"]["uuid"].is_string());
    let restore = stage.api.post(&format!("{base}/restore?return_timeout=60"), &json!({}));
    assert_eq!(restore.header("location"), Some(&*format!("/api{base}")));
    restore.is(201);
    let restore = stage.api.post(&format!("{base}/restore"), &json!({}));
    assert_eq!(restore.header("location"), Some(&*format!("/api{base}")));
    restore.job();

    stage.engine.migrate(svm, stage.onboard()).unwrap().wait().unwrap();
    let onboard = stage.onboard();
    let path = format!("/security/key-managers/{onboard}/migrate?return_timeout=60");
    let migrate = stage.api.post(&path, &json!({ "uuid": keystore }));
    assert_eq!(migrate.header("location"), None);
    migrate.is(201);
}

#[test]
fn actions_take_no_body_an_empty_one_or_an_empty_object() {
    let (stage, _, keystore) = rekeying();
    for action in ["rekey-internal", "restore"] {
        let path = format!("/security/barbican-kms/{keystore}/{action}?return_timeout=60");
        for body in ["", "{}", " \n", " {} "] {
            stage.api.ask("POST", &path).bytes(body).send().is(201);
        }
        stage.api.post(&path, &json!({ "x": 1 })).invalid("x");
        // And `return_records`, which has nothing to show.
        stage.api.post(&format!("{path}&return_records=true"), &json!({})).is(201);
    }
}

#[test]
fn every_write_takes_both_parameters() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1);
    let onboard = stage.onboard();
    for wrong in ["121", "-1", "x", ""] {
        for (method, path, body) in [
            ("POST", "/svm/svms".to_owned(), json!({ "name": "vs9" })),
            ("DELETE", format!("/svm/svms/{svm}"), json!({})),
            ("POST", "/security/barbican-kms".to_owned(), barbican_body("vs0", "B")),
            ("PATCH", format!("/security/barbican-kms/{keystore}"), json!({ "timeout": 5 })),
            ("PATCH", format!("/security/key-stores/{keystore}"), json!({ "enabled": true })),
            ("DELETE", format!("/security/key-stores/{keystore}"), json!({})),
            ("PATCH", format!("/security/key-managers/{onboard}"), json!({})),
        ] {
            let ask = |query: String| stage.api.ask(method, &format!("{path}?{query}")).json(&body).send();
            ask(format!("return_timeout={wrong}")).invalid("return_timeout");
            ask(format!("return_records=x{wrong}")).invalid("return_records");
        }
    }
    assert_eq!(stage.api.get("/svm/svms").ok()["num_records"], 1, "something was done all the same");
    for query in ["return_timeout=120&return_records=true", "return_timeout=1&return_records=False"] {
        stage.api.patch(&format!("/security/key-managers/{onboard}?{query}"), &json!({})).ok();
        stage.api.patch(&format!("/security/barbican-kms/{keystore}?{query}"), &json!({ "timeout": 7 })).ok();
    }
}

#[test]
fn a_failure_in_the_wait_is_the_error_itself() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1);
    stage.vault.set_away(true);
    let path = format!("/security/key-stores/{keystore}");
    stage.api.patch(&format!("{path}?return_timeout=60"), &json!({ "enabled": true })).refused(500, 65_539_801, "");
    let ended = stage.ended(stage.api.patch(&path, &json!({ "enabled": true })));
    assert_eq!(ended["error"]["code"], "65539801");
}

#[test]
fn a_change_of_nothing_is_done_and_nobody_is_asked() {
    let (stage, _, keystore) = rekeying();
    let asked = stage.vault.asked();
    for path in [
        format!("/security/barbican-kms/{keystore}"),
        format!("/security/key-stores/{keystore}"),
        format!("/security/key-managers/{}", stage.onboard()),
    ] {
        for body in ["{}", ""] {
            let reply = stage.api.ask("PATCH", &format!("{path}?return_timeout=15")).bytes(body).send();
            assert!(reply.json.is_object());
            reply.is(200);
        }
    }
    assert_eq!(stage.vault.asked(), asked);
}

/// PATCH `{}` is answered with 200, and that without a wait too (decision 10).
#[test]
fn a_change_of_nothing_needs_no_job() {
    let (stage, _, keystore) = rekeying();
    for path in [format!("/security/barbican-kms/{keystore}"), format!("/security/key-stores/{keystore}")] {
        stage.api.patch(&path, &json!({})).is(200);
    }
}

#[test]
fn what_is_synchronous_is_done_when_it_is_answered() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1);
    let deleted = stage.api.delete(&format!("/security/key-stores/{keystore}")).is(200);
    assert_eq!(deleted, json!({}));
    let changed =
        stage.api.patch(&format!("/security/key-managers/{}", stage.onboard()), &json!({ "scope": "cluster" }));
    assert_eq!(changed.is(200), json!({}));
}

#[test]
fn jobs_are_linked_for_plain_json_too() {
    let (stage, _, keystore) = rekeying();
    let path = format!("/security/barbican-kms/{keystore}/rekey-internal");
    let reply = stage.api.ask("POST", &path).accept("application/json").json(&json!({})).send();
    let body: Value = reply.json.clone();
    assert_eq!(body["job"]["_links"]["self"]["href"], format!("/api/cluster/jobs/{}", reply.job()));
}
