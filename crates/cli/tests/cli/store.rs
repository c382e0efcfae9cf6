//! The kind of a hierarchy's store: chosen, shown, and changed.

use std::fs;

use claviger::store::{Batch, open_store};
use claviger::{StoreOptions, Table};
use serde_json::json;

use crate::support::{Place, claviger, files, stderr, stdout};

/// `store copy` from the hierarchy to `to` beside it.
fn copy(place: &Place, to: &str, args: &str) -> std::process::Output {
    let mut command = claviger("store copy --from h --to");
    command.arg(to).args(args.split_whitespace()).current_dir(place.path("")).output().unwrap()
}

fn on(place: &Place, dir: &str, args: &str) -> serde_json::Value {
    let output = claviger(&format!("{args} --json --dir {dir}")).current_dir(place.path("")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_kind_is_chosen_when_a_hierarchy_is_made_and_shown() {
    let place = Place::empty();
    assert_eq!(place.json("init --store redb")["store"], "redb");
    assert!(place.dir().join("store/redb/db").is_file());
    place.done("keystore create onboard --passphrase-file p");
    place.done("svm create vs0");
    place.done("key create --svm vs0 --count 20");
    assert_eq!(place.json("verify")["opened"], 20);
    assert_eq!(place.json("show")["store"], "redb");
    assert!(place.done("show").contains("store: redb"), "{}", place.done("show"));

    assert_eq!(Place::with_svm().json("show")["store"], "sled");
    assert!(Place::empty().refused("init --store lmdb", 2).contains("[possible values: sled, redb]"));
    for kind in ["sled", "redb"] {
        assert!(
            Place::empty().done(&format!("quickstart --keys 10 --store {kind}")).contains(&format!("store: {kind}"))
        );
    }
}

#[test]
fn a_hierarchy_is_copied_to_the_other_kind_and_back() {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 20");
    let before = files(&place.dir());
    let output = copy(&place, "redb", "--store redb --json");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let copied: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({ "from": "h", "to": "redb", "store": "redb", "keys": 20, "opened": 20, "findings": [] });
    assert_eq!(copied, expected);
    assert_eq!(files(&place.dir()), before);
    assert_eq!(on(&place, "redb", "show")["store"], "redb");
    on(&place, "redb", "key create --svm vs0 --count 5");

    let back = claviger("store copy --from redb --to sled --store sled").current_dir(place.path("")).output().unwrap();
    assert_eq!(back.status.code(), Some(0), "{}", stderr(&back));
    let text = stdout(&back);
    assert!(
        text.starts_with(
            "redb copied to sled, a store on sled; every record is as in the source; 25 of 25 keys opened;"
        )
    );
    assert_eq!(on(&place, "sled", "verify")["opened"], 25);
}

#[test]
fn damage_is_copied_as_it_is_and_named() {
    let place = Place::with_svm();
    place.done("key create --svm vs0 --count 20");
    let store = open_store(&place.dir().join("store"), &StoreOptions::default()).unwrap();
    let mut record = store.scan(Table::Keys, b"", None, 1).unwrap().remove(0);
    record.value[100] ^= 1;
    store.commit(Batch::new().put(Table::Keys, record.key, record.value)).unwrap();
    drop(store);
    let output = copy(&place, "redb", "--store redb --json");
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let copied: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&copied["keys"], &copied["opened"]), (&json!(20), &json!(19)));
    assert_eq!(copied["findings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_locked_keystore_does_not_keep_a_hierarchy_from_being_copied() {
    let place = Place::empty();
    place.done("init");
    place.done("keystore create onboard --common-criteria --passphrase-file long");
    place.done("svm create vs0");
    place.done("key create --svm vs0 --count 3 --passphrase-file long");
    let output = copy(&place, "one", "--store redb");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("no key was opened") && stderr(&output).contains("run `claviger verify`"));
    let output = copy(&place, "two", "--store redb --passphrase-file long");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("3 of 3 keys opened"), "{}", stdout(&output));
}

#[test]
fn what_cannot_be_copied_is_told() {
    let place = Place::with_svm();
    let refused = |to: &str, args: &str, exit: i32| {
        let output = copy(&place, to, args);
        assert_eq!(output.status.code(), Some(exit), "{args}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
        stderr(&output)
    };
    assert_eq!(copy(&place, "redb", "--store redb").status.code(), Some(0));
    assert!(refused("redb", "--store redb", 4).contains("name an empty directory with --to"));
    assert!(refused("redb", "--store sled", 4).contains("is of the kind redb"));
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/file"), "").unwrap();
    refused("full", "--store redb", 2);
    refused("new", "", 2);
    let output =
        claviger("store copy --from nothing --to new --store redb").current_dir(place.path("")).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("with --from") && !place.path("new").exists(), "{}", stderr(&output));
}
