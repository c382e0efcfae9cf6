//! Where passphrases come from, and Common Criteria mode.

use std::io::Write as _;

use crate::support::{LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE, Place, UUID, stderr, stdout};

#[test]
fn a_passphrase_comes_by_file_or_descriptor_with_or_without_its_end_of_line() {
    let place = Place::with_svm();
    for (file, end) in [("plain", ""), ("unix", "\n"), ("dos", "\r\n")] {
        place.write(file, &format!("{PASSPHRASE}{end}"));
        place.done(&format!("keystore unlock --passphrase-file {file}"));
        place.claviger("keystore unlock --passphrase-fd 0").pipe_stdin(place.path(file)).unwrap().assert().success();
    }
    place.write("two", &format!("{PASSPHRASE}\n\n"));
    place.refused("keystore unlock --passphrase-file two", 2);
    place.refused("keystore unlock --passphrase-file missing", 3);
    place.refused("keystore unlock --passphrase-file .", 2);
    place.refused("keystore unlock --passphrase-fd 250", 3);
    place.refused("keystore unlock", 5);
}

#[test]
fn a_passphrase_comes_through_a_pipe_of_any_number() {
    let place = Place::with_svm();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(PASSPHRASE.as_bytes()).unwrap();
    drop(writer);
    // The child has the pipe as its standard input, which the shell copies to 7.
    let script =
        format!("exec {} keystore unlock --passphrase-fd 7 --dir h 7<&0 0</dev/null", env!("CARGO_BIN_EXE_claviger"));
    let mut shell = std::process::Command::new("sh");
    let output = shell.arg("-c").arg(script).current_dir(place.path("")).stdin(reader).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_passphrase_is_never_printed() {
    let place = Place::empty();
    place.done("init");
    for args in ["keystore create onboard --passphrase-file p", "keystore show", "show", "backup create"] {
        let output = place.claviger(args).env("CLAVIGER_LOG", "trace").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}");
        assert!(!stdout(&output).contains(PASSPHRASE) && !stderr(&output).contains(PASSPHRASE), "{args}");
    }
}

/// A descriptor that was not given does not name a file that claviger itself opens.
#[test]
fn a_descriptor_that_was_not_given_is_refused() {
    let place = Place::with_svm();
    for descriptor in 3..10 {
        for args in ["unlock --passphrase-fd", "passphrase --passphrase-file p --new-passphrase-fd"] {
            let closed = "3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-";
            let claviger = env!("CARGO_BIN_EXE_claviger");
            let script = format!("exec {claviger} keystore {args} {descriptor} --dir h {closed}");
            let mut shell = std::process::Command::new("sh");
            let output = shell.arg("-c").arg(&script).current_dir(place.path("")).output().unwrap();
            assert_eq!(output.status.code(), Some(3), "{script}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_new_passphrase_is_checked_in_order_and_the_old_one_stays_until_it_is_right() {
    let place = Place::with_svm();
    place.write("short", "too short");
    let change = |existing: &str, new: &str, exit| {
        place.refused(&format!("keystore passphrase --passphrase-file {existing} --new-passphrase-file {new}"), exit)
    };
    // The wrong one comes before the length of the new one; that it is the same, too.
    assert!(change("other", "short", 5).contains("the passphrase is wrong"));
    assert!(change("p", "p", 2).contains("same as the existing one"));
    assert!(change("p", "short", 2).contains("it must have 32 to 256 bytes"));
    assert!(place.refused("keystore passphrase --passphrase-file p", 5).contains("no passphrase was given"));
    place.done("keystore unlock --passphrase-file p");

    let mut command = place.claviger("keystore passphrase --passphrase-file p --new-passphrase-fd 0");
    command.write_stdin(OTHER_PASSPHRASE).assert().success();
    place.refused("keystore unlock --passphrase-file p", 5);
    place.done("keystore unlock --passphrase-file other");
}

#[test]
fn a_keystore_is_not_made_under_a_bad_passphrase() {
    let place = Place::empty();
    place.done("init");
    place.write("short", "31 characters are one too few..");
    place.write("umlaut", "zweiunddreißig Zeichen und noch ein paar mehr");
    place.write("huge", &"x".repeat(300));
    let create = "keystore create onboard --passphrase-file";
    assert!(place.refused(&format!("{create} short"), 2).contains("31 bytes"));
    assert!(place.refused(&format!("{create} umlaut"), 2).contains("printable ASCII"));
    assert!(place.refused(&format!("{create} huge"), 2).contains("more than 256 bytes"));
    assert!(place.refused(&format!("{create} p --common-criteria"), 2).contains("64 to 256 bytes"));
    place.refused("keystore show", 3);
}

#[test]
fn in_common_criteria_mode_each_command_that_needs_keys_needs_the_passphrase() {
    let place = Place::empty();
    place.done("init");
    place.done("svm create vs0");
    place.done("keystore create onboard --common-criteria --passphrase-file long");
    place.done(&format!("key create --svm vs0 --volume {UUID} --passphrase-file long"));

    let keystore = place.json("keystore show");
    assert_eq!((keystore["mode"].as_str(), keystore["state"].as_str()), (Some("common-criteria"), Some("locked")));
    for command in [
        "key create --svm vs0 --count 1".to_owned(),
        format!("key rotate begin --svm vs0 --volume {UUID}"),
        "rekey".to_owned(),
        "verify".to_owned(),
        "backup create".to_owned(),
    ] {
        let said = place.refused(&command, 5);
        assert!(said.contains("locked") && said.contains("--passphrase-file"), "{command}: {said}");
    }
    // What is wrong besides is told before a passphrase is asked for.
    place.refused("key create --svm nope --count 1", 3);
    place.refused("rekey --svm nope", 3);
    // These show and delete records, and open nothing.
    assert_eq!(place.json("show")["svms"][1]["kek"]["in_memory"], false);
    assert_eq!(place.json("key list --svm vs0")["keys"].as_array().unwrap().len(), 1);

    place.done("rekey --svm vs0 --passphrase-file long");
    let before = place.files();
    assert_eq!(place.json("verify --passphrase-file long")["opened"], 1);
    assert_eq!(place.files(), before);
}

#[test]
fn in_common_criteria_mode_wrong_passphrases_cost_growing_waits() {
    let place = Place::empty();
    place.done("init");
    place.done("keystore create onboard --common-criteria --passphrase-file long");
    place.write("long-and-wrong", &format!("not {LONG_PASSPHRASE}"));
    let wrong = || place.claviger("keystore unlock --passphrase-file long-and-wrong").output().unwrap();
    let output = wrong();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("the passphrase is wrong"));
    // The wait of one second has passed already on a slow machine; then it is wrong again and the next wait is longer.
    let output = std::iter::repeat_with(wrong).find(|output| !stderr(output).contains("is wrong")).unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("the next one is accepted in"));
}
