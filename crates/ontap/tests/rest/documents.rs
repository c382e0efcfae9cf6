//! The committed pages are what the examples print.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[path = "../../examples/support/codes_page.rs"]
mod codes_page;

/// The tests of codes, by code: the names of the functions in the sources beside this file.
pub(crate) fn tests_of_codes() -> BTreeMap<u32, String> {
    codes_page::tests_of_codes(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn committed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("docs/{name}: {error}"))
}

#[test]
fn the_page_on_codes_is_up_to_date() {
    let page = codes_page::page(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(
        page == committed("rest-codes.md"),
        "docs/rest-codes.md is out of date: cargo run -p claviger-ontap --example codes >docs/rest-codes.md"
    );
}

#[test]
fn the_openapi_document_is_up_to_date() {
    let document = format!("{}\n", serde_json::to_string_pretty(&claviger_ontap::openapi()).unwrap());
    assert!(
        document == committed("openapi.json"),
        "docs/openapi.json is out of date: cargo run -p claviger-ontap --example openapi >docs/openapi.json"
    );
}
