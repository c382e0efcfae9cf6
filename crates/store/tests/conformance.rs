//! Both stores pass the suite.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use claviger_store::{MemoryStore, OpenError, SledOptions, SledStore, Store, conformance};

fn sled() -> SledOptions {
    SledOptions { cache_bytes: 16 * 1024 * 1024, ..SledOptions::default() }
}

#[test]
fn memory() {
    conformance::run(&|| Box::new(MemoryStore::default()));
}

#[test]
fn on_disk() {
    for case in conformance::CASES {
        println!("{}", case.name());
        let dir = tempfile::tempdir().unwrap();
        case.check(&SledStore::create(dir.path(), &sled()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path().join("sled/blobs")).unwrap().count(), 0, "sled must make no blob file");
    }
}

#[test]
fn on_disk_and_reopened() {
    conformance::run_persistent(&|dir| -> Box<dyn Store> {
        Box::new(match SledStore::create(dir, &sled()) {
            Err(OpenError::Exists { .. }) => SledStore::open(dir, &sled()).unwrap(),
            created => created.unwrap(),
        })
    });
}
