//! `verify` and `backup verify`: what they name, what they leave alone, and what somebody who watches sees.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use claviger::store::{Batch, Entry, open_store};
use claviger::{Store, StoreOptions, Table};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::support::{Place, UUID, claviger, copy, files, stderr, stdout};

const TABLES: [Table; 6] = [Table::Node, Table::Svms, Table::Keystores, Table::Keks, Table::Keys, Table::Jobs];

/// A hierarchy with every kind of record, and a copy of its directory.
fn copied() -> Place {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 3");
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    place.done(&format!("key rotate begin --svm vs0 --volume {UUID}"));
    place.done("rekey --svm vs0");
    copy(&place.dir(), &place.path("copy"));
    place
}

fn store(dir: &Path) -> Box<dyn Store> {
    open_store(&dir.join("store"), &StoreOptions::default()).unwrap()
}

/// The hierarchy as it was copied, with one change.
fn changed(place: &Place, change: impl FnOnce(&dyn Store)) {
    fs::remove_dir_all(place.dir()).unwrap();
    copy(&place.path("copy"), &place.dir());
    change(&*store(&place.dir()));
}

fn verify(place: &Place) -> (i32, Value) {
    let output = place.claviger("verify --json").output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (output.status.code().unwrap(), report)
}

#[test]
fn each_damaged_or_missing_record_is_named_and_nothing_else() {
    let place = copied();
    let records: Vec<(Table, Entry)> = {
        let store = store(&place.dir());
        let of = |table| store.scan(table, &[], None, 100).unwrap().into_iter().map(move |entry| (table, entry));
        TABLES.into_iter().flat_map(of).collect()
    };
    for (table, Entry { key, value }) in records {
        let name = format!("{table}/{}", key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let mut damaged = value.clone();
        damaged[value.len() / 2] ^= 1;
        changed(&place, |store| store.commit(Batch::new().put(table, key.clone(), damaged)).unwrap());
        let before = files(&place.dir());
        let (exit, report) = verify(&place);
        let findings = report["findings"].as_array().unwrap();
        assert_eq!((exit, findings.len()), (6, 1), "{name}: {report}");
        assert_eq!((&findings[0]["record"], &findings[0]["problem"]), (&json!(name), &json!("damaged")));
        let unchecked = match (table, key.len()) {
            (Table::Keystores, _) | (Table::Keks, 16) => 4,
            _ => 0,
        };
        let opened = if unchecked > 0 { 0 } else { 4 - u64::from(table == Table::Keys) };
        assert_eq!((&report["unchecked_keys"], &report["opened"]), (&json!(unchecked), &json!(opened)), "{name}");
        for depends in report["unchecked"].as_array().unwrap() {
            assert_eq!((&depends["depends_on"], &depends["why"]), (&json!(name), &json!("damaged")));
        }
        assert_eq!(files(&place.dir()), before, "{name}");

        changed(&place, |store| store.commit(Batch::new().delete(table, key.clone())).unwrap());
        let (exit, report) = verify(&place);
        // Nothing needs a key, or a job that has ended.
        if [Table::Keys, Table::Jobs].contains(&table) {
            assert_eq!((exit, &report["findings"]), (0, &json!([])), "{name}");
        } else {
            assert_eq!((exit, report["findings"].as_array().unwrap().len()), (6, 1), "{name}: {report}");
            let finding = &report["findings"][0];
            assert_eq!((&finding["record"], &finding["problem"]), (&json!(name), &json!("missing")));
        }
    }
}

#[test]
fn what_depends_on_a_damaged_record_is_counted_in_a_line_of_its_own() {
    let place = copied();
    changed(&place, |store| {
        let Entry { key, mut value } = store.scan(Table::Keks, &[], None, 1).unwrap().remove(0);
        value[50] ^= 1;
        store.commit(Batch::new().put(Table::Keks, key, value)).unwrap();
    });
    let output = place.claviger("verify").output().unwrap();
    let said = stdout(&output);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!((output.status.code(), lines.len()), (Some(6), 3), "{said}");
    assert!(lines[0].starts_with("keks/") && lines[0].contains("(KEKs of SVM ") && lines[0].contains(": damaged: "));
    assert!(
        lines[1].starts_with("not checked: the KEKs of SVM ")
            && lines[1].contains(" and 4 keys under them depend on keks/")
    );
    assert_eq!(lines[2], "0 of 4 keys opened; not checked: 4; other records: 10; findings: 1");
}

#[test]
fn a_kek_whose_keys_were_all_deleted_is_no_damage() {
    let place = Place::with_svm();
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    place.done(&format!("key delete --svm vs0 --volume {UUID}"));
    let said = place.done("verify");
    assert!(said.starts_with("note: no key is under KEK version 1 of SVM "), "{said}");
    assert_eq!(place.json("verify")["notes"].as_array().unwrap().len(), 1);
}

/// `backup verify` beside the hierarchy, which it does not need.
fn verify_backup(place: &Place, args: &str) -> (Option<i32>, String, String) {
    let mut command = claviger(&format!("backup verify {args}"));
    let output = command.current_dir(place.path("")).output().unwrap();
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn a_backup_is_verified_with_a_copy_and_without_the_hierarchy() {
    let place = copied();
    place.done("backup create --output backup");
    fs::remove_dir_all(place.dir()).unwrap();
    fs::remove_file(place.path("copy/sealing.key")).unwrap();
    let before = files(&place.path(""));
    let verify = |args: &str| {
        let verified = verify_backup(&place, args);
        assert_eq!(files(&place.path("")), before, "{args}");
        verified
    };
    let all = "--from backup --keys-from copy --passphrase-file p";
    assert_eq!(verify(all).1, "4 of 4 keys opened; other records: 9; findings: 0\n");
    let (exit, report, _) = verify(&format!("{all} --json"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((exit, &report["opened"], &report["findings"]), (Some(0), &json!(4), &json!([])));
    let (exit, said, _) = verify("--from backup --passphrase-file p");
    assert_eq!((exit, said.ends_with("0 of 0 keys opened; other records: 9; findings: 0\n")), (Some(0), true));

    for (args, exit) in [
        ("--from backup --keys-from copy --passphrase-file other", 5),
        ("--from backup --keys-from copy", 5),
        ("--from missing --keys-from copy --passphrase-file p", 3),
        ("--from backup --keys-from missing --passphrase-file p", 3),
        ("--from p --keys-from copy --passphrase-file p", 2),
    ] {
        let (code, said, error) = verify(args);
        assert_eq!((code, said.as_str()), (Some(exit), ""), "{args}: {error}");
    }
}

#[test]
fn a_damaged_key_of_the_copy_and_a_backup_that_is_too_old_are_damage() {
    let place = copied();
    place.done("backup create --output before");
    place.done("rekey --svm vs0");
    place.done("backup create --output after");
    fs::remove_dir_all(place.path("copy")).unwrap();
    copy(&place.dir(), &place.path("copy"));
    let verify = |from: &str| verify_backup(&place, &format!("--from {from} --keys-from copy --passphrase-file p"));
    assert_eq!(verify("after").0, Some(0));
    let (exit, said, _) = verify("before");
    assert_eq!((exit, said.matches(": KEK missing: ").count()), (Some(6), 4), "{said}");

    {
        let store = store(&place.path("copy"));
        let Entry { key, mut value } = store.scan(Table::Keys, &[], None, 1).unwrap().remove(0);
        value[9] ^= 1;
        store.commit(Batch::new().put(Table::Keys, key, value)).unwrap();
    }
    let (exit, said, _) = verify("after");
    assert_eq!((exit, said.matches(": damaged: ").count()), (Some(6), 1), "{said}");
    assert!(said.ends_with("3 of 4 keys opened; other records: 9; findings: 1\n"), "{said}");
}

/// Takes every permission to write below `dir` away, and gives it to `owner`, who then runs the command. Root may write
/// anywhere.
fn protect(dir: &Path, owner: Option<u32>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            protect(&path, owner);
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
            chown(&path, owner, None).unwrap();
        }
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o500)).unwrap();
    chown(dir, owner, None).unwrap();
}

fn unprotect(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            unprotect(&path);
        }
    }
}

