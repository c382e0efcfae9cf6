//! SIGKILL in the middle of a rekey.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Place, stderr, stdout};

/// Some 20 pages, each of which takes some milliseconds: longer than it takes to read a line and kill.
const KEYS: u64 = 20_000;

/// Runs a rekey, and kills it when it has logged the beginning of the job and then `steps` times its progress. Returns
/// whether it was killed before it ended.
fn kill_after(place: &Place, steps: usize) -> bool {
    let mut rekey = Command::new(env!("CARGO_BIN_EXE_claviger"))
        .args(["rekey", "--svm", "vs0", "--dir"])
        .arg(place.dir())
        .env("CLAVIGER_LOG", "claviger=debug")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(rekey.stderr.take().unwrap()).lines();
    // The log's end is the command's own.
    let _ = log.map(Result::unwrap).filter(|line| line.contains("progress")).nth(steps);
    rekey.kill().unwrap();
    !rekey.wait().unwrap().success()
}

/// Kills a rekey, and returns the job that waits then, and its UUID.
fn interrupted(place: &Place) -> (Value, String) {
    for _ in 0..20 {
        kill_after(place, 0);
        let jobs = place.json("job list");
        if let Some(job) = jobs["jobs"].as_array().unwrap().iter().find(|job| job["status"] == "interrupted") {
            return (job.clone(), job["id"].as_str().unwrap().to_owned());
        }
    }
    panic!("no rekey was killed before its end");
}

fn place_with_keys() -> Place {
    let place = Place::with_svm();
    place.done(&format!("key create --svm vs0 --count {KEYS}"));
    place
}

#[test]
fn a_rekey_killed_at_any_of_its_steps_loses_no_key() {
    let place = place_with_keys();
    let mut killed = 0;
    for steps in [0, 1, 2, 3, 5, 8] {
        killed += u32::from(kill_after(&place, steps));
        assert_eq!(place.json("verify")["opened"], KEYS);
    }
    assert!(killed > 0, "every rekey was over before it was killed");
    place.done("rekey");
    assert_eq!(place.json("show")["svms"][1]["kek"]["retiring"], Value::Null);
    assert_eq!(place.json("verify")["opened"], KEYS);
}

#[test]
fn any_command_says_which_job_waits_and_waiting_for_it_goes_on() {
    let place = place_with_keys();
    let (job, id) = interrupted(&place);
    let output = place.claviger("show").output().unwrap();
    let said = stderr(&output);
    assert!(said.starts_with("note: job ") && said.contains(&format!("claviger job wait {id} --dir")), "{said}");
    assert!(stdout(&output).contains("interrupted"));
    assert_eq!(place.json("show")["jobs"], json!([job]));

    // Keys are made and opened meanwhile.
    place.done("key create --svm vs0 --count 10");
    assert_eq!(place.json("verify")["opened"], KEYS + 10);

    assert_eq!(place.json(&format!("job wait {id}"))["status"], "succeeded");
    let shown = place.json("show");
    assert_eq!((&shown["jobs"], &shown["svms"][1]["kek"]["retiring"]), (&json!([]), &Value::Null));
    let list = place.json("key list --svm vs0");
    let current = &shown["svms"][1]["kek"]["version"];
    assert!(list["keys"].as_array().unwrap().iter().all(|key| key["kek_version"] == *current));
    assert_eq!(place.json("verify")["opened"], KEYS + 10);
}

#[test]
fn a_cancelled_rekey_leaves_everything_readable_and_can_be_run_again() {
    let place = place_with_keys();
    let (_, id) = interrupted(&place);
    assert_eq!(place.json(&format!("job cancel {id}"))["status"], "cancelled");
    assert!(place.refused(&format!("job wait {id}"), 1).contains("was cancelled"));
    assert!(place.refused(&format!("job cancel {id}"), 2).contains("has ended"));
    assert_eq!(place.json("verify")["opened"], KEYS);

    let rekeyed = place.json("rekey --svm vs0");
    assert_ne!(rekeyed["job"], json!(id));
    assert_eq!(place.json("show")["svms"][1]["kek"]["retiring"], Value::Null);
    assert_eq!(place.json("verify")["opened"], KEYS);
}
