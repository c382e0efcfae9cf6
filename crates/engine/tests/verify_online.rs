//! `verify` beside everything else: nobody waits for it, nothing that changes meanwhile is taken for damage, and nothing is
//! written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use claviger::store::open_store;
use claviger::{Engine, KeyAlgorithm, NewKey, ObjectRef, OnboardMode, Options, SvmId, Table};
use common::stores::{HoldingStore, UnwritableStore, Write};
use common::whole::{Whole, idle};
use common::{dir_options, name, put, verify_clean, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

fn on_disk(dir: &Path) -> Engine {
    let engine = Engine::create(dir, &name("cluster1"), dir_options()).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &common::passphrase(common::PASSPHRASE)).unwrap();
    engine
}

/// An SVM with more keys than are read at a time.
fn with_keys(engine: &Engine) -> SvmId {
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let new: Vec<_> = (0..2_500).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
    engine.create_keys(svm, &new).unwrap();
    svm
}

#[test]
fn everything_completes_while_a_verification_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    for engine in [common::open(&common::unattended()), on_disk(dir.path())] {
        let svm = with_keys(&engine);
        let mut calls = 0;
        // The verification goes on only when each of these has come to its end.
        let report = engine
            .verify(|_| {
                calls += 1;
                let new = engine.create_svm(&name(&format!("new{calls}"))).unwrap().id();
                engine.create_key(new, volume(1), XTS).unwrap();
                engine.create_key(svm, volume(10_000 + calls), XTS).unwrap();
                engine.begin_rotation(svm, volume(calls)).unwrap();
                engine.rekey_internal(svm).unwrap().wait().unwrap();
                engine.finish_rotation(svm, volume(calls)).unwrap();
                engine.delete_key(svm, volume(2_000 + calls)).unwrap();
                engine.open_key(svm, volume(0)).unwrap();
                engine.delete_key(new, volume(1)).unwrap();
                engine.delete_svm(new).unwrap();
                engine.rename_svm(svm, &name(&format!("vs{calls}"))).unwrap();
            })
            .unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert!(calls >= 3 && report.keys == report.opened, "{report:?}");
        verify_clean(&engine);
    }
}

#[test]
fn nothing_that_changes_meanwhile_is_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    for (engine, verifications) in [(common::open(&common::unattended()), 60), (on_disk(dir.path()), 15)] {
        let svm = with_keys(&engine);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = Stop(&stop);
            let work = |work: fn(&Engine, SvmId, u128)| {
                let (engine, stop) = (&engine, &stop);
                scope.spawn(move || {
                    for round in (0..).take_while(|_| !stop.load(Ordering::SeqCst)) {
                        work(engine, svm, round);
                    }
                })
            };
            work(|engine, svm, _| drop(engine.rekey_internal(svm).unwrap().wait().unwrap()));
            work(|engine, svm, round| {
                engine.create_key(svm, volume(10_000 + round), XTS).unwrap();
                engine.begin_rotation(svm, volume(10_000 + round)).unwrap();
                engine.delete_key(svm, volume(10_000 + round)).unwrap();
            });
            work(|engine, _, round| {
                let new = engine.create_svm(&name(&format!("new{round}"))).unwrap().id();
                engine.create_key(new, volume(1), XTS).unwrap();
                engine.rekey_internal(new).unwrap().wait().unwrap();
                engine.rename_svm(new, &name(&format!("old{round}"))).unwrap();
                engine.delete_key(new, volume(1)).unwrap();
                engine.delete_svm(new).unwrap();
            });
            for _ in 0..verifications {
                let report = engine.verify(|_| ()).unwrap();
                assert!(report.is_sound(), "{report:?}");
                assert!(report.keys == report.opened && report.keys >= 2_500, "{report:?}");
            }
        });
        verify_clean(&engine);
    }
}

