//! An older copy in the place of the newest store.

use std::fs;

use serde_json::Value;

use crate::support::{Place, UUID, copy};

/// A hierarchy whose store was put back to before `vs1` was made.
fn rolled_back() -> Place {
    let place = Place::with_svm();
    place.done(&format!("key create --svm vs0 --volume {UUID}"));
    copy(&place.dir().join("store"), &place.path("older"));
    place.done("svm create vs1");
    place.done("key create --svm vs1 --count 3");
    fs::rename(place.dir().join("store"), place.path("newest")).unwrap();
    fs::rename(place.path("older"), place.dir().join("store")).unwrap();
    place
}

#[test]
fn an_older_copy_is_refused_with_what_it_means_and_what_to_do() {
    let place = rolled_back();
    for command in ["svm list", "show", "key create --svm vs0 --count 1", "rekey"] {
        let said = place.refused(command, 6);
        assert!(said.contains("the store is an older copy"), "{said}");
        assert!(said.contains("--danger-accept-rollback"), "{said}");
    }
    // The newest store, put back, is opened as ever.
    fs::remove_dir_all(place.dir().join("store")).unwrap();
    fs::rename(place.path("newest"), place.dir().join("store")).unwrap();
    assert_eq!(names(&place.json("svm list")), ["cluster", "vs0", "vs1"]);
}

#[test]
fn an_older_copy_is_accepted_once_on_purpose() {
    let place = rolled_back();
    let accepted = place.json("svm list --danger-accept-rollback");
    assert_eq!(names(&accepted), ["cluster", "vs0"]);
    place.done("svm create vs2");
    place.done("verify");
}

#[test]
fn without_its_anchor_a_store_is_refused() {
    let place = Place::with_svm();
    fs::remove_file(place.dir().join("anchor")).unwrap();
    let said = place.refused("svm list", 6);
    assert!(said.contains("anchor") && said.contains("--danger-accept-rollback"), "{said}");
    place.done("svm list --danger-accept-rollback");
    place.done("svm list");
}

fn names(svms: &Value) -> Vec<&str> {
    let mut names: Vec<_> = svms["svms"].as_array().unwrap().iter().map(|svm| svm["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}
