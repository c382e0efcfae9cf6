//! Jobs: what they say, how long they stay, and what can be done with them (conventions, section 7).

use std::time::Duration;

use claviger::Table;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::store::Asked;
use crate::support::{Stage, forge};

/// The members that clients read without a check.
#[track_caller]
fn is_well_formed(job: &Value) {
    for name in ["uuid", "description", "state", "message"] {
        assert!(job[name].is_string(), "{name}: {job}");
    }
    assert!(["queued", "running", "success", "failure"].contains(&job["state"].as_str().unwrap()), "{job}");
    let is_ended = ["success", "failure"].contains(&job["state"].as_str().unwrap());
    assert_eq!(job.get("end_time").is_some(), is_ended, "{job}");
    for name in ["start_time", "end_time"] {
        let Some(time) = job.get(name) else { continue };
        let time = time.as_str().unwrap();
        // ISO 8601 with offset and without fractions.
        assert_eq!((time.len(), &time[10..11], &time[19..]), (25, "T", "+00:00"), "{time}");
    }
    let code = job["code"].as_u64().expect("code is a number");
    match job["state"].as_str() {
        Some("failure") => {
            assert_ne!(code, 0);
            assert_eq!(job["error"]["code"], code.to_string());
            assert_eq!(job["error"]["message"], job["message"]);
        }
        _ => {
            assert_eq!(code, 0);
            assert!(job.get("error").is_none(), "{job}");
        }
    }
    assert!(job["node"]["name"].is_string());
}

#[test]
fn a_job_that_succeeds() {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    let held = stage.store.hold(|asked| matches!(asked, Asked::Replace));
    let path = format!("/security/barbican-kms/{keystore}/rekey-internal");
    let job = stage.api.post(&path, &json!({})).job();
    held.reached();
    let running = stage.api.get(&format!("/cluster/jobs/{job}")).ok();
    is_well_formed(&running);
    assert_eq!((&running["state"], &running["svm"]["uuid"]), (&json!("running"), &json!(svm.to_string())));
    assert_eq!(running["description"], format!("POST /api{path}"));
    held.release();
    let ended = stage.ended(stage.api.post(&path, &json!({})));
    is_well_formed(&ended);
    assert_eq!(ended["state"], "success");
    let listed = stage.api.get("/cluster/jobs?fields=*").ok();
    listed["records"].as_array().unwrap().iter().for_each(is_well_formed);
}

/// Each kind of job says which request began it.
#[test]
fn jobs_are_described_by_the_request_that_began_them() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1);
    let other = stage.barbican(svm, "B", 2);
    let cluster = stage.onboard();
    stage.key(svm, 1);
    let changes = [
        ("PATCH", format!("/security/key-stores/{keystore}"), json!({ "enabled": true })),
        ("POST", format!("/security/key-managers/{cluster}/migrate"), json!({ "uuid": keystore })),
        ("POST", format!("/security/barbican-kms/{keystore}/rekey-internal"), json!({})),
        ("POST", format!("/security/barbican-kms/{keystore}/restore"), json!({})),
        ("PATCH", format!("/security/barbican-kms/{keystore}"), json!({ "timeout": 20 })),
        ("PATCH", format!("/security/key-stores/{other}"), json!({ "enabled": true })),
        ("POST", format!("/security/key-managers/{other}/migrate"), json!({ "uuid": cluster })),
        ("PATCH", format!("/security/key-stores/{other}"), json!({ "enabled": false })),
        ("DELETE", format!("/svm/svms/{}", stage.svm("vs9")), json!({})),
    ];
    for (method, path, body) in changes {
        let ended = stage.ended(stage.api.ask(method, &path).json(&body).send());
        is_well_formed(&ended);
        assert_eq!(ended["state"], "success", "{method} {path}: {ended}");
        assert_eq!(ended["description"], format!("{method} /api{path}"));
    }
}

#[test]
fn a_job_that_fails_says_its_code_as_number_and_as_text() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let keystore = stage.barbican(svm, "A", 1);
    stage.vault.set_away(true);
    let ended = stage.ended(stage.api.patch(&format!("/security/key-stores/{keystore}"), &json!({ "enabled": true })));
    is_well_formed(&ended);
    assert_eq!((&ended["state"], &ended["code"]), (&json!("failure"), &json!(65_539_801)));
    // A job of the API's own fails alike.
    let ended = stage.ended(stage.api.patch(&format!("/security/barbican-kms/{keystore}"), &json!({ "timeout": 5 })));
    is_well_formed(&ended);
    assert_eq!(ended["code"], 65_539_223);
}

