//! Filters: every operator, and every type of field (conventions, section 5).

use serde_json::json;

use crate::support::{KEYSTONE, Stage};

/// Three Barbican configurations of one SVM, of which A is enabled, and one of another.
fn stage() -> Stage {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    let other = stage.svm("vs1");
    let made = [("A", svm, 5), ("Ab", svm, 50), ("cab", svm, 500), ("d", other, 1_500)];
    for (name, svm, seconds) in made {
        let keystore = stage.barbican(svm, name, 1);
        let path = format!("/security/barbican-kms/{keystore}?return_timeout=60");
        stage.api.patch(&path, &json!({ "timeout": seconds, "verify": seconds > 100 })).ok();
        if name == "A" {
            stage.engine.enable(keystore).unwrap().wait().unwrap();
        }
    }
    stage
}

/// The names of the configurations that match.
fn matching(stage: &Stage, query: &str) -> String {
    let path = format!("/security/barbican-kms?{query}&order_by=configuration.name");
    stage.api.column(&path, "/configuration/name").join(" ")
}

#[test]
fn texts() {
    let stage = stage();
    for (query, expected) in [
        ("A", "A"),
        ("a", ""),
        ("*", "A Ab cab d"),
        ("A*", "A Ab"),
        ("*b", "Ab cab"),
        ("*a*", "cab"),
        ("c*b", "cab"),
        ("c*a*b", "cab"),
        ("*A*b*", "Ab"),
        ("A*A", ""),
        ("!A", "Ab cab d"),
        ("!*b", "A d"),
        ("!A*", "cab d"),
        ("A|d", "A d"),
        ("A*|d", "A Ab d"),
        ("!A|d", "Ab cab"),
        ("A|nobody", "A"),
        ("<cab", "A Ab"),
        ("<=cab", "A Ab cab"),
        (">Ab", "cab d"),
        (">=Ab", "Ab cab d"),
        ("Ab..cab", "Ab cab"),
        ("null", ""),
        ("!null", "A Ab cab d"),
        ("", ""),
    ] {
        for spelling in spellings(query) {
            assert_eq!(matching(&stage, &format!("configuration.name={spelling}")), expected, "{spelling}");
        }
    }
    // A URL is a text like any other.
    assert_eq!(matching(&stage, &format!("keystone_url={}", encoded(KEYSTONE))), "A Ab cab d");
    assert_eq!(matching(&stage, "keystone_url=https:*"), "A Ab cab d");
}

/// As the official client sends it: all that is not a letter or a digit is encoded.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The same as people write it, where an address can hold that.
fn spellings(query: &str) -> Vec<String> {
    let as_written = Some(query.to_owned()).filter(|query| !query.contains(['<', '>']));
    as_written.into_iter().chain([encoded(query)]).collect()
}

#[test]
fn numbers() {
    let stage = stage();
    for (query, expected) in [
        ("50", "Ab"),
        ("<50", "A"),
        ("<=50", "A Ab"),
        (">50", "cab d"),
        (">=50", "Ab cab d"),
        ("!50", "A cab d"),
        ("5..500", "A Ab cab"),
        ("6..499", "Ab"),
        ("500..5", ""),
        ("5|500", "A cab"),
        ("!5|500", "Ab d"),
        ("<10|>1000", "A d"),
        ("<1KB", "A Ab cab"),
        (">1kb", "d"),
        ("null", ""),
        ("!null", "A Ab cab d"),
        ("-1", ""),
        (">-1", "A Ab cab d"),
        ("050", "Ab"),
    ] {
        for spelling in spellings(query) {
            assert_eq!(matching(&stage, &format!("timeout={spelling}")), expected, "{spelling}");
        }
    }
    for wrong in ["x", "1.5", "1XB", "", ">", "<=", "!", "1..x", "x..1", "1|x", "99999999999999999999", "9999999PB"] {
        stage.api.get(&format!("/security/barbican-kms?timeout={}", encoded(wrong))).invalid("timeout");
    }
}

#[test]
fn flags() {
    let stage = stage();
    for (query, expected) in [
        ("true", "A"),
        ("True", "A"),
        ("TRUE", "A"),
        ("false", "Ab cab d"),
        ("False", "Ab cab d"),
        ("!true", "Ab cab d"),
        ("true|false", "A Ab cab d"),
        ("null", ""),
        ("!null", "A Ab cab d"),
    ] {
        assert_eq!(matching(&stage, &format!("enabled={}", encoded(query))), expected, "{query}");
    }
    for wrong in ["yes", "1", "t", "", "tru"] {
        stage.api.get(&format!("/security/barbican-kms?enabled={wrong}")).invalid("enabled");
    }
}

