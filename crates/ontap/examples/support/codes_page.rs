//! The page on codes: made of the table that the service answers by, and of the names of its tests.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use claviger_ontap::{Entry, Reach, codes};

/// The page, from the crate in this directory.
pub(crate) fn page(root: &Path) -> io::Result<String> {
    let tests = tests_of_codes(root)?;
    let count = |reach| codes().filter(|entry| entry.reach == reach).count();
    let reaches = [
        (Reach::Here, "Answered by this release"),
        (Reach::Kmip, "With key servers (KMIP), not in this release"),
        (Reach::Azure, "With Azure Key Vault, not in this release"),
        (Reach::Never, "Never answered, and why"),
    ];
    let counts = reaches.map(|(reach, title)| format!("- {title}: {}\n", count(reach)));
    let sections = reaches.map(|(reach, title)| {
        let mut entries: Vec<_> = codes().filter(|entry| entry.reach == reach).collect();
        entries.sort_by_key(|entry| entry.number);
        format!("\n## {title}\n\n{}", table(reach, &entries, &tests))
    });
    Ok([HEAD.to_owned(), counts.concat(), sections.concat()].concat())
}

const HEAD: &str = "\
# Error codes of the REST API

Each code of the contract, the status of its answer, and what makes claviger answer it. A code with status 200 is no error of a request: it
appears within a field such as `state.code`. The codes 1 to 8 are common to all of ONTAP; `docs/rest.md` says when they come.

The tests are those of `crates/ontap/tests/rest/codes`, run with `cargo test -p claviger-ontap`. This page is made of the table that the
service answers by: `cargo run -p claviger-ontap --example codes >docs/rest-codes.md`.

";

fn table(reach: Reach, entries: &[&Entry], tests: &BTreeMap<u32, String>) -> String {
    let (head, has_test) = match reach {
        Reach::Here => ("| Code | Status | Meaning | Comes with | Test |\n| --- | --- | --- | --- | --- |\n", true),
        Reach::Kmip | Reach::Azure => ("| Code | Status | Meaning | Comes with |\n| --- | --- | --- | --- |\n", false),
        Reach::Never => ("| Code | Status | Meaning | Why not |\n| --- | --- | --- | --- |\n", false),
    };
    let row = |Entry { number, status, meaning, trigger, .. }: &Entry| {
        let test = tests.get(number).map_or_else(String::new, |name| format!("`{name}`"));
        let test = if has_test { format!(" {test} |") } else { String::new() };
        format!("| {number} | {status} | {} | {} |{test}\n", cell(meaning), cell(trigger))
    };
    [head.to_owned(), entries.iter().map(|entry| row(entry)).collect()].concat()
}

fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|");
    text.trim_end_matches('.').to_owned()
}

/// The tests of codes: functions named `code_<number>_…` in the tests' sources.
pub(crate) fn tests_of_codes(root: &Path) -> io::Result<BTreeMap<u32, String>> {
    let mut tests = BTreeMap::new();
    for entry in fs::read_dir(root.join("tests/rest/codes"))? {
        let source = fs::read_to_string(entry?.path())?;
        // A function that no test runs does not count.
        let functions =
            source.split("#[test]\nfn ").skip(1).filter_map(|text| text.split_once('(')).map(|(name, _)| name);
        for name in functions {
            let code = name.strip_prefix("code_").and_then(|rest| rest.split('_').next());
            if let Some(code) = code.and_then(|code| code.parse().ok()) {
                tests.insert(code, name.to_owned());
            }
        }
    }
    Ok(tests)
}
