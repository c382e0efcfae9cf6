//! Keystores of SVMs, as far as nobody outside the node is asked.

use serde_json::{Value, json};

use crate::support::{Place, stderr, stdout};

/// Where nobody listens.
const SITE: &str = "--key-id https://127.0.0.1:1/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a \
                    --keystone-url https://127.0.0.1:1/v3 --credential-id me --danger-no-verify";
const SECRET: &str = "a word that nobody else says";

fn place() -> Place {
    let place = Place::with_svm();
    place.write("secret", SECRET);
    place
}

fn create(place: &Place, name: &str, more: &str) -> Value {
    place.json(&format!("keystore create barbican --svm vs0 {name} {SITE} --credential-file secret {more}"))
}

#[test]
fn what_the_facts_beside_the_store_do_not_allow_is_refused() {
    let place = place();
    let create = format!("keystore create barbican --svm vs0 first {SITE} --credential-file secret");
    for facts in ["[licenses]\nmt_ek_mgmt = false\n", "[metrocluster]\nconfigured = \"unknown\"\n", "this is no TOML"] {
        std::fs::write(place.dir().join("facts.toml"), facts).unwrap();
        place.refused(&create, if facts.contains("false") { 2 } else { 7 });
    }
    std::fs::remove_file(place.dir().join("facts.toml")).unwrap();
    place.done(&create);
}

