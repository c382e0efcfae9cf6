//! The table of codes against the contract, and against the tests of this directory.

use std::collections::{BTreeMap, BTreeSet};

use claviger_ontap::{Reach, codes};

use super::super::documents::tests_of_codes;

/// The contract's codes, each with its status.
const CONTRACT: &str = include_str!("../../contract/codes.txt");

fn contract() -> BTreeMap<u32, u16> {
    let line = |line: &str| {
        let (code, status) = line.split_once(' ').unwrap();
        (code.parse().unwrap(), status.parse().unwrap())
    };
    CONTRACT.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

#[test]
fn every_code_of_the_contract_is_in_the_table_once_and_with_its_status() {
    let contract = contract();
    assert_eq!(contract.len(), 132);
    let mut seen = BTreeSet::new();
    for entry in codes() {
        assert!(seen.insert(entry.number), "{} is there twice", entry.number);
        let status = match entry.number {
            // In a field it is no error; but a job can end with it (decision 13), and who waits is told.
            65_539_801 => Some(500),
            number => contract.get(&number).copied(),
        };
        assert!(status.is_none_or(|status| status == entry.status), "{}", entry.number);
        assert!(!entry.meaning.is_empty() && entry.meaning.ends_with('.'), "{}", entry.number);
        assert!(!entry.trigger.is_empty(), "{}", entry.number);
    }
    let missing: Vec<_> = contract.keys().filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A code that is answered without a test is a claim, and a test of one that never is would be one too.
#[test]
fn every_code_that_is_answered_here_has_a_test() {
    let tested = tests_of_codes();
    let here: BTreeSet<_> = codes().filter(|entry| entry.reach == Reach::Here).map(|entry| entry.number).collect();
    let untested: Vec<_> = here.iter().filter(|code| !tested.contains_key(code)).collect();
    assert!(untested.is_empty(), "{untested:?}");
    let unclaimed: Vec<_> = tested.keys().filter(|code| !here.contains(code)).collect();
    assert!(unclaimed.is_empty(), "{unclaimed:?}");
}
