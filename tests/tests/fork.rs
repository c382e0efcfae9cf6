//! What a forked child can do to the store of its parent: nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use claviger::{ArenaOptions, Engine, KeyAlgorithm, KeyMemory, ObjectRef, OnboardMode, Options};
use claviger_secret::testing::{Child, End, in_child, in_child_with};
use claviger_store::{
    Batch, MAX_RECORD_BYTES, OpenError, RedbStore, SledStore, Store, StoreError, StoreKind, StoreOptions, Table,
    open_store, open_store_copy,
};
use uuid::Uuid;

/// One test at a time: a child inherits the files, and so the locks, of all stores that are open.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 16 * 1024 * 1024, ..StoreOptions::default() }
}

fn put(store: &dyn Store, number: u32) {
    store.commit(Batch::new().put(Table::Keys, number.to_be_bytes(), vec![0; MAX_RECORD_BYTES])).unwrap();
}

/// All files below a directory.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

/// The child drops the store when the parent has gone on, so that the parent's mark is further than the child's.
fn a_child_that_drops_a_store_leaves_it_to_the_parent(kind: StoreKind) {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut store = Some(kind.create(dir.path(), &options()).unwrap());
    let (hears, tells) = std::io::pipe().unwrap();
    let mut ends = Some((hears, tells));
    let child = Child::running(|| {
        let (mut hears, tells) = ends.take().unwrap();
        drop(tells);
        // Until the parent's end is closed.
        let heard = std::io::copy(&mut hears, &mut std::io::sink());
        drop(store.take());
        heard.is_ok()
    });
    let mark = || fs::read(dir.path().join("mark")).unwrap();
    let before = mark();
    (0..100).for_each(|number| put(&**store.as_ref().unwrap(), number));
    assert_ne!(mark(), before);
    let before = contents(dir.path());
    drop(ends);
    assert_eq!(child.wait(), End::Returned(true));

    assert!(contents(dir.path()) == before);
    let us = Some(std::process::id());
    let second = open_store(dir.path(), &options()).map(drop);
    assert!(matches!(second, Err(OpenError::Locked { pid, .. }) if pid == us), "{second:?}");
    put(&**store.as_ref().unwrap(), 100);
    drop(store);
    let store = open_store(dir.path(), &options()).unwrap();
    assert_eq!(store.scan(Table::Keys, b"", None, 1000).unwrap().len(), 101);
}

#[test]
fn a_child_that_drops_a_store_on_sled_leaves_it_to_the_parent() {
    a_child_that_drops_a_store_leaves_it_to_the_parent(StoreKind::Sled);
}

#[test]
fn a_child_that_drops_a_store_on_redb_leaves_it_to_the_parent() {
    a_child_that_drops_a_store_leaves_it_to_the_parent(StoreKind::Redb);
}

fn is_refused<T>(answer: Result<T, StoreError>, opener: u32) -> bool {
    matches!(answer, Err(StoreError::Forked { process }) if process == opener)
}

#[test]
fn a_child_is_told_whose_store_it_is() {
    let _alone = alone();
    let opener = std::process::id();
    for kind in StoreKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = kind.create(dir.path(), &options()).unwrap();
        put(&*store, 0);
        let before = contents(dir.path());
        let end = in_child(|| {
            is_refused(store.get(Table::Keys, &[0; 4]), opener)
                && is_refused(store.scan(Table::Keys, b"", None, 9), opener)
                && is_refused(store.commit(Batch::new().delete(Table::Keys, [0; 4])), opener)
                && is_refused(store.replace_each(Table::Keys, &[], &[]), opener)
                && matches!(open_store(dir.path(), &options()), Err(OpenError::Locked { pid, .. }) if pid == Some(opener))
        });
        assert_eq!(end, End::Returned(true), "{kind}");
        assert!(contents(dir.path()) == before, "{kind}");
        assert!(store.get(Table::Keys, &[0; 4]).unwrap().is_some());
    }
}