#[test]
fn times() {
    let stage = Stage::new();
    let (_, keystore) = stage.own("vs0");
    stage.api.patch(&format!("/security/key-stores/{keystore}?return_timeout=60"), &json!({ "enabled": true })).ok();
    let count = |query: &str| {
        stage.api.get(&format!("/cluster/jobs?start_time={}", encoded(query))).ok()["num_records"].clone()
    };
    let all = count("!null");
    assert_ne!(all, 0);
    assert_eq!(count(">2020-01-01T00:00:00+00:00"), all);
    assert_eq!(count("2020-01-01T00:00:00Z..2100-01-01T00:00:00+02:00"), all);
    assert_eq!(count("<2020-01-01T00:00:00+00:00"), 0);
    // The same moment in another place is the same.
    let shown = stage.api.column("/cluster/jobs?fields=start_time&order_by=start_time", "/start_time").remove(0);
    let elsewhere = shown.replace("+00:00", "-00:00");
    assert_ne!(count(&elsewhere), 0, "{elsewhere}");
    for wrong in ["yesterday", "2020-01-01", "2020-01-01T00:00:00", ""] {
        stage.api.get(&format!("/cluster/jobs?start_time={wrong}")).invalid("start_time");
    }
}

#[test]
fn enumerations() {
    let stage = stage();
    let kinds = |query: &str| {
        let found = stage
            .api
            .column(&format!("/security/key-stores?fields=type&type={}&order_by=type", encoded(query)), "/type");
        found.join(" ")
    };
    assert_eq!(kinds("okm"), "okm");
    assert_eq!(kinds("okm|barbican"), "barbican barbican barbican barbican okm");
    assert_eq!(kinds("!barbican"), "okm");
    // One that the contract knows and that is not there matches nothing.
    assert_eq!(kinds("kmip"), "");
}

#[test]
fn unset_fields_match_only_null() {
    let stage = stage();
    let stores = |query: &str| {
        stage
            .api
            .column(
                &format!("/security/key-stores?fields=type&{query}&order_by=configuration.name"),
                "/configuration/name",
            )
            .join(" ")
    };
    assert_eq!(stores("svm.name=null"), "default");
    assert_eq!(stores("svm.name=%21null"), "A Ab cab d");
    // Neither equal nor unequal.
    assert_eq!(stores("svm.name=%21vs0"), "d");
    assert_eq!(stores("svm.name=%2A"), "A Ab cab d");
    // Inactive ones have no state.
    assert_eq!(stores("state=null"), "Ab cab d");
    assert_eq!(stores("state=active"), "A default");
}

#[test]
fn different_fields_must_all_match() {
    let stage = stage();
    assert_eq!(matching(&stage, "svm.name=vs0&timeout=%3E5"), "Ab cab");
    assert_eq!(matching(&stage, "svm.name=vs0&timeout=%3E5&verify=true"), "cab");
    assert_eq!(matching(&stage, "svm.name=vs1&configuration.name=A"), "");
}

#[test]
fn a_field_that_is_filtered_by_is_shown_and_an_expensive_one_computed() {
    let stage = stage();
    let shown = stage.api.get("/security/barbican-kms?timeout=50").ok();
    assert_eq!(shown["records"][0]["timeout"], 50);
    assert_eq!(shown["records"][0].get("verify"), None);

    let asked = stage.vault.asked();
    assert_eq!(matching(&stage, "barbican_reachability.reachable=true&svm.name=vs0"), "A Ab cab");
    assert_eq!(stage.vault.asked() - asked, 3, "those that another filter leaves out are not asked for");
    stage.vault.set_away(true);
    let shown = stage.api.get("/security/barbican-kms?barbican_reachability.code=!0&order_by=configuration.name").ok();
    assert_eq!(shown["num_records"], 4);
    assert_eq!(shown["records"][0]["barbican_reachability"], json!({ "code": "65539801" }));
    // The configurations that are not enabled have no state, which matches nothing.
    assert_eq!(matching(&stage, "state.cluster_state=false"), "A");
    assert_eq!(matching(&stage, "state.cluster_state=null"), "Ab cab d");
}

#[test]
fn a_parameter_that_is_no_field_is_refused() {
    let stage = stage();
    for (query, target) in [
        ("colour=red", "colour"),
        ("Uuid=x", "Uuid"),
        ("svm=vs0", "svm"),
        ("svm.name.x=vs0", "svm.name.x"),
        ("application_cred_secret=x", "application_cred_secret"),
        ("proxy_password=null", "proxy_password"),
        ("timeout=5&timeout=6", "timeout"),
        ("fields=*&fields=*", "fields"),
        ("action=pause", "action"),
        ("=x", ""),
    ] {
        stage.api.get(&format!("/security/barbican-kms?{query}")).invalid(target);
    }
    // Those of a collection are none of an instance.
    let uuid = stage.api.column("/security/barbican-kms", "/uuid").remove(0);
    for name in ["timeout", "order_by", "max_records", "return_records"] {
        stage.api.get(&format!("/security/barbican-kms/{uuid}?{name}=1")).invalid(name);
    }
}

