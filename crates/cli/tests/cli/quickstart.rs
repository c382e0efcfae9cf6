//! The whole story in one command.

use serde_json::Value;

use crate::support::{Place, claviger, stderr, stdout};

fn story(args: &str) -> Value {
    let output = claviger(&format!("quickstart --json {args}")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn assert_numbers(story: &Value, keys: u64) {
    for number in ["keys", "opened", "rekeyed", "verified"] {
        assert_eq!(story[number], keys, "{number}");
    }
}

#[test]
fn as_many_keys_as_are_asked_for_are_made_rekeyed_and_verified() {
    let story = story("--keys 2501");
    assert_numbers(&story, 2501);
    assert_eq!(story["svms"][0]["keys"], 1251);
    assert_eq!(story["svms"][1]["keys"], 1250);
    assert_eq!(story["svms"][1]["kek_version"], 2);
    assert!(["memfd_secret", "mlock"].contains(&story["protection"].as_str().unwrap()));
    assert!(story["times_ms"]["rekey"].is_u64());
    assert_eq!(story["dir"], Value::Null);
}

#[test]
fn a_single_key_leaves_the_second_svm_without_keys() {
    let story = story("--keys 1");
    assert_numbers(&story, 1);
    assert_eq!(story["svms"][1]["kek_version"], Value::Null);
}

#[test]
fn nothing_is_left_behind_where_no_directory_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let output = claviger("quickstart --keys 10").env("TMPDIR", scratch.path()).output().unwrap();
    // Nor is a passphrase shown, which nobody will need.
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_named_directory_keeps_the_hierarchy_and_the_passphrase_is_shown_once() {
    let place = Place::empty();
    let output = place.claviger("quickstart --keys 100").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("100 keys made, 100 opened, 100 rekeyed, 100 verified"));

    let shown = stderr(&output);
    let passphrase = shown.trim_end().rsplit(": ").next().unwrap().to_owned();
    assert_eq!(passphrase.len(), 48, "{shown}");
    assert!(!stdout(&output).contains(&passphrase));
    place.write("shown", &passphrase);
    place.done("keystore unlock --passphrase-file shown");

    assert_eq!(place.json("verify")["opened"], 100);
    assert_eq!(place.json("show")["svms"][1]["keys"]["volume"], 50);
    let tree = place.done("show");
    assert!(tree.starts_with("cluster: hierarchy ") && tree.contains("├── SVM vs0 ("), "{tree}");
    assert!(tree.contains("KEK version 2") && tree.contains("volume keys: 50"), "{tree}");

    place.refused("quickstart --keys 100", 4);
    assert_eq!(place.json("verify")["opened"], 100);
}

#[test]
fn a_passphrase_that_is_given_is_used_and_not_shown() {
    let place = Place::empty();
    let output = place.claviger("quickstart --keys 10 --json --passphrase-file p").output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    place.done("keystore unlock --passphrase-file p");
}

#[test]
fn no_keys_are_no_story() {
    assert!(stderr(&claviger("quickstart --keys 0").output().unwrap()).contains("invalid value '0'"));
    claviger("quickstart --keys 0").assert().code(2);
}
