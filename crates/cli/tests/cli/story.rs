//! The whole story, command by command.

use serde_json::{Value, json};

use crate::support::{Place, UUID, claviger, closed_pipe, stdout};

#[test]
fn from_init_to_delete() {
    let place = Place::empty();
    let made = place.json("init --name cluster1");
    assert_eq!(made["svm"]["name"], "cluster1");
    assert_eq!(place.json("keystore create onboard --passphrase-file p")["mode"], "unattended");
    assert_eq!(place.json("keystore show")["state"], "open");
    let vs0 = place.json("svm create vs0")["id"].clone();
    place.done("svm create vs1");

    let volume = place.json(&format!("key create --svm vs0 --volume {UUID}"));
    assert_eq!(
        volume,
        json!({ "type": "volume", "object": UUID, "algorithm": "XTS-AES-256", "version": 1, "kek_version": 1 })
    );
    let aggregate = place.json(&format!("key create --svm vs0 --aggregate {UUID} --algorithm aes-256"));
    assert_eq!(aggregate["algorithm"], "AES-256");
    // An SVM goes by its UUID too.
    let drive = place.json(&format!("key create --svm {} --drive {UUID}", vs0.as_str().unwrap()));
    assert_eq!((&drive["type"], &drive["algorithm"]), (&json!("drive"), &json!("AES-256")));
    assert_eq!(place.json("key create --svm vs0 --count 1500"), json!({ "svm": "vs0", "created": 1500 }));

    let rotating = place.json(&format!("key rotate begin --svm vs0 --volume {UUID}"));
    assert_eq!((&rotating["version"], &rotating["rotating_from"]), (&json!(2), &json!(1)));
    let rekeyed = place.json("rekey --svm vs0");
    assert_eq!((&rekeyed["keys"], &rekeyed["kek_version"]), (&json!(1503), &json!(2)));
    let rotated = place.json(&format!("key rotate finish --svm vs0 --volume {UUID}"));
    assert_eq!((&rotated["version"], &rotated["kek_version"]), (&json!(2), &json!(2)));
    assert_eq!(rotated.get("rotating_from"), None);

    let jobs = place.json("job list");
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    let job = place.json(&format!("job show {}", rekeyed["job"].as_str().unwrap()));
    assert_eq!((&job["status"], &job["done"], &job["svm"]), (&json!("succeeded"), &json!(1503), &json!("vs0")));
    assert_eq!(place.json(&format!("job wait {}", rekeyed["job"].as_str().unwrap())), job);

    let shown = place.json("show");
    let names: Vec<_> = shown["svms"].as_array().unwrap().iter().map(|svm| svm["name"].clone()).collect();
    assert_eq!(names, ["cluster1", "vs0", "vs1"]);
    assert_eq!(shown["svms"][0]["admin"], true);
    assert_eq!(shown["svms"][1]["keys"], json!({ "volume": 1501, "aggregate": 1, "drive": 1 }));
    assert_eq!(shown["svms"][1]["kek"]["version"], 2);
    assert_eq!((&shown["svms"][2]["kek"], &shown["jobs"]), (&Value::Null, &json!([])));
    assert_eq!(shown["hierarchy"], made["hierarchy"]);

    place.done("svm rename vs0 archive");
    place.done(&format!("key delete --svm archive --drive {UUID}"));
    place.refused(&format!("key show --svm archive --drive {UUID}"), 3);
    assert_eq!(place.json(&format!("key show --svm archive --aggregate {UUID}"))["kek_version"], 2);
    assert_eq!(place.json("svm delete vs1")["deleted"]["name"], "vs1");
    assert_eq!(place.json("svm list")["svms"].as_array().unwrap().len(), 2);
    let verified = place.json("verify");
    assert_eq!((&verified["opened"], &verified["findings"]), (&json!(1502), &json!([])));
}

#[test]
fn rekey_takes_every_svm_and_passes_over_those_without_keys() {
    let place = Place::with_svm();
    place.done("svm create vs1");
    place.done("key create --svm vs0 --count 3");
    place.done("key create --svm vs1 --count 2");
    let rekeys = place.json("rekey");
    assert_eq!(rekeys["skipped"], json!(["cluster"]));
    assert_eq!(rekeys["failed"], json!([]));
    let keys: Vec<_> = rekeys["rekeyed"].as_array().unwrap().iter().map(|svm| svm["keys"].clone()).collect();
    assert_eq!(keys, [3, 2]);
    assert!(place.done("rekey").ends_with("5 keys rekeyed\n"));
}

#[test]
fn a_list_is_in_the_order_of_type_and_object_and_can_be_narrowed() {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 2100");
    place.done(&format!("key create --svm vs0 --aggregate {UUID}"));
    place.done(&format!("key create --svm vs0 --drive {UUID}"));

    let list = |args: &str| place.json(&format!("key list --svm vs0 {args}"))["keys"].as_array().unwrap().clone();
    let all = list("");
    assert_eq!(all.len(), 2102);
    let volumes: Vec<_> = all[..2100].iter().map(|key| key["object"].as_str().unwrap()).collect();
    assert!(volumes.is_sorted_by(|a, b| a < b));
    assert_eq!((&all[2100]["type"], &all[2101]["type"]), (&json!("aggregate"), &json!("drive")));

    assert_eq!(list("--type volume"), all[..2100]);
    assert_eq!(list("--type aggregate"), all[2100..2101]);
    assert_eq!(list("--type drive"), all[2101..]);
    assert_eq!(list("--limit 1500"), all[..1500]);
    assert_eq!(list("--type volume --limit 5000"), all[..2100]);
    assert!(list("--limit 0").is_empty());
    assert!(place.json("key list --svm cluster")["keys"].as_array().unwrap().is_empty());

    let text = place.done("key list --svm vs0");
    assert_eq!(text.lines().count(), 2102);
    assert!(text.lines().last().unwrap().starts_with(&format!("drive      {UUID}  AES-256")));
}

#[test]
fn whoever_reads_the_first_line_only_is_no_error() {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 2000");
    for args in ["key list --svm vs0", "key list --svm vs0 --json", "show", "completions bash", "--help"] {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("claviger"));
        command.args(args.split_whitespace()).arg("--dir").arg(place.dir()).stdout(closed_pipe());
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{args}");
    }
}

#[test]
fn common_options_stand_before_or_behind_the_command() {
    let place = Place::with_svm();
    let dir = place.dir();
    let before = claviger("--json --dir").arg(&dir).args(["svm", "list"]).output().unwrap();
    let between = claviger("svm --json --dir").arg(&dir).arg("list").output().unwrap();
    let behind = claviger("svm list --json --dir").arg(&dir).output().unwrap();
    assert!(stdout(&before).contains("vs0"));
    assert_eq!(stdout(&before), stdout(&between));
    assert_eq!(stdout(&before), stdout(&behind));
}

#[test]
fn what_is_logged_goes_to_standard_error() {
    let place = Place::with_svm();
    let output = place.claviger("svm create vs1 --json").env("CLAVIGER_LOG", "claviger=info").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("SVM created"));
    let svm: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(svm["name"], "vs1");
}
