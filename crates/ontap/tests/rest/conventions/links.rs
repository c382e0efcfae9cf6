//! HAL links by the `Accept` header (conventions, section 2).

use serde_json::{Value, json};

use crate::support::Stage;

const HAL: &str = "application/hal+json";
const JSON: &str = "application/json";

#[test]
fn only_who_asks_for_plain_json_gets_no_links() {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    for (accept, expected) in [
        (None, HAL),
        (Some("*/*"), HAL),
        (Some("application/*"), HAL),
        (Some("text/html"), HAL),
        (Some(HAL), HAL),
        (Some("application/hal+json;q=0.5, application/json"), HAL),
        (Some("APPLICATION/JSON"), JSON),
        (Some(JSON), JSON),
        (Some("application/json; charset=utf-8"), JSON),
        (Some("text/html, application/json"), JSON),
        (Some("application/json, */*"), HAL),
        (Some(""), HAL),
    ] {
        let ask = |path: &str| {
            let ask = stage.api.ask("GET", path);
            match accept {
                Some(accept) => ask.accept(accept),
                None => ask,
            }
            .send()
        };
        let one = ask(&format!("/security/barbican-kms/{keystore}"));
        assert_eq!(one.header("content-type"), Some(expected), "{accept:?}");
        let one = one.ok();
        let list = ask("/security/barbican-kms").ok();
        let links = json!({ "self": { "href": format!("/api/security/barbican-kms/{keystore}") } });
        match expected {
            HAL => {
                assert_eq!(one["_links"], links, "{accept:?}");
                assert_eq!(list["records"][0]["_links"], links);
                assert_eq!(list["_links"], json!({ "self": { "href": "/api/security/barbican-kms" } }));
                assert_eq!(one["svm"]["_links"]["self"]["href"], format!("/api/svm/svms/{svm}"));
                let configuration = format!("/api/security/key-stores/{keystore}");
                assert_eq!(one["configuration"]["_links"]["self"]["href"], configuration);
            }
            _ => assert!(!one.to_string().contains("_links") && !list.to_string().contains("_links"), "{accept:?}"),
        }
    }
}

#[test]
fn the_next_page_is_linked_in_every_case() {
    let stage = Stage::new();
    for number in 0..3 {
        stage.svm(&format!("vs{number}"));
    }
    let page = stage.api.ask("GET", "/svm/svms?max_records=2").accept(JSON).send().ok();
    let links = page["_links"].as_object().unwrap();
    assert_eq!(links.keys().collect::<Vec<_>>(), ["next"]);
    let next = links["next"]["href"].as_str().unwrap();
    assert_eq!(stage.api.get(next).ok()["num_records"], 1);
}

#[test]
fn self_repeats_the_query_as_it_came() {
    let stage = Stage::new();
    for path in
        ["/api/svm/svms?fields=*&name=%21x", "/api/svm/svms/?order_by=name+desc", "/api/svm/svms?", "/api/svm/svms"]
    {
        assert_eq!(stage.api.get(path).ok()["_links"]["self"]["href"], path);
    }
}

/// Every address in a value.
fn hrefs(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("href", Value::String(href)) => found.push(href.clone()),
                    (_, value) => hrefs(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| hrefs(item, found)),
        _ => {}
    }
}

#[test]
fn every_link_leads_somewhere() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    stage.api.post(&format!("/security/barbican-kms/{keystore}/rekey-internal?return_timeout=60"), &json!({})).is(201);
    let mut found = Vec::new();
    let node = stage.node_uuid();
    let onboard = stage.onboard();
    for path in [
        "/cluster".to_owned(),
        "/cluster/nodes".to_owned(),
        "/cluster/jobs".to_owned(),
        "/svm/svms".to_owned(),
        "/security/key-managers".to_owned(),
        "/security/key-stores".to_owned(),
        "/security/barbican-kms".to_owned(),
        format!("/security/key-managers/{keystore}/keys/{node}/key-ids"),
        format!("/security/key-managers/{onboard}/keys/{node}/key-ids"),
    ] {
        let separator = if path == "/cluster" { "?fields=*" } else { "?fields=**" };
        hrefs(&stage.api.get(&format!("{path}{separator}")).ok(), &mut found);
    }
    assert!(found.len() > 15, "{found:?}");
    for href in found {
        assert!(href.starts_with("/api/"), "{href}");
        stage.api.get(&href).ok();
    }
}
