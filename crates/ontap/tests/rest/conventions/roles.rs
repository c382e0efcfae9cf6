//! Who may do what. Who calls at all, the daemon has found out.

use claviger_ontap::{Role, openapi};
use serde_json::json;

use crate::support::Stage;

/// Every path of the API, with its methods.
fn endpoints() -> Vec<(String, String)> {
    let document = openapi();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &serde_json::Value)| {
        let methods: Vec<_> = methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn who_may_only_read_changes_nothing_anywhere() {
    let stage = Stage::new();
    let endpoints = endpoints();
    assert!(endpoints.len() > 40);
    for (method, path) in endpoints {
        let reply =
            stage.api.ask(&method, &path.replace(['{', '}'], "")).role(Some(Role::ReadOnly)).json(&json!({})).send();
        match method.as_str() {
            "GET" => assert_ne!(reply.status.as_u16(), 403, "{path}"),
            _ => drop(reply.refused(403, 6, "")),
        }
    }
    assert_eq!(stage.api.ask("HEAD", "/svm/svms").role(Some(Role::ReadOnly)).send().status.as_u16(), 200);
}

#[test]
fn a_request_of_nobody_is_refused_everywhere() {
    let stage = Stage::new();
    for (method, path) in endpoints() {
        let reply = stage.api.ask(&method, &path.replace(['{', '}'], "")).role(None).json(&json!({})).send();
        reply.refused(403, 6, "");
    }
}

/// The role is looked at before anything else of the request.
#[test]
fn the_role_comes_first() {
    let stage = Stage::new();
    let ask = |method, path| stage.api.ask(method, path).role(Some(Role::ReadOnly));
    ask("POST", "/svm/svms?colour=red").bytes("{").send().refused(403, 6, "");
    ask("PATCH", "/security/barbican-kms/x").json(&json!({ "x": 1 })).send().refused(403, 6, "");
    ask("POST", "/svm/svms").bytes(vec![b'x'; 2 << 20]).send().refused(403, 6, "");
}
