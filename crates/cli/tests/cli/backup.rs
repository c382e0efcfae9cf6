//! Backups, and recovery from them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{Place, closed_pipe, copy, files, stderr, stdout};

/// A hierarchy with 20 keys, a copy of its directory, and a backup.
fn backed_up() -> Place {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 20");
    copy(&place.dir(), &place.path("copy"));
    place.done("backup create --output backup");
    place
}

/// `backup restore` into a new directory beside the old one.
fn restore(place: &Place, args: &str) -> std::process::Output {
    let mut command = crate::support::claviger(&format!("backup restore --dir new {args}"));
    command.current_dir(place.path("")).output().unwrap()
}

#[test]
fn a_backup_and_a_copy_bring_everything_back() {
    let place = backed_up();
    assert_eq!(fs::metadata(place.path("backup")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(place.path("copy/sealing.key")).unwrap();
    let before = files(&place.path("copy"));

    let output = restore(&place, "--from backup --keys-from copy --passphrase-file p --json");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let restored: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&restored["imported"], &restored["svms"]), (&json!(20), &json!(2)));
    assert_eq!(files(&place.path("copy")), before);

    let verify = crate::support::claviger("verify --json --dir").arg(place.path("new")).output().unwrap();
    let verified: serde_json::Value = serde_json::from_slice(&verify.stdout).unwrap();
    assert_eq!((&verified["opened"], &verified["findings"]), (&json!(20), &json!([])));

    // Not over a hierarchy that is there.
    let output = restore(&place, "--from backup --keys-from copy --passphrase-file p");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
}

#[test]
fn keys_that_do_not_open_are_named_and_not_taken_over() {
    let place = backed_up();
    // Their KEK is of another hierarchy.
    fs::remove_dir_all(place.path("copy")).unwrap();
    let other = Place::with_svm();
    other.done("key create --svm vs0 --count 2");
    copy(&other.dir(), &place.path("copy"));
    let output = restore(&place, "--from backup --keys-from copy --passphrase-file p");
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 4);
    assert!(stdout(&output).ends_with("keys taken over: 0; there already: 0; findings: 2\n"), "{}", stdout(&output));
}

#[test]
fn what_is_wrong_is_told_before_anything_is_made() {
    let place = backed_up();
    let backup = fs::read_to_string(place.path("backup")).unwrap();
    let middle = backup.len() / 2;
    let other = if backup.as_bytes()[middle] == b'A' { "B" } else { "A" };
    place.write("damaged", &format!("{}{other}{}", &backup[..middle], &backup[middle + 1..]));
    let mut not_ascii = backup.clone().into_bytes();
    not_ascii[middle] |= 0x80;
    fs::write(place.path("not-ascii"), not_ascii).unwrap();
    place.write("empty", "");
    for (args, exit) in [
        ("--from backup --passphrase-file other", 5),
        ("--from backup", 5),
        ("--from missing --passphrase-file p", 3),
        ("--from empty --passphrase-file p", 2),
        ("--from damaged --passphrase-file p", 6),
        ("--from not-ascii --passphrase-file p", 2),
        ("--from backup --keys-from empty-dir --passphrase-file p", 3),
    ] {
        let output = restore(&place, args);
        assert_eq!(output.status.code(), Some(exit), "{args}: {}", stderr(&output));
        assert!(!place.path("new").exists(), "{args}");
    }
}

#[test]
fn a_backup_goes_to_standard_output_where_no_file_is_named() {
    let place = backed_up();
    let text = place.done("backup create");
    assert!(text.starts_with("-----BEGIN BACKUP-----\n") && text.ends_with("-----END BACKUP-----\n"));
    let json = place.json("backup create");
    assert!(json["backup"].as_str().unwrap().starts_with("-----BEGIN BACKUP-----\n"));
    place.write("printed", &text);
    let output = restore(&place, "--from printed --passphrase-file p");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(place.json("backup create --output new-backup")["bytes"].as_u64().unwrap() > 500);
}

/// Half a backup is none.
#[test]
fn a_backup_that_nobody_reads_is_a_failure() {
    let place = backed_up();
    let mut create = std::process::Command::new(env!("CARGO_BIN_EXE_claviger"));
    create.args(["backup", "create", "--dir"]).arg(place.dir()).stdout(closed_pipe());
    let output = create.output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(stderr(&output).contains("--output"), "{}", stderr(&output));
}
