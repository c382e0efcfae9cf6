//! Pages: each record once, whatever is asked for and whatever changes meanwhile (conventions, section 3).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::Stage;

/// A cluster with so many data SVMs.
fn svms(count: usize) -> Stage {
    let stage = Stage::new();
    for number in 0..count {
        stage.svm(&format!("vs{number:02}"));
    }
    stage
}

fn names(pages: &[Vec<Value>]) -> Vec<String> {
    pages.iter().flatten().map(|record| record["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn next_leads_to_the_end_and_shows_each_once() {
    let stage = svms(7);
    for (size, expected) in [(1, 7), (2, 4), (3, 3), (6, 2), (7, 1), (8, 1), (10_000, 1), (u64::MAX, 1)] {
        let pages = stage.api.pages(&format!("/svm/svms?max_records={size}"));
        assert_eq!(pages.len(), expected, "pages of {size}");
        let shown: BTreeSet<_> = names(&pages).into_iter().collect();
        assert_eq!((shown.len(), names(&pages).len()), (7, 7), "pages of {size}");
    }
    let one = stage.api.get("/svm/svms?max_records=7").ok();
    assert_eq!((one["num_records"].as_u64(), one["_links"].get("next")), (Some(7), None));
}

#[test]
fn an_empty_collection_is_a_page() {
    let stage = Stage::bare();
    for path in ["/svm/svms", "/security/barbican-kms", "/security/key-managers", "/security/key-stores"] {
        let page = stage.api.get(path).ok();
        assert_eq!((&page["records"], &page["num_records"]), (&serde_json::json!([]), &0.into()), "{path}");
        assert_eq!(page["_links"].get("next"), None);
    }
}

#[test]
fn next_repeats_what_was_asked_for() {
    let stage = svms(9);
    let path = "/svm/svms?fields=name%2Cstate&name=%21vs04&order_by=name%20desc&max_records=3";
    let pages = stage.api.pages(path);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2]);
    assert_eq!(names(&pages), ["vs08", "vs07", "vs06", "vs05", "vs03", "vs02", "vs01", "vs00"]);
    assert!(pages.iter().flatten().all(|record| record["state"] == "running"));
    // Whatever stands for something else in an address is in it as it must be.
    let next = stage.api.get(path).ok()["_links"]["next"]["href"].as_str().unwrap().to_owned();
    assert!(next.starts_with("/api/svm/svms?") && next.contains("name=%21vs04") && !next.contains(' '), "{next}");
}

#[test]
fn filters_and_orders_page_alike() {
    let stage = svms(12);
    for query in ["name=vs0*", "name=vs0*&order_by=name", "name=vs0*&order_by=state", "name=vs0*&order_by=uuid%20desc"]
    {
        let all = names(&stage.api.pages(&format!("/svm/svms?{query}")));
        assert_eq!(all.len(), 10);
        for size in 1..=11 {
            let pages = stage.api.pages(&format!("/svm/svms?{query}&max_records={size}"));
            assert_eq!(names(&pages), all, "{query}, pages of {size}");
            assert!(pages.iter().all(|page| page.len() <= size));
        }
    }
}

/// What comes or goes before the place where a page ended moves nothing; what comes behind it is seen.
#[test]
fn records_that_come_and_go_in_between() {
    for order in ["", "&order_by=name"] {
        let stage = svms(6);
        let first = stage.api.get(&format!("/svm/svms?max_records=3{order}")).ok();
        let seen: Vec<_> = first["records"].as_array().unwrap().iter().map(|record| record["uuid"].clone()).collect();
        // Also the one at which the page ended.
        for uuid in [&seen[0], &seen[2]] {
            stage.api.delete(&format!("/svm/svms/{}", uuid.as_str().unwrap())).job();
        }
        let next = first["_links"]["next"]["href"].as_str().unwrap();
        let second = stage.api.get(next).ok();
        let later: Vec<_> = second["records"].as_array().unwrap().iter().map(|record| record["uuid"].clone()).collect();
        assert_eq!(later.len(), 3, "{order}");
        assert!(later.iter().all(|uuid| !seen.contains(uuid)), "{order}");
    }
    let stage = svms(4);
    let first = stage.api.get("/svm/svms?max_records=2&order_by=name").ok();
    stage.svm("a");
    stage.svm("z");
    let rest = stage.api.pages(first["_links"]["next"]["href"].as_str().unwrap());
    assert_eq!(names(&rest), ["vs02", "vs03", "z"]);
}

#[test]
fn a_position_that_is_none_is_refused() {
    let stage = svms(2);
    for position in ["x", "", "e30", "bnVsbA", "%00", "eyJwbGFjZSI6MX0"] {
        stage.api.get(&format!("/svm/svms?start.position={position}")).invalid("start.position");
    }
}

#[test]
fn limits_of_a_page() {
    let stage = svms(2);
    for wrong in ["max_records=0", "max_records=-1", "max_records=x", "max_records=1.5", "max_records="] {
        stage.api.get(&format!("/svm/svms?{wrong}")).invalid("max_records");
    }
    for wrong in ["121", "-1", "x", "1.0"] {
        stage.api.get(&format!("/svm/svms?return_timeout={wrong}")).invalid("return_timeout");
    }
    for right in ["0", "1", "15", "120"] {
        assert_eq!(stage.api.get(&format!("/svm/svms?return_timeout={right}")).ok()["num_records"], 2, "{right}");
    }
}

#[test]
fn without_records_there_is_their_number() {
    let stage = svms(5);
    for flag in ["false", "False", "FALSE"] {
        let page = stage.api.get(&format!("/svm/svms?return_records={flag}&name=vs0*")).ok();
        assert_eq!((page["num_records"].as_u64(), page.get("records")), (Some(5), None));
    }
    // It is the number of all, not of one page.
    let page = stage.api.get("/svm/svms?return_records=false&max_records=2").ok();
    assert_eq!((page["num_records"].as_u64(), page["_links"].get("next")), (Some(5), None));
    for flag in ["true", "True"] {
        let page = stage.api.get(&format!("/svm/svms?return_records={flag}")).ok();
        assert_eq!(page["records"].as_array().unwrap().len(), 5);
    }
    for wrong in ["yes", "1", "", "nul"] {
        stage.api.get(&format!("/svm/svms?return_records={wrong}")).invalid("return_records");
    }
}

/// Time that is up ends a page too: each gets on by some records, and the next one goes on there.
#[test]
fn a_page_ends_when_its_time_is_up() {
    let stage = Stage::new();
    for svm in ["vs0", "vs1", "vs2", "vs3"] {
        let svm = stage.svm(svm);
        for number in 0..5 {
            stage.barbican(svm, &format!("k{number}"), 1);
        }
    }
    for query in ["fields=barbican_reachability", "barbican_reachability.reachable=true", "fields=state"] {
        let pages = stage.api.pages(&format!("/security/barbican-kms?return_timeout=0&{query}"));
        assert_eq!(pages.len(), 2, "{query}");
        let uuids: BTreeSet<_> = pages.iter().flatten().map(|record| record["uuid"].to_string()).collect();
        assert_eq!((uuids.len(), pages.iter().flatten().count()), (20, 20), "{query}");
    }
    // With an order, all must be seen before the first is told.
    let page = stage.api.get("/security/barbican-kms?return_timeout=0&fields=state&order_by=configuration.name").ok();
    assert_eq!((page["num_records"].as_u64(), page["_links"].get("next")), (Some(20), None));
}