#[test]
fn a_keystore_is_made_listed_shown_and_deleted_while_the_network_is_down() {
    let place = place();
    let made = create(&place, "barbican", "");
    assert_eq!((&made["svm"], &made["name"], &made["enabled"]), (&json!("vs0"), &json!("barbican"), &json!(false)));
    assert_eq!(
        (&made["kind"], &made["timeout_seconds"], &made["verify_host"]),
        (&json!("barbican"), &json!(10), &json!(true))
    );
    create(&place, "second", "");

    let named = |value: &Value| -> Vec<String> {
        let keystores = value["keystores"].as_array().unwrap().iter();
        keystores.map(|one| one["name"].as_str().unwrap_or("cluster").to_owned()).collect()
    };
    assert_eq!(named(&place.json("keystore list")), ["cluster", "barbican", "second"]);
    assert_eq!(named(&place.json("keystore list --svm vs0")), ["barbican", "second"]);
    assert!(named(&place.json("keystore list --svm cluster")).is_empty());
    assert!(place.done("keystore list").contains("keystore vs0/barbican ("));

    // By its name and by its UUID.
    let id = made["id"].as_str().unwrap();
    let shown = place.json("keystore show vs0/barbican");
    assert_eq!(shown, place.json(&format!("keystore show {id}")));
    assert_eq!((&shown["status"]["state"], &shown["status"]["keeps_keks"]), (&Value::Null, &json!(false)));
    let text = place.done("keystore show vs0/barbican");
    for part in ["barbican, not enabled", "NOT VERIFIED", "limit of one call: 10 s", "keeps no KEK", "no KEK yet"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(place.json("show")["svms"][1]["keystore"], Value::Null);

    assert!(place.refused("svm delete vs0", 2).contains("keystore"));
    assert_eq!(place.json("keystore delete vs0/second")["deleted"]["name"], "second");
    assert_eq!(place.json(&format!("keystore delete {id}"))["deleted"]["name"], "barbican");
    place.refused("keystore show vs0/barbican", 3);
    place.done("svm delete vs0");
}

#[test]
fn what_was_asked_for_is_what_is_kept() {
    let place = place();
    place.write("password", "another word");
    let more = "--proxy https://corp%5Cme@[::1]:3128 --proxy-password-file password --timeout 30";
    let made = create(&place, "behind", more);
    assert_eq!((&made["proxy"], &made["proxy_user"]), (&json!("https://[::1]:3128"), &json!("corp\\me")));
    assert_eq!((&made["timeout_seconds"], &made["verify"]), (&json!(30), &json!(false)));
    assert_eq!(made["credential_id"], "me");
    let text = place.done("keystore show vs0/behind");
    assert!(text.contains("proxy: https://[::1]:3128, as corp\\me"), "{text}");
}

#[test]
fn a_name_is_taken_once_and_the_admin_svm_has_no_keystore_of_its_own() {
    let place = place();
    create(&place, "barbican", "");
    let again = format!("keystore create barbican --svm vs0 barbican {SITE} --credential-file secret");
    assert!(place.refused(&again, 4).contains("has a keystore named \"barbican\" already"));
    let admin = format!("keystore create barbican --svm cluster barbican {SITE} --credential-file secret");
    assert!(place.refused(&admin, 2).contains("admin SVM"));
    let nowhere = format!("keystore create barbican --svm nope barbican {SITE} --credential-file secret");
    assert!(place.refused(&nowhere, 3).contains("does not exist"));
}

#[test]
fn a_secret_comes_from_a_file_or_a_descriptor_and_is_not_empty() {
    let place = place();
    let base = format!("keystore create barbican --svm vs0 x {SITE}");
    assert!(place.refused(&base, 2).contains("no secret of the application credential was given"));
    place.write("empty", "\n");
    assert!(place.refused(&format!("{base} --credential-file empty"), 2).contains("has no"));
    place.write("long", &"x".repeat(1_001));
    assert!(place.refused(&format!("{base} --credential-file long"), 2).contains("more than 1000 bytes"));
    place.refused(&format!("{base} --credential-file missing"), 3);
    place.refused(&format!("{base} --credential-file secret --credential-fd 0"), 2);
    place.refused(&format!("{base} --credential-fd 77"), 3);

    let output = place.claviger(&format!("{base} --credential-fd 0")).write_stdin(SECRET).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    let place = place();
    let base = "keystore create barbican --svm vs0 x --credential-id me --credential-file secret";
    let key = "--key-id https://127.0.0.1:1/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a";
    let keystone = "--keystone-url https://127.0.0.1:1/v3";
    for (args, why) in [
        (format!("{base} {key} {keystone} --proxy http://me:hush@127.0.0.1:1"), "--proxy-password-file"),
        (format!("{base} {key} --keystone-url https://me:hush@127.0.0.1:1/v3"), "no user name and no password"),
        (format!("{base} {keystone} --key-id https://me:hush@127.0.0.1:1/v1/secrets/17"), "no user name"),
        (format!("{base} {key} {keystone} --credential-secret=hush"), "unexpected argument"),
        ("rekey --svm vs0 --external https://me:hush@127.0.0.1:1/v1/secrets/17".to_owned(), "no user name"),
    ] {
        let said = place.refused(&args, 2);
        assert!(said.contains(why) && !said.contains("hush"), "{said}");
        let json = stderr(&place.claviger(&args).arg("--json").output().unwrap());
        assert!(!json.contains("hush"), "{json}");
    }
}

#[test]
fn where_nobody_listens_the_exit_code_says_that_it_is_the_keeper() {
    let place = place();
    create(&place, "barbican", "");
    for args in [
        "keystore enable vs0/barbican",
        "keystore enable vs0/barbican --migrate",
        "keystore update vs0/barbican --timeout 20",
    ] {
        let said = place.refused(args, 8);
        assert!(said.contains("the keeper did not answer") && said.contains("Keystone"), "{args}: {said}");
        assert!(said.contains("advice: try again later"), "{args}: {said}");
    }
    let shown = place.json("keystore show vs0/barbican");
    assert_eq!((&shown["enabled"], &shown["timeout_seconds"]), (&json!(false), &json!(10)));
    let failed = &place.json("job list")["jobs"][0];
    assert_eq!((&failed["operation"], &failed["status"]), (&json!("enable"), &json!("failed")));
    assert_eq!(failed["keystore"], shown["id"]);
    assert!(place.done("job list").contains("enable of SVM vs0: "));
    place.refused("keystore disable vs0/barbican", 2);
}

#[test]
fn a_check_shows_each_hop_and_stops_at_the_first_that_fails() {
    let place = place();
    create(&place, "barbican", "");
    let output = place.claviger("keystore check vs0/barbican").output().unwrap();
    assert_eq!(output.status.code(), Some(8));
    let [hop] = stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    assert!(hop.starts_with("Keystone         failed") && hop.contains(" ms  "), "{hop}");
    assert!(stderr(&output).starts_with("error: the keeper did not answer"));

    let output = place.claviger("keystore check vs0/barbican --json").output().unwrap();
    assert_eq!(output.status.code(), Some(8));
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&checked["passed"], &checked["hops"][0]["hop"]), (&json!(false), &json!("Keystone")));
    assert_eq!(checked["hops"].as_array().unwrap().len(), 1);

    // The cluster's, which is in the node.
    assert!(place.done("keystore check").contains("all is well"));
    assert_eq!(place.json("keystore check cluster")["hops"][0]["passed"], true);
}

#[test]
fn keks_that_the_cluster_keeps_are_restored_without_the_network() {
    let place = place();
    place.done("key create --svm vs0 --count 1");
    assert_eq!(place.json("kek restore --svm vs0")["svms"], 1);
    assert!(place.done("kek restore --all").ends_with("SVMs: 1\n"));
    let kept = place.json("kek show vs0");
    assert_eq!((&kept["keks"][0]["version"], &kept["keks"][0]["key_id"]), (&json!(1), &Value::Null));
    assert_eq!(kept["keks"][0]["wrapped"].as_str().unwrap().len(), 80);
    assert_eq!(kept["keks"][0]["keystore"], place.json("keystore show")["id"]);
    assert!(place.done("kek show cluster").contains("no KEK yet"));
    let shown = place.json("svm show vs0");
    assert_eq!((&shown["kek"]["in_memory"], &shown["keys"]["volume"]), (&json!(true), &json!(1)));
}
