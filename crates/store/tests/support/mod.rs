//! What the tests of the stores on disk share.
// Each test file uses some of it.
#![allow(dead_code, unused_imports, unused_macros)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_store::{Batch, OpenError, Store, StoreKind, StoreOptions, Table, open_store, open_store_copy};

/// Makes of each function a test for each kind of store.
macro_rules! of_each_kind {
    ($($test:ident,)*) => {
        mod sled {
            $(#[test] fn $test() { super::$test(claviger_store::StoreKind::Sled); })*
        }
        mod redb {
            $(#[test] fn $test() { super::$test(claviger_store::StoreKind::Redb); })*
        }
    };
}
pub(crate) use of_each_kind;

/// Options for small stores.
pub(crate) fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 16 * 1024 * 1024, ..StoreOptions::default() }
}

/// A new store with one record in it, closed again.
pub(crate) fn create(kind: StoreKind, dir: &Path) {
    let store = kind.create(dir, &options()).unwrap();
    store.commit(Batch::new().put(Table::Svms, *b"vs0", *b"here")).unwrap();
}

pub(crate) fn open(dir: &Path) -> Result<Box<dyn Store>, OpenError> {
    open_store(dir, &options())
}

pub(crate) fn open_copy(dir: &Path) -> Result<Box<dyn Store>, OpenError> {
    open_store_copy(dir, &options())
}

/// What a store's creation or opening failed with.
pub(crate) fn refused(opened: Result<Box<dyn Store>, OpenError>) -> OpenError {
    opened.map(drop).unwrap_err()
}

/// The database's one large file, below the store's directory.
pub(crate) fn database_file(kind: StoreKind) -> PathBuf {
    Path::new(kind.name()).join("db")
}

pub(crate) fn assert_whole(store: &dyn Store) {
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