/// A page is overtaken by one rekey, and the second look at its first key by another, or by the key's deletion.
#[test]
fn a_key_that_is_overtaken_twice_is_looked_at_a_third_time() {
    for is_deleted in [false, true] {
        let store = HoldingStore::over(common::unattended());
        let engine = common::open(&store);
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        for number in 1..4 {
            engine.create_key(svm, volume(number), XTS).unwrap();
        }
        let rekey = || drop(engine.rekey_internal(svm).unwrap().wait().unwrap());
        let page = store.hold_after(|call| matches!(call, Write::Scan { table: Table::Keys }));
        let report = thread::scope(|scope| {
            let verifying = scope.spawn(|| engine.verify(|_| ()).unwrap());
            page.reached();
            rekey();
            let first = common::store_key(svm, volume(1));
            let second_look = store.hold_before(move |call| call.gets(Table::Keys, &first));
            page.release();
            second_look.reached();
            if is_deleted {
                engine.delete_key(svm, volume(1)).unwrap();
            }
            rekey();
            second_look.release();
            verifying.join().unwrap()
        });
        assert!(report.is_sound(), "{report:?}");
        assert_eq!((report.keys, report.opened), if is_deleted { (2, 2) } else { (3, 3) });
    }
}

/// Tells the threads to end, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_verification_calls_nothing_that_writes() {
    let whole = Whole::new();
    for (table, key, value) in whole.records() {
        for changed in [value.len() / 2, value.len() - 1] {
            let store = whole.copy();
            let mut damaged = value.clone();
            damaged[changed] ^= 1;
            put(&*store, table, &key, &damaged);
            let engine = Engine::open_on(Arc::new(UnwritableStore(store)), idle()).unwrap();
            assert_eq!(engine.verify(|_| ()).unwrap().findings.len(), 1);
        }
    }
    let engine = Engine::open_on(Arc::new(UnwritableStore(whole.store)), idle()).unwrap();
    verify_clean(&engine);
}

/// Everything below a directory: what it is, whose, since when, and its bytes.
fn fingerprint(dir: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64, Vec<u8>)> {
    let of = |path: &Path| {
        let metadata = std::fs::symlink_metadata(path).unwrap();
        let bytes = if metadata.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
        (metadata.mode(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), bytes)
    };
    let mut all = BTreeMap::from([(dir.to_owned(), of(dir))]);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(fingerprint(&path)),
            false => drop(all.insert(path.clone(), of(&path))),
        }
    }
    all
}

#[test]
fn a_verification_of_a_directory_leaves_it_as_it_is_to_the_byte_and_the_second() {
    let dir = tempfile::tempdir().unwrap();
    let engine = on_disk(dir.path());
    let svm = with_keys(&engine);
    drop(engine);
    let before = fingerprint(dir.path());
    let copy = Engine::open_copy(dir.path(), dir_options()).unwrap();
    assert_eq!(verify_clean(&copy).keys, 2_500);
    assert_eq!(fingerprint(dir.path()), before);
    drop(copy);
    assert_eq!(fingerprint(dir.path()), before);

    // Also with damage in it, and with a job that waits.
    let engine = Engine::open(dir.path(), Options { resume_jobs: false, ..dir_options() }).unwrap();
    drop(engine.rekey_internal(svm).unwrap());
    drop(engine);
    let store = open_store(&dir.path().join("store"), &dir_options().store_options).unwrap();
    let key = common::store_key(svm, ObjectRef::Volume(volume(7).uuid()));
    put(&*store, Table::Keys, &key, b"damaged");
    drop(store);
    let before = fingerprint(dir.path());
    let copy = Engine::open_copy(dir.path(), dir_options()).unwrap();
    assert_eq!(copy.verify(|_| ()).unwrap().findings.len(), 1);
    drop(copy);
    assert_eq!(fingerprint(dir.path()), before);
    // What is compared sees a change.
    drop(Engine::open(dir.path(), dir_options()).unwrap());
    assert_ne!(fingerprint(dir.path()), before);
}