#[test]
fn what_clients_ask_of_a_job() {
    let stage = Stage::new();
    stage.svm("vs0");
    let job = stage.api.post("/svm/svms", &json!({ "name": "vs1" })).job();
    let polled = stage.api.get(&format!("/cluster/jobs/{job}?fields=message,state")).ok();
    assert_eq!((&polled["uuid"], &polled["state"]), (&json!(job), &json!("success")));
    assert!(polled["message"].is_string() && polled.get("code").is_none());
    let found = stage.api.get(&format!("/cluster/jobs?uuid={job}&state=success")).ok();
    assert_eq!((&found["num_records"], &found["records"][0]["state"]), (&json!(1), &json!("success")));
    for unknown in [Uuid::nil().to_string(), Uuid::new_v4().to_string(), "x".to_owned(), job.to_uppercase() + "0"] {
        stage.api.get(&format!("/cluster/jobs/{unknown}")).refused(404, 4, "entry doesn't exist");
        stage.api.patch(&format!("/cluster/jobs/{unknown}?action=cancel"), &json!({})).refused(404, 4, "entry doesn't");
    }
}

/// Ends a job of the engine so many seconds ago, and looks for it in a new process.
fn shown_after(seconds: i64) -> u16 {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let job: Uuid = stage
        .api
        .post(&format!("/security/barbican-kms/{keystore}/rekey-internal?return_timeout=60"), &json!({}))
        .is(201)["job"]["uuid"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    stage.api.get(&format!("/cluster/jobs/{job}")).ok();
    forge::change(&stage.store.inner, Table::Jobs, job.as_bytes(), |record| age(record, seconds));
    let status = stage.restarted().api.get(&format!("/cluster/jobs/{job}")).status;
    status.as_u16()
}

/// Moves every time of a record into the past.
fn age(value: &mut Value, seconds: i64) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| age(value, seconds)),
        Value::Array(items) => items.iter_mut().for_each(|value| age(value, seconds)),
        Value::String(text) => {
            if let Ok(time) = text.parse::<jiff::Timestamp>() {
                *text = (time - Duration::from_secs(seconds.unsigned_abs())).to_string();
            }
        }
        _ => {}
    }
}

#[test]
fn an_ended_job_stays_for_five_minutes() {
    assert_eq!(shown_after(0), 200);
    assert_eq!(shown_after(270), 200);
    assert_eq!(shown_after(301), 404);
}

#[test]
fn a_job_that_was_interrupted_waits_and_goes_on() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let held = stage.store.hold(|asked| matches!(asked, Asked::Replace));
    let job = stage.api.post(&format!("/security/barbican-kms/{keystore}/rekey-internal"), &json!({})).job();
    held.reached();
    let copy = crate::support::store::copy_of(&stage.store.inner);
    held.release();
    let stage = stage.restarted_on(copy);
    let path = format!("/cluster/jobs/{job}");
    let shown = stage.api.get(&path).ok();
    is_well_formed(&shown);
    assert_eq!(shown["state"], "queued");
    // Its KEK is not in memory before somebody fetches it.
    stage.api.post(&format!("/security/barbican-kms/{keystore}/restore?return_timeout=60"), &json!({})).is(201);
    stage.api.patch(&format!("{path}?action=resume"), &json!({})).ok();
    assert_eq!(stage.until_ended(&job)["state"], "success");
}

#[test]
fn a_job_can_be_cancelled() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let held = stage.store.hold(|asked| matches!(asked, Asked::Replace));
    let job = stage.api.post(&format!("/security/barbican-kms/{keystore}/rekey-internal"), &json!({})).job();
    held.reached();
    let path = format!("/cluster/jobs/{job}");
    assert_eq!(stage.api.patch(&format!("{path}?action=cancel"), &json!({})).ok(), json!({}));
    held.release();
    let ended = stage.until_ended(&job);
    is_well_formed(&ended);
    assert_eq!(ended["state"], "failure");
}

#[test]
fn an_action_must_be_one() {
    let stage = Stage::new();
    let job = stage.api.post("/svm/svms", &json!({ "name": "vs1" })).job();
    for query in ["", "?action=", "?action=stop", "?action=Cancel", "?return_timeout=1"] {
        stage.api.patch(&format!("/cluster/jobs/{job}{query}"), &json!({})).invalid("action");
    }
    stage.api.patch(&format!("/cluster/jobs/{job}?action=cancel"), &json!({ "state": "success" })).invalid("state");
    stage.api.patch(&format!("/cluster/jobs/{job}?action=cancel&x=1"), &json!({})).invalid("x");
}

#[test]
fn the_same_change_runs_once_at_a_time() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let path = format!("/security/barbican-kms/{}", stage.barbican(svm, "A", 1));
    let held = stage.store.hold(|asked| asked.puts(Table::Keystores));
    let first = stage.api.patch(&path, &json!({ "timeout": 20 })).job();
    held.reached();
    stage.api.patch(&path, &json!({ "timeout": 30 })).refused(409, 8, "changed already");
    held.release();
    assert_eq!(stage.until_ended(&first)["state"], "success");
    stage.api.patch(&format!("{path}?return_timeout=60"), &json!({ "timeout": 30 })).is(200);
    assert_eq!(stage.api.get(&path).ok()["timeout"], 30);
}
