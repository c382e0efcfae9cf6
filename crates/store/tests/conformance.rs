//! Every store passes the suite.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use claviger_store::{MemoryStore, OpenError, StoreKind, conformance};
use support::{open, options};

support::of_each_kind! {
    on_disk,
    on_disk_and_reopened,
}

#[test]
fn memory() {
    conformance::run(&|| Box::new(MemoryStore::default()));
}

fn on_disk(kind: StoreKind) {
    for case in conformance::CASES {
        println!("{}", case.name());
        let dir = tempfile::tempdir().unwrap();
        case.check(&*kind.create(dir.path(), &options()).unwrap());
        if kind == StoreKind::Sled {
            let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).unwrap().count();
            assert_eq!(blobs, 0, "sled must make no blob file");
        }
    }
}

fn on_disk_and_reopened(kind: StoreKind) {
    conformance::run_persistent(&|dir| match kind.create(dir, &options()) {
        Err(OpenError::Exists { .. }) => open(dir).unwrap(),
        created => created.unwrap(),
    });
}