#[test]
fn what_may_not_be_written_to_is_verified_all_the_same() {
    let place = copied();
    place.done("backup create --output backup");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let nobody = is_root.then_some(65_534);
    let scratch = tempfile::tempdir().unwrap();
    chown(scratch.path(), nobody, None).unwrap();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.path("backup"), fs::Permissions::from_mode(0o444)).unwrap();
    protect(&place.dir(), nobody);
    let before = files(&place.dir());
    for args in ["verify --dir h", "backup verify --from backup --keys-from h --passphrase-file p"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
        command.args(args.split_whitespace()).current_dir(place.path("")).env("TMPDIR", scratch.path());
        if let Some(nobody) = nobody {
            command.uid(nobody);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
        assert!(stdout(&output).contains("4 of 4 keys opened"), "{}", stdout(&output));
    }
    assert_eq!(files(&place.dir()), before);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the copies are gone");
    unprotect(&place.dir());
}

/// What a command shows on a terminal.
fn watched(place: &Place, args: &str) -> String {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let name = ptsname(&screen, Vec::new()).unwrap();
    let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
    command.args(args.split_whitespace()).current_dir(place.path("")).env("TERM", "xterm").stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(terminal).spawn().unwrap();
    // The terminal is the child's alone now, so that reading ends with it.
    drop(command);
    let mut shown = Vec::new();
    // On Linux, the end of the last one to write to a terminal is an error of who reads it.
    File::from(screen).read_to_end(&mut shown).unwrap_or_default();
    assert!(child.wait().unwrap().success());
    String::from_utf8(shown).unwrap()
}

#[test]
fn who_watches_sees_how_much_is_done_of_how_much_and_when_it_will_be() {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 3000");
    copy(&place.dir(), &place.path("copy"));
    place.done("backup create --output backup");
    for args in ["verify --dir h", "backup verify --from backup --keys-from copy --passphrase-file p"] {
        let shown = watched(&place, args);
        assert!(shown.contains("verify") && shown.contains(" of 3,000 keys, "), "{args}: {shown}");
        assert!(shown.contains("/s, ") && shown.contains(" left"), "{args}: {shown}");
    }
    // Nobody else is shown anything.
    let output = place.claviger("verify").output().unwrap();
    assert_eq!(stderr(&output), "");
}
