//! `fields`: which fields an answer has (conventions, section 4).

use serde_json::{Value, json};

use crate::support::Stage;

/// The dotted names of all values in a record.
fn names(record: &Value) -> Vec<String> {
    fn collect(value: &Value, at: &str, names: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members.iter().filter(|(name, _)| *name != "_links") {
                    collect(value, &format!("{at}.{name}"), names);
                }
            }
            _ => names.push(at.trim_start_matches('.').to_owned()),
        }
    }
    let mut all = Vec::new();
    collect(record, "", &mut all);
    all.sort();
    all
}

/// What a Barbican configuration shows in a collection and alone.
fn barbican(query: &str) -> [Vec<String>; 2] {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let list = stage.api.get(&format!("/security/barbican-kms?{query}")).ok();
    let one = stage.api.get(&format!("/security/barbican-kms/{keystore}?{query}")).ok();
    [names(&list["records"][0]), names(&one)]
}

const KEYS: [&str; 3] = ["configuration.name", "configuration.uuid", "uuid"];
const COMMON: [&str; 16] = [
    "application_cred_id",
    "configuration.name",
    "configuration.uuid",
    "enabled",
    "key_id",
    "keystone_url",
    "proxy_host",
    "proxy_port",
    "proxy_type",
    "proxy_username",
    "scope",
    "svm.name",
    "svm.uuid",
    "timeout",
    "uuid",
    "verify",
];
const EXPENSIVE: [&str; 6] = [
    "barbican_reachability.code",
    "barbican_reachability.message",
    "barbican_reachability.reachable",
    "state.cluster_state",
    "state.code",
    "state.message",
];

fn with(names: &[&str], more: &[&str]) -> Vec<String> {
    let mut all: Vec<_> = names.iter().chain(more).map(|name| (*name).to_owned()).collect();
    all.sort();
    all
}

fn common() -> Vec<String> {
    with(&COMMON, &["verify_host"])
}

#[test]
fn without_fields_a_collection_shows_keys_and_an_instance_what_is_common() {
    assert_eq!(barbican(""), [with(&KEYS, &[]), common()]);
}

#[test]
fn an_asterisk_is_what_is_common_and_two_are_everything() {
    for query in ["fields=*", "fields=%2A", "fields=%20*%20"] {
        assert_eq!(barbican(query), [common(), common()], "{query}");
    }
    let all = with(&COMMON, &[&["verify_host"], EXPENSIVE.as_slice()].concat());
    for query in ["fields=**", "fields=%2A%2A", "fields=*,**"] {
        assert_eq!(barbican(query), [all.clone(), all.clone()], "{query}");
    }
}

#[test]
fn an_empty_one_is_none() {
    assert_eq!(barbican("fields="), barbican(""));
    assert_eq!(barbican("fields=%20"), barbican(""));
}

#[test]
fn named_fields_come_beside_the_keys() {
    for query in
        ["fields=timeout,verify", "fields=timeout%2Cverify", "fields=timeout,%20verify", "fields=timeout,+verify"]
    {
        let expected = with(&KEYS, &["timeout", "verify"]);
        assert_eq!(barbican(query), [expected.clone(), expected], "{query}");
    }
    let expected = with(&KEYS, &["svm.name"]);
    assert_eq!(barbican("fields=svm.name"), [expected.clone(), expected]);
}

#[test]
fn a_parent_selects_all_its_members() {
    let expected = with(&KEYS, &["svm.name", "svm.uuid"]);
    assert_eq!(barbican("fields=svm"), [expected.clone(), expected]);
    let expected = with(&KEYS, &EXPENSIVE[3..]);
    assert_eq!(barbican("fields=state"), [expected.clone(), expected]);
}

#[test]
fn an_expensive_field_is_computed_where_it_is_named() {
    let expected = with(&KEYS, &["barbican_reachability.code"]);
    assert_eq!(barbican("fields=barbican_reachability.code"), [expected.clone(), expected]);
    let expected = with(&common().iter().map(String::as_str).collect::<Vec<_>>(), &EXPENSIVE[3..]);
    assert_eq!(barbican("fields=*,state"), [expected.clone(), expected]);

    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let asked = stage.vault.asked();
    for query in ["", "?fields=*", "?fields=state", "?fields=enabled"] {
        stage.api.get(&format!("/security/barbican-kms{query}")).ok();
        stage.api.get(&format!("/security/barbican-kms/{keystore}{query}")).ok();
    }
    assert_eq!(stage.vault.asked(), asked, "Barbican was asked though nobody wants to know");
    stage.api.get(&format!("/security/barbican-kms/{keystore}?fields=barbican_reachability")).ok();
    assert_eq!(stage.vault.asked(), asked + 1);
}

#[test]
fn links_are_never_a_field_of_their_own() {
    assert_eq!(barbican("fields=_links")[0], with(&KEYS, &[]));
    assert_eq!(barbican("fields=timeout,_links")[1], with(&KEYS, &["timeout"]));
}

#[test]
fn an_unknown_field_is_refused() {
    let stage = Stage::new();
    let (svm, keystore) = stage.own("vs0");
    let instances = [format!("/security/barbican-kms/{keystore}"), format!("/svm/svms/{svm}")];
    let collections =
        ["/security/barbican-kms", "/svm/svms", "/cluster/jobs", "/cluster/nodes", "/security/key-stores"];
    for path in collections.into_iter().map(str::to_owned).chain(instances) {
        for name in ["colour", "uuid.x", "***", "uuid,colour", "Uuid", "sv", "svm."] {
            stage.api.get(&format!("{path}?fields={name}")).invalid("fields");
        }
    }
}

#[test]
fn what_is_only_written_never_comes_back() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    let path = format!("/security/barbican-kms/{keystore}");
    stage.api.patch(
        &format!("{path}?return_timeout=120"),
        &json!({ "proxy_host": "proxy", "proxy_port": 3128, "proxy_username": "me", "proxy_password": "unlisted-word" }),
    )
    .ok();
    for query in ["fields=*", "fields=**", "fields=application_cred_secret,proxy_password"] {
        for path in [format!("{path}?{query}"), format!("/security/barbican-kms?{query}")] {
            // Whoever names one gets nothing of it, and no error: the official client asks for all that it knows.
            let shown = stage.api.ask("GET", &path).accept("application/json").send().ok().to_string();
            assert!(!shown.contains("application_cred_secret") && !shown.contains("proxy_password"), "{shown}");
            assert!(!shown.contains("unlisted-word"), "{shown}");
        }
    }
    let managers =
        stage.api.ask("GET", "/security/key-managers?fields=**").accept("application/json").send().ok().to_string();
    assert!(managers.contains("\"onboard\"") && !managers.contains("passphrase"), "{managers}");
}
