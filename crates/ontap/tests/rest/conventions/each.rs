//! PATCH and DELETE of a collection: a row of changes of one (conventions, section 6).

use serde_json::json;

use crate::support::Stage;

fn stage() -> Stage {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    for (name, number) in [("A", 1), ("B", 2), ("C", 3)] {
        stage.barbican(svm, name, number);
    }
    stage
}

#[test]
fn without_a_filter_nothing_is_changed() {
    let stage = stage();
    for (method, path) in [
        ("PATCH", "/security/barbican-kms"),
        ("PATCH", "/security/key-stores"),
        ("DELETE", "/security/key-stores"),
        ("PATCH", "/security/key-managers"),
        ("DELETE", "/security/key-managers"),
    ] {
        for query in ["", "?", "?return_timeout=10", "?max_records=1", "?fields=*"] {
            stage.api.ask(method, &format!("{path}{query}")).json(&json!({})).send().refused(400, 2, "filter");
        }
    }
    assert_eq!(stage.api.get("/security/key-stores").ok()["num_records"], 4);
}

#[test]
fn a_change_of_several() {
    let stage = stage();
    let reply =
        stage.api.patch("/security/barbican-kms?configuration.name=A|B&return_timeout=0", &json!({ "timeout": 33 }));
    let body = reply.is(202);
    assert_eq!((body["num_records"].as_u64(), body["records"].as_array().unwrap().len()), (Some(2), 2));
    let jobs = body["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        let uuid = job["uuid"].as_str().unwrap();
        assert_eq!(job["_links"]["self"]["href"], format!("/api/cluster/jobs/{uuid}"));
        assert_eq!(stage.until_ended(uuid)["state"], "success");
    }
    let changed =
        stage.api.column("/security/barbican-kms?timeout=33&order_by=configuration.name", "/configuration/name");
    assert_eq!(changed, ["A", "B"]);
}

#[test]
fn a_deletion_of_several_is_done_at_once() {
    let stage = stage();
    let body = stage.api.delete("/security/key-stores?configuration.name=%21C&type=barbican").is(200);
    assert_eq!((body["num_records"].as_u64(), body.get("jobs")), (Some(2), None));
    assert_eq!(stage.api.column("/security/barbican-kms", "/configuration/name"), ["C"]);
    // Nothing matches, nothing is done.
    let body = stage.api.delete("/security/key-stores?configuration.name=nobody").is(200);
    assert_eq!(body["num_records"], 0);
}

#[test]
fn the_body_and_the_query_are_checked_before_anything_is_changed() {
    let stage = stage();
    stage.api.patch("/security/barbican-kms?svm.name=vs0", &json!({ "timeout": "x" })).invalid("timeout");
    stage.api.patch("/security/barbican-kms?svm.name=vs0", &json!({ "uuid": "x" })).invalid("uuid");
    stage.api.patch("/security/barbican-kms?svm.name=vs0&colour=red", &json!({})).invalid("colour");
    stage.api.patch("/security/barbican-kms?svm.name=vs0&return_timeout=121", &json!({})).invalid("return_timeout");
    assert_eq!(stage.api.get("/security/barbican-kms?timeout=10").ok()["num_records"], 3);
}

#[test]
fn one_that_is_refused_is_told() {
    let stage = stage();
    let path = "/security/key-stores?configuration.name=A&return_timeout=60";
    stage.api.patch(path, &json!({ "enabled": true }));
    stage.until_all_ended();
    let refused = stage.api.delete("/security/key-stores?configuration.name=A");
    refused.refused(409, 65_538_905, "enabled");
    assert_eq!(stage.api.get("/security/barbican-kms").ok()["num_records"], 3);
}

#[test]
fn a_wait_is_for_all_of_them() {
    let stage = stage();
    // It is 15 s where nobody says otherwise.
    for (query, seconds) in [("", 44), ("&return_timeout=60", 45)] {
        let path = format!("/security/barbican-kms?svm.name=vs0{query}");
        let body = stage.api.patch(&path, &json!({ "timeout": seconds })).is(200);
        assert_eq!((body["num_records"].as_u64(), body["jobs"].as_array().unwrap().len()), (Some(3), 3));
        assert_eq!(stage.api.get(&format!("/security/barbican-kms?timeout={seconds}")).ok()["num_records"], 3);
    }
    stage.vault.set_away(true);
    stage.api.patch("/security/barbican-kms?svm.name=vs0", &json!({ "timeout": 46 })).refused(500, 65_539_223, "");
}

#[test]
fn what_was_done_before_one_is_refused_is_told() {
    let stage = stage();
    stage.api.patch("/security/key-stores?configuration.name=B&return_timeout=60", &json!({ "enabled": true }));
    stage.until_all_ended();
    let reply = stage.api.delete("/security/key-stores?svm.name=vs0");
    assert_eq!((reply.status.as_u16(), &reply.json["error"]["code"]), (409, &json!("65538905")), "{reply:?}");
    let done = reply.json["num_records"].as_u64().unwrap();
    assert_eq!(stage.api.get("/security/barbican-kms").ok()["num_records"], 3 - done);
    assert_eq!(reply.audited.unwrap().arguments["changed"].as_array().map_or(0, Vec::len) as u64, done);
}

#[test]
fn a_page_of_changes_is_no_larger_than_asked_for() {
    let stage = stage();
    let body = stage.api.patch("/security/barbican-kms?svm.name=vs0&max_records=2", &json!({ "timeout": 33 })).is(200);
    assert_eq!(body["num_records"], 2);
    let next = body["_links"]["next"]["href"].as_str().unwrap().strip_prefix("/api").unwrap().to_owned();
    assert_eq!(stage.api.get("/security/barbican-kms?timeout=33").ok()["num_records"], 2);
    let body = stage.api.patch(&next, &json!({ "timeout": 33 })).is(200);
    assert_eq!((&body["num_records"], body.get("_links")), (&json!(1), None));
    assert_eq!(stage.api.get("/security/barbican-kms?timeout=33").ok()["num_records"], 3);
}

#[test]
fn a_log_can_say_which_records_were_meant() {
    let stage = stage();
    let reply = stage.api.patch("/security/barbican-kms?svm.name=vs0", &json!({ "timeout": 34 }));
    let audited = reply.audited.unwrap().arguments;
    assert_eq!(audited["?"], json!({ "svm.name": "vs0" }));
    assert_eq!(audited["changed"].as_array().unwrap().len(), 3);
    assert_eq!(audited["timeout"], 34);
}
