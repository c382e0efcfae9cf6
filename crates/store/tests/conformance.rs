//! Every store passes the suite.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use claviger_store::{MemoryStore, OpenError, StoreKind, conformance, open_store};
use support::options;

#[test]
fn memory() {
    conformance::run(&|| Box::new(MemoryStore::default()));
}

#[test]
fn on_disk() {
    for (kind, case) in
        StoreKind::ALL.into_iter().flat_map(|kind| conformance::CASES.iter().map(move |case| (kind, case)))
    {
        println!("{kind}: {}", case.name());
        let dir = tempfile::tempdir().unwrap();
        case.check(&*kind.create(dir.path(), &options()).unwrap());
        if kind == StoreKind::Sled {
            let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).unwrap().count();
            assert_eq!(blobs, 0, "sled must make no blob file");
        }
    }
}

#[test]
fn on_disk_and_reopened() {
    for kind in StoreKind::ALL {
        conformance::run_persistent(&|dir| match kind.create(dir, &options()) {
            Err(OpenError::Exists { .. }) => open_store(dir, &options()).unwrap(),
            created => created.unwrap(),
        });
    }
}
