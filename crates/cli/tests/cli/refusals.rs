//! What cannot be done as asked: an exit code, a message, and nothing changed.

use crate::support::{PASSPHRASE, Place, UUID, claviger, stderr, stdout};

#[test]
fn the_directory_must_be_named() {
    for command in ["init", "svm list", "key list --svm vs0", "rekey", "verify", "show", "job list", "backup create"] {
        let output = claviger(command).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(stderr(&output).contains("--dir D is missing"), "{command}");
    }
}

#[test]
fn where_no_hierarchy_is_nothing_is_made() {
    let place = Place::empty();
    for command in ["show", "verify", "rekey", "svm create vs0", "keystore create onboard --passphrase-file p"] {
        assert!(place.refused(command, 3).contains("there is no store"), "{command}");
    }
    assert!(!place.dir().exists());
}

#[test]
fn a_hierarchy_is_made_once() {
    let place = Place::with_svm();
    assert!(place.refused("init", 4).contains("there is a hierarchy already"));
    assert!(place.refused("init --name other", 4).contains("there is a hierarchy already"));
    assert!(place.done("svm list").contains("admin SVM cluster"));
}

/// A command, its exit code, and a part of its message.
pub(crate) const REFUSED: &[(&str, i32, &str)] = &[
    ("svm create vs0", 4, "exists already"),
    ("svm create 0vs", 2, "an SVM's name has"),
    ("svm delete nope", 3, "does not exist"),
    ("svm delete cluster", 2, "stands for the cluster"),
    ("svm delete vs0", 2, "has keys"),
    ("svm rename vs0 cluster", 4, "exists already"),
    ("svm rename vs0 .hidden", 2, "an SVM's name has"),
    ("keystore create onboard --passphrase-file p", 4, "has an onboard keystore already"),
    ("keystore show nope", 2, "as SVM/NAME"),
    ("keystore show nope/barbican", 3, "\"nope\" does not exist"),
    ("keystore show vs0/barbican", 3, "SVM vs0 has no keystore named \"barbican\""),
    ("keystore check 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 3, "does not exist"),
    ("keystore enable vs0/barbican", 3, "has no keystore"),
    ("keystore enable cluster", 2, "is the cluster's"),
    ("keystore delete cluster", 2, "is the cluster's"),
    ("keystore update cluster --timeout 5", 2, "is the cluster's"),
    ("keystore update cluster --timeout 0", 2, "0 is not in 1..=3600"),
    ("keystore update cluster", 2, "nothing is named that is to change"),
    ("keystore update cluster --verify --danger-no-verify", 2, "cannot be used with"),
    ("keystore update cluster --credential-file p", 2, "--credential-id"),
    ("keystore update cluster --proxy-password-file p", 2, "--proxy"),
    ("keystore update cluster --ca p", 2, "holds no certificates"),
    ("keystore update cluster --ca missing", 3, "missing"),
    ("keystore update cluster --credential-id id", 2, "no secret of the application credential was given"),
    ("keystore update cluster --proxy http://me@proxy:1", 2, "no password of the proxy's user was given"),
    ("keystore update cluster --proxy http://proxy:1 --proxy-password-file p", 2, "names no user"),
    ("keystore switch --svm vs0 --to cluster", 3, "has no keystore of its own that is enabled"),
    ("keystore list --svm nope", 3, "does not exist"),
    (
        "rekey --svm vs0 --external https://b.example.com/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
        3,
        "no keystore",
    ),
    ("rekey --external https://b.example.com/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 2, "--svm"),
    ("rekey --svm vs0 --external https://b.example.com/v1/secrets/17", 2, "must end in /secrets/"),
    ("migrate --svm vs0 --to cluster", 3, "has no keystore of its own that is enabled"),
    ("kek show nope", 3, "does not exist"),
    ("kek restore", 2, "--svm"),
    ("kek restore --svm cluster", 2, "it has no KEK"),
    ("kek restore --svm nope", 3, "does not exist"),
    ("svm show nope", 3, "does not exist"),
    ("key create --svm nope --count 1", 3, "\"nope\" does not exist"),
    ("key create --svm vs0", 2, "--count"),
    ("key create --svm vs0 --count 0", 2, "invalid value '0'"),
    ("key create --svm vs0 --volume 17", 2, "invalid value '17'"),
    ("key create --svm vs0 --count 1 --algorithm des", 2, "xts-aes-256"),
    ("key create --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 4, "has a key already"),
    ("key create --count 1", 2, "--svm"),
    ("key show --svm vs0 --drive 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 3, "has no key in this SVM"),
    ("key delete --svm vs0 --drive 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 3, "has no key in this SVM"),
    ("key list --svm vs0 --type tape", 2, "invalid value 'tape'"),
    ("key rotate finish --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 2, "begin one first"),
    ("rekey --svm nope", 3, "does not exist"),
    ("rekey --svm cluster", 2, "nothing to rekey"),
    ("job show 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 3, "does not exist"),
    ("job wait 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 3, "does not exist"),
    ("job cancel 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", 3, "does not exist"),
    ("job wait x", 2, "invalid value 'x'"),
    ("backup create --output p", 4, "exists already"),
    ("backup create --output no/such/dir", 3, "no/such/dir"),
    ("backup restore", 2, "--from"),
    ("show --passphrase-file p --passphrase-fd 0", 2, "cannot be used with"),
    ("show --passphrase correct", 2, "unexpected argument"),
    ("destroy", 2, "unrecognized subcommand"),
];

#[test]
fn a_request_that_cannot_be_done_says_why_and_changes_nothing() {
    let place = Place::with_svm();
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    let before = place.json("show");
    for (command, exit, message) in REFUSED {
        let said = place.refused(command, *exit);
        assert!(said.contains(message), "{command}: {said}");
    }
    let mut after = place.json("show");
    after["memory"] = before["memory"].clone();
    assert_eq!(after, before);
    assert_eq!(std::fs::read_to_string(place.path("p")).unwrap(), PASSPHRASE);
}

#[test]
fn a_rotation_runs_once() {
    let place = Place::with_svm();
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    place.done(&format!("key rotate begin --svm vs0 --volume {UUID}"));
    place.refused(&format!("key rotate begin --svm vs0 --volume {UUID}"), 4);
    place.done(&format!("key rotate finish --svm vs0 --volume {UUID}"));
    place.refused(&format!("key rotate finish --svm vs0 --volume {UUID}"), 2);
}

#[test]
fn without_a_keystore_no_key_is_made() {
    let place = Place::empty();
    place.done("init");
    place.done("svm create vs0");
    for command in
        ["key create --svm vs0 --count 1", "keystore show", "backup create", "keystore unlock --passphrase-file p"]
    {
        assert!(place.refused(command, 3).contains("keystore"), "{command}");
    }
    assert_eq!(place.json("key list --svm vs0")["keys"].as_array().unwrap().len(), 0);
}

#[test]
fn what_cannot_be_read_is_told_in_one_line_of_json() {
    for (args, message) in [
        (
            "key rotate --json",
            "'claviger key rotate' requires a subcommand but one was not provided [subcommands: begin, finish, help]",
        ),
        ("svm create --json", "the following required arguments were not provided: <NAME>"),
        ("--json rekey now", "unexpected argument 'now' found"),
    ] {
        let output = claviger(args).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{args}");
        let error: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
        assert_eq!(error["error"]["message"], message, "{args}");
    }
}

#[test]
fn a_result_that_cannot_be_printed_is_told() {
    let place = Place::with_svm();
    for args in ["show", "key list --svm vs0", "completions bash"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_claviger"));
        command.args(args.split_whitespace()).arg("--json").arg("--dir").arg(place.dir()).stdout(full);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{args}: {}", stderr(&output));
        assert!(stderr(&output).contains("could not be printed"), "{args}");
    }
}

#[test]
fn a_log_filter_that_is_none_is_refused() {
    let place = Place::with_svm();
    let output = place.claviger("show").env("CLAVIGER_LOG", "claviger=loud").output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("CLAVIGER_LOG"));
}