/// The copy that the parent reads stays where it is.
#[test]
fn a_child_that_drops_a_copy_does_not_remove_it() {
    let _alone = alone();
    for kind in StoreKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        put(&*kind.create(dir.path(), &options()).unwrap(), 0);
        // As it is shown for debugging: where the copy is.
        let (store, shown): (Box<dyn Store>, _) = match kind {
            StoreKind::Redb => shown(RedbStore::open_copy(dir.path(), &options()).unwrap()),
            _ => shown(SledStore::open_copy(dir.path(), &options()).unwrap()),
        };
        let copy = PathBuf::from(shown.split('"').nth(1).unwrap());
        assert!(copy.join(kind.name()).join("db").exists(), "{shown}");
        let mut store = Some(store);
        let end = in_child(|| {
            drop(store.take());
            true
        });
        assert_eq!(end, End::Returned(true));
        assert!(copy.join(kind.name()).join("db").exists());
        assert!(store.as_ref().unwrap().get(Table::Keys, &[0; 4]).unwrap().is_some());
        drop(store);
        assert!(!copy.exists());
    }
}

fn shown<S: Store + std::fmt::Debug + 'static>(store: S) -> (Box<dyn Store>, String) {
    let shown = format!("{store:?}");
    (Box::new(store), shown)
}

/// Forks while other threads hold every lock there is: no child hangs.
#[test]
fn children_of_a_busy_store_do_not_hang() {
    let _alone = alone();
    for kind in StoreKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = kind.create(dir.path(), &options()).unwrap();
        let (stop, written) = (AtomicBool::new(false), AtomicU32::new(0));
        let bad = thread::scope(|scope| {
            for thread in 0..2 {
                let (store, stop, written) = (&*store, &stop, &written);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        put(store, thread);
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let bad = (0..100)
                .map(|_| {
                    in_child_with(&store, |store| {
                        let refused = store.get(Table::Keys, &[0; 4]).is_err();
                        drop(store);
                        refused
                    })
                })
                .find(|end| *end != End::Returned(true));
            stop.store(true, Ordering::Relaxed);
            bad
        });
        assert_eq!(bad, None, "{kind}");
        assert!(written.into_inner() > 0);
        drop(store);
        assert_eq!(open_store_copy(dir.path(), &options()).unwrap().scan(Table::Keys, b"", None, 9).unwrap().len(), 2);
    }
}

#[test]
fn a_child_that_drops_an_engine_leaves_it_to_the_parent() {
    let _alone = alone();
    for kind in StoreKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let arena = ArenaOptions { keys: 100, states: 20, ..ArenaOptions::default() };
        let options =
            || Options { memory: KeyMemory::Own(arena), store: kind, store_options: options(), ..Options::default() };
        let dir = dir.path().join("hierarchy");
        let engine = Engine::create(&dir, &"cluster1".parse().unwrap(), options()).unwrap();
        let passphrase = engine.passphrase(b"thirty-two bytes of ASCII at the least").unwrap();
        engine.create_onboard(OnboardMode::Unattended, &passphrase).unwrap();
        let svm = engine.create_svm(&"vs0".parse().unwrap()).unwrap().id();
        let object = ObjectRef::Volume(Uuid::new_v4());
        let bytes = engine.create_key(svm, object, KeyAlgorithm::XtsAes256).unwrap().expose().to_vec();
        for _ in 0..100 {
            engine.create_key(svm, ObjectRef::Volume(Uuid::new_v4()), KeyAlgorithm::XtsAes256).unwrap();
        }
        // The child has no such thread to wait for.
        let job = engine.rekey_internal(svm).unwrap();
        let mut engine = Some(engine);
        let end = in_child(|| {
            let refused = engine.as_ref().is_some_and(|engine| engine.open_key(svm, object).is_err());
            drop(engine.take());
            refused
        });
        assert_eq!(end, End::Returned(true), "{kind}");
        job.wait().unwrap();
        drop(engine);
        let engine = Engine::open(&dir, options()).unwrap();
        assert_eq!(engine.open_key(svm, object).unwrap().newest().expose(), bytes);
        assert_eq!(engine.verify(|_| ()).unwrap().findings, []);
    }
}