#[test]
fn bytes_that_are_no_text_match_nothing() {
    let stage = stage();
    for query in ["configuration.name=%FF", "configuration.name=%00", "configuration.name=%", "configuration.name=%zz"]
    {
        assert_eq!(matching(&stage, query), "", "{query}");
    }
}

#[test]
fn unmatched_items_of_lists_are_a_flag() {
    let stage = stage();
    let name = "return_unmatched_nested_array_objects";
    assert_eq!(matching(&stage, &format!("{name}=false")), "A Ab cab d");
    stage.api.get(&format!("/security/barbican-kms?{name}=x")).invalid(name);
}

mod properties {
    use proptest::prelude::*;

    use serde_json::json;

    use super::{encoded, matching, stage};
    use crate::support::Stage;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is asked for, there is an answer, and it is one that conventions allow.
        #[test]
        fn whatever_is_asked_for_is_answered(name in "[a-z_.]{0,12}|timeout|svm\\.name|enabled|fields|order_by", text in "\\PC{0,24}|[<>=!|.*0-9nul]{0,12}") {
            let stage = Stage::bare();
            let reply = stage.api.get(&format!("/security/barbican-kms?{}={}", encoded(&name), encoded(&text)));
            // An SVM's name in a filter must be one's.
            let nobody = name == "svm.name" && reply.status.as_u16() == 404;
            prop_assert!(nobody || matches!(reply.status.as_u16(), 200 | 400), "{reply:?}");
        }
    }

    /// Whether a text is what a pattern says, in the plainest words.
    fn is_like(pattern: &str, text: &str) -> bool {
        match (pattern.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some('*'), None) => is_like(&pattern[1..], text),
            (Some('*'), Some(_)) => is_like(&pattern[1..], text) || is_like(pattern, &text[1..]),
            (Some(a), Some(b)) => a == b && is_like(&pattern[1..], &text[1..]),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    #[test]
    fn patterns_match_what_they_say() {
        let stage = Stage::new();
        let names = ["a", "b", "ab", "ba", "aa", "bb", "aba", "bab", "abab", "aabb", "bbaa", "abba"];
        for name in names {
            stage.svm(name);
        }
        proptest!(ProptestConfig::with_cases(256), |(pattern in "[ab*]{1,6}")| {
            let found = stage.api.column(&format!("/svm/svms?order_by=name&name={}", encoded(&pattern)), "/name");
            let mut expected: Vec<_> = names.into_iter().filter(|name| is_like(&pattern, name)).collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
            let path = format!("/svm/svms?order_by=name&name=%21{}", encoded(&pattern));
            let mut others: Vec<_> = names.into_iter().filter(|name| !is_like(&pattern, name)).collect();
            others.sort_unstable();
            prop_assert_eq!(stage.api.column(&path, "/name"), others);
        });
    }

    #[test]
    fn numbers_compare_as_numbers() {
        let stage = Stage::new();
        let (svm, sizes) = (stage.svm("vs0"), [0_i64, 1, 2, 9, 10, 11, 99, 100, 1_023, 1_024, 1 << 40]);
        for size in sizes {
            let body = json!({ "name": format!("v{size}"), "svm": { "uuid": svm.to_string() }, "size": size, "encryption": { "enabled": false } });
            stage.api.post("/storage/volumes", &body).job();
        }
        proptest!(ProptestConfig::with_cases(128), |(a in 0..1_200_i64, b in 0..1_200_i64)| {
            let count = |query: String| stage.api.get(&format!("/storage/volumes?size={}", encoded(&query))).ok()["num_records"].as_u64();
            let expected = |is_it: &dyn Fn(i64) -> bool| Some(sizes.iter().filter(|size| is_it(**size)).count() as u64);
            prop_assert_eq!(count(format!("<{a}")), expected(&|size| size < a));
            prop_assert_eq!(count(format!(">={a}")), expected(&|size| size >= a));
            prop_assert_eq!(count(format!("{a}..{b}")), expected(&|size| a <= size && size <= b));
            prop_assert_eq!(count(format!("!{a}|>{b}")), expected(&|size| !(size == a || size > b)));
        });
    }

    /// A value without operators in it means itself: what is shown finds what showed it.
    #[test]
    fn what_is_shown_finds_it_again() {
        let stage = stage();
        let all = stage.api.get("/security/barbican-kms?fields=*").ok();
        for record in all["records"].as_array().unwrap() {
            let name = record["configuration"]["name"].as_str().unwrap();
            for (field, value) in record.as_object().unwrap().iter().filter(|(field, _)| *field != "_links") {
                let text = match value {
                    serde_json::Value::String(text) if !text.is_empty() => text.clone(),
                    serde_json::Value::Number(_) | serde_json::Value::Bool(_) => value.to_string(),
                    _ => continue,
                };
                let found = matching(&stage, &format!("{field}={}", encoded(&text)));
                assert!(found.split(' ').any(|one| one == name), "{field}={text}: {found}");
            }
        }
    }
}
