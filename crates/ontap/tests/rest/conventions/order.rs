//! `order_by` (conventions, section 5).

use crate::support::Stage;

#[test]
fn records_come_in_the_order_that_is_asked_for() {
    let stage = Stage::new();
    for name in ["vs10", "vs2", "vs1", "_x", "Vs1"] {
        stage.svm(name);
    }
    let ascending = ["Vs1", "_x", "vs1", "vs10", "vs2"];
    let descending = ["vs2", "vs10", "vs1", "_x", "Vs1"];
    for (order, expected) in [
        ("name", ascending),
        ("name%20asc", ascending),
        ("name+ASC", ascending),
        ("name%20desc", descending),
        ("name%20DESC", descending),
        // All are alike in the first, so that the second decides.
        ("state,name", ascending),
        ("state%20desc,%20name%20desc", descending),
    ] {
        assert_eq!(stage.api.column(&format!("/svm/svms?order_by={order}"), "/name"), expected, "{order}");
    }
    let uuids = stage.api.column("/svm/svms?order_by=uuid", "/uuid");
    assert!(uuids.is_sorted());
    // What orders need not be shown.
    assert_eq!(stage.api.get("/svm/svms?order_by=state").ok()["records"][0].get("state"), None);
    // Nor does an empty one order.
    assert_eq!(stage.api.get("/svm/svms?order_by=").ok(), {
        let mut expected = stage.api.get("/svm/svms").ok();
        expected["_links"]["self"]["href"] = "/api/svm/svms?order_by=".into();
        expected
    });
}

#[test]
fn numbers_and_flags_are_not_ordered_as_texts() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    for (name, seconds) in [("a", 9), ("b", 100), ("c", 20)] {
        let keystore = stage.barbican(svm, name, 1);
        let path = format!("/security/barbican-kms/{keystore}?return_timeout=60");
        stage.api.patch(&path, &serde_json::json!({ "timeout": seconds })).ok();
    }
    let ordered =
        |order: &str| stage.api.column(&format!("/security/barbican-kms?order_by={order}"), "/configuration/name");
    assert_eq!(ordered("timeout"), ["a", "c", "b"]);
    assert_eq!(ordered("timeout%20desc"), ["b", "c", "a"]);
    // An expensive one is computed for it.
    assert_eq!(ordered("barbican_reachability.code,configuration.name"), ["a", "b", "c"]);
}

#[test]
fn what_is_not_set_comes_first() {
    let stage = Stage::new();
    let svm = stage.svm("vs0");
    stage.barbican(svm, "A", 1);
    let owners =
        |order: &str| stage.api.column(&format!("/security/key-stores?fields=svm&order_by={order}"), "/svm/name");
    assert_eq!(owners("svm.name"), ["-", "vs0"]);
    assert_eq!(owners("svm.name%20desc"), ["vs0", "-"]);
}

#[test]
fn what_is_no_order_is_refused() {
    let stage = Stage::new();
    for order in ["colour", "name%20up", "name%20asc%20desc", "svm", "_links", "asc%20name", "name;uuid"] {
        stage.api.get(&format!("/svm/svms?order_by={order}")).invalid("order_by");
    }
    stage.api.get("/security/barbican-kms?order_by=application_cred_secret").invalid("order_by");
}
