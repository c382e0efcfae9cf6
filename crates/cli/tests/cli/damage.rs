//! `verify`, and what damage looks like.

use claviger::store::{Batch, Expect, open_store};
use claviger::{StoreOptions, Table};
use serde_json::json;

use crate::support::{Place, UUID, closed_pipe, stderr, stdout};

/// Changes the last byte of the first record of a table, and returns that record's key in hex.
fn damage(place: &Place, table: Table) -> String {
    let store = open_store(&place.dir().join("store"), &StoreOptions::default()).unwrap();
    let entry = store.scan(table, &[], None, 1).unwrap().remove(0);
    let mut value = entry.value.clone();
    *value.last_mut().unwrap() ^= 1;
    let batch = Batch::new().require(table, entry.key.clone(), Expect::Exactly(entry.value));
    store.commit(batch.put(table, entry.key.clone(), value)).unwrap();
    entry.key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_sound_hierarchy_has_no_findings_and_stays_as_it_is_to_the_byte() {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 50");
    let before = place.files();
    assert_eq!(place.json("verify")["findings"], json!([]));
    assert!(place.done("verify").ends_with("50 of 50 keys opened; other records: 9; findings: 0\n"));
    assert_eq!(place.files(), before);
    // What is compared sees a change.
    place.done("svm create vs1");
    assert_ne!(place.files(), before);
}

#[test]
fn a_damaged_key_is_named_and_the_rest_goes_on() {
    let place = Place::with_svm();
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    place.done(&format!("key create --svm vs0 --drive {UUID}"));
    let record = damage(&place, Table::Keys);

    let output = place.claviger("verify").output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.lines().next().unwrap().starts_with(&format!("keys/{record} (volume {UUID} of SVM")), "{said}");
    assert!(said.ends_with("1 of 2 keys opened; other records: 9; findings: 1\n"), "{said}");

    let output = place.claviger("verify --json").output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(6), ""));
    let verified: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let finding = &verified["findings"][0];
    assert_eq!((&finding["type"], &finding["object"]), (&json!("volume"), &json!(UUID)));
    assert_eq!((&finding["problem"], &finding["record"]), (&json!("damaged"), &json!(format!("keys/{record}"))));
    assert_eq!(verified["findings"].as_array().unwrap().len(), 1);

    // Who reads nothing of it has the exit code.
    let mut verify = std::process::Command::new(env!("CARGO_BIN_EXE_claviger"));
    verify.args(["verify", "--dir"]).arg(place.dir()).stdout(closed_pipe());
    assert_eq!(verify.output().unwrap().status.code(), Some(6));

    // The rekey stops and names it; the other SVMs get their new KEKs.
    place.done("svm create vs1");
    place.done("key create --svm vs1 --count 3");
    let output = place.claviger("rekey --json").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let rekeys: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(rekeys["failed"][0]["svm"], "vs0");
    assert!(rekeys["failed"][0]["message"].as_str().unwrap().contains(&format!("volume {UUID}")), "{rekeys}");
    assert_eq!(rekeys["rekeyed"][0]["keys"], 3);
    let shown = place.json("show");
    assert_eq!((&shown["svms"][1]["kek"]["retiring"], &shown["svms"][2]["kek"]["version"]), (&json!(1), &json!(2)));

    // Without the damaged key, it goes on to the same KEK.
    place.done(&format!("key delete --svm vs0 --volume {UUID}"));
    assert_eq!(place.json("rekey --svm vs0")["kek_version"], 2);
    assert_eq!(place.json("verify")["findings"], json!([]));
}

#[test]
fn a_damaged_kek_record_is_shown_in_its_place() {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 3");
    damage(&place, Table::Keks);
    let output = place.claviger("show --json").output().unwrap();
    // The engine logs it, where nobody expects JSON.
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(6), ""));
    assert!(stderr(&place.claviger("show").output().unwrap()).contains("ERROR"));
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(shown["svms"][1]["kek_error"].as_str().unwrap().contains("damaged"), "{shown}");
    assert_eq!(shown["svms"][1]["keys"]["volume"], 3);
    place.refused("rekey --svm vs0", 6);
    assert_eq!(place.claviger("verify").output().unwrap().status.code(), Some(6));
}

#[test]
fn a_record_that_is_no_key_is_listed_as_damaged_and_can_be_deleted() {
    let place = Place::with_svm();
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    {
        let store = open_store(&place.dir().join("store"), &StoreOptions::default()).unwrap();
        let entry = store.scan(Table::Keys, &[], None, 1).unwrap().remove(0);
        store.commit(Batch::new().put(Table::Keys, entry.key, *b"no key")).unwrap();
    }
    let output = place.claviger("key list --svm vs0 --json").output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let list: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(list["keys"][0]["error"].as_str().unwrap().contains(UUID), "{list}");
    place.refused(&format!("key show --svm vs0 --volume {UUID}"), 6);
    place.done(&format!("key delete --svm vs0 --volume {UUID}"));
    assert_eq!(place.json("key list --svm vs0")["keys"], json!([]));
}

#[test]
fn a_lost_sealing_key_is_damage_and_an_exposed_one_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::with_svm();
    let sealing_key = place.dir().join("sealing.key");
    std::fs::set_permissions(&sealing_key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(place.refused("show", 2).contains("set its mode to 0600"));
    std::fs::remove_file(&sealing_key).unwrap();
    assert!(place.refused("show", 6).contains("sealing.key"));
}

/// One changed bit in the file of a redb store: nothing is written to that any more, and everything else is saved.
#[test]
fn what_a_damaged_file_still_holds_is_named_and_saved() {
    let place = Place::empty();
    place.done("init --store redb");
    place.done("keystore create onboard --passphrase-file p");
    place.done("svm create vs0");
    place.done("key create --svm vs0 --count 50");
    let file = place.dir().join("store/redb/db");
    let mut bytes = std::fs::read(&file).unwrap();
    let blob = bytes.windows(4).rposition(|at| at == b"CLVG").unwrap();
    bytes[blob + 100] ^= 1;
    std::fs::write(&file, &bytes).unwrap();

    let said = place.refused("svm list", 6);
    assert!(said.contains("claviger store copy"), "{said}");
    let output = place.claviger("verify").output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(stdout(&output).contains("49 of 50 keys opened"), "{}", stdout(&output));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);

    let copied = crate::support::claviger("store copy --store redb --from h --to saved")
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert_eq!(copied.status.code(), Some(6), "{}", stderr(&copied));
    let list = crate::support::claviger("key list --svm vs0 --dir saved").current_dir(place.path("")).output().unwrap();
    assert_eq!(list.status.code(), Some(0), "{}", stderr(&list));
    assert_eq!(stdout(&list).lines().filter(|line| line.contains("volume")).count(), 50);
}
