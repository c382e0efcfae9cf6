//! What the tests of the store on disk share.
// Each test file uses some of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_store::{Batch, SledStore, Store, StoreOptions, Table};

/// Options for small stores.
pub(crate) fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 16 * 1024 * 1024, ..StoreOptions::default() }
}

/// A new store with one record in it, closed again.
pub(crate) fn create(dir: &Path) {
    let store = SledStore::create(dir, &options()).unwrap();
    store.commit(Batch::new().put(Table::Svms, *b"vs0", *b"here")).unwrap();
}

pub(crate) fn assert_whole(store: &SledStore) {
    assert_eq!(store.get(Table::Svms, b"vs0").unwrap().unwrap(), b"here");
}

/// Everything below a directory: paths, and the contents of the files.
pub(crate) fn contents(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), None));
            found.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, Some(bytes)));
        }
    }
    found.sort();
    found
}

/// Copies a directory that nobody has open.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A command that runs the test `name` of the calling test file, one that is ignored otherwise, in a process of its own.
pub(crate) fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    command
}
