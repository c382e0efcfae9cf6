//! A hierarchy is copied from one kind of store to another, and nothing is lost on the way.
// As in every test; clippy only knows functions that are marked as one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use claviger::store::{Batch, OpenError, open_store};
use claviger::{
    CopyError, Engine, KeyAlgorithm, ObjectRef, OnboardMode, OpenEngineError, Options, Standing, StoreKind, SvmId,
    Table,
};
use common::{Bytes, PASSPHRASE, bytes, dir_options, name, passphrase, versions, volume};
use tempfile::TempDir;

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

struct Source {
    _parent: TempDir,
    from: PathBuf,
    to: PathBuf,
    svm: SvmId,
    keys: Vec<(ObjectRef, Bytes)>,
}

fn options(store: StoreKind) -> Options {
    Options { store, ..dir_options() }
}

fn other(kind: StoreKind) -> StoreKind {
    StoreKind::ALL.into_iter().find(|other| *other != kind).unwrap()
}

/// A hierarchy with 30 keys, one of them rotating, closed again.
fn source(kind: StoreKind) -> Source {
    let parent = tempfile::tempdir().unwrap();
    let (from, to) = (parent.path().join("from"), parent.path().join("to"));
    let engine = Engine::create(&from, &name("cluster1"), options(kind)).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let make = |number| (volume(number), bytes(&engine.create_key(svm, volume(number), XTS).unwrap()));
    let keys = (0..30).map(make).collect();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    engine.begin_rotation(svm, volume(1)).unwrap();
    Source { _parent: parent, from, to, svm, keys }
}

impl Source {
    fn copy(&self, kind: StoreKind) -> Result<Engine, CopyError> {
        Engine::copy_store(&self.from, &self.to, kind, dir_options(), |_| ())
    }

    fn assert_whole(&self, engine: &Engine) {
        for (volume, before) in &self.keys {
            let opened = engine.open_key(self.svm, *volume).unwrap();
            assert_eq!(versions(&opened)[0].1, *before);
        }
        assert_eq!(engine.verify(|_| ()).unwrap().findings, []);
        assert!(matches!(engine.standing(), Standing::Current), "{}", engine.standing());
    }
}

/// All files below a directory, with what is in them and their modes.
fn files(dir: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => {
                let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                found.push((path.clone(), mode, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn there_and_back_again_everything_opens() {
    for kind in StoreKind::ALL {
        let mut source = source(kind);
        for kind in [other(kind), kind, kind] {
            let before = files(&source.from);
            let copy = source.copy(kind).unwrap();
            source.assert_whole(&copy);
            // It is for reading.
            assert!(copy.create_key(source.svm, volume(99), XTS).is_err());
            drop(copy);
            assert_eq!(files(&source.from), before);
            assert_eq!(StoreKind::of(&source.to.join("store")).unwrap(), kind);
            let mode_of = |file: &str| source.to.join(file).metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!((mode_of("sealing.key"), mode_of("anchor")), (0o600, 0o600));

            // From here on, the copy is the hierarchy.
            let engine = Engine::open(&source.to, dir_options()).unwrap();
            source.assert_whole(&engine);
            let number = 100 + source.keys.len() as u128;
            let key = bytes(&engine.create_key(source.svm, volume(number), XTS).unwrap());
            source.keys.push((volume(number), key));
            drop(engine);
            let next = source.to.with_file_name(format!("to-{number}"));
            source.from = std::mem::replace(&mut source.to, next);
        }
    }
}

#[test]
fn a_damaged_record_is_copied_as_it_is_and_keeps_no_other() {
    let source = source(StoreKind::Sled);
    let damaged = {
        let store = open_store(&source.from.join("store"), &dir_options().store_options).unwrap();
        let mut record = store.scan(Table::Keys, b"", None, 1).unwrap().remove(0);
        record.value[100] ^= 1;
        store.commit(Batch::new().put(Table::Keys, record.key.clone(), record.value)).unwrap();
        record.key
    };
    let expected = Engine::open_copy(&source.from, dir_options()).unwrap().verify(|_| ()).unwrap();
    assert_eq!(expected.findings.iter().map(|finding| &finding.record.key).collect::<Vec<_>>(), [&damaged]);
    let copy = source.copy(StoreKind::Redb).unwrap();
    assert_eq!(copy.verify(|_| ()).unwrap(), expected);
}

#[test]
fn a_copy_that_was_interrupted_does_not_open_and_is_repeated() {
    let source = source(StoreKind::Sled);
    // Interrupted after the first page, by a panic here.
    let interrupted = std::panic::catch_unwind(|| {
        Engine::copy_store(&source.from, &source.to, StoreKind::Redb, dir_options(), |_| panic!("interrupted"))
    });
    assert!(interrupted.is_err());
    let opened = Engine::open(&source.to, dir_options()).map(drop).unwrap_err();
    assert!(matches!(opened, OpenEngineError::Unfinished { .. }), "{opened}");
    // Just before its end.
    drop(source.copy(StoreKind::Redb).unwrap());
    let store = open_store(&source.to.join("store"), &dir_options().store_options).unwrap();
    store.commit(Batch::new().delete(Table::Node, *b"hierarchy")).unwrap();
    drop(store);
    let opened = Engine::open(&source.to, dir_options()).map(drop).unwrap_err();
    assert!(matches!(opened, OpenEngineError::Unfinished { .. }), "{opened}");
    source.assert_whole(&source.copy(StoreKind::Redb).unwrap());
}

#[test]
fn what_is_there_already_is_not_touched() {
    let exists = |error: CopyError| matches!(error, CopyError::Open(OpenEngineError::Exists { .. }));
    let source = source(StoreKind::Sled);
    drop(source.copy(StoreKind::Redb).unwrap());
    let before = files(&source.to);
    assert!(exists(source.copy(StoreKind::Redb).map(drop).unwrap_err()));
    // An interrupted copy of what has changed since.
    let open = |dir: &Path| open_store(&dir.join("store"), &dir_options().store_options).unwrap();
    open(&source.to).commit(Batch::new().delete(Table::Node, *b"hierarchy")).unwrap();
    drop(Engine::open(&source.from, dir_options()).unwrap().create_key(source.svm, volume(50), XTS).unwrap());
    assert!(exists(source.copy(StoreKind::Redb).map(drop).unwrap_err()));
    let keys = |files: &[(PathBuf, u32, Vec<u8>)]| files.len();
    assert_eq!(keys(&files(&source.to)), keys(&before));
    // Another kind, and other things.
    let refused = source.copy(StoreKind::Sled).map(drop).unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenEngineError::Store(OpenError::OtherKind { .. }))), "{refused}");
    fs::write(source.to.join("other"), b"").unwrap();
    let refused = source.copy(StoreKind::Redb).map(drop).unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenEngineError::NotEmpty { .. })), "{refused}");
    // Itself.
    let itself = Engine::copy_store(&source.from, &source.from, StoreKind::Sled, dir_options(), |_| ());
    let refused = itself.map(drop).unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenEngineError::Store(OpenError::Locked { .. }))), "{refused}");
}

#[test]
fn the_source_is_locked_until_the_copy_is_complete() {
    let source = source(StoreKind::Redb);
    let locked = |opened: Result<(), OpenEngineError>| {
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenEngineError::Store(OpenError::Locked { .. })), "{error}");
    };
    let mut tried = 0;
    let copy = Engine::copy_store(&source.from, &source.to, StoreKind::Sled, dir_options(), |_| {
        tried += 1;
        locked(Engine::open(&source.from, dir_options()).map(drop));
    });
    source.assert_whole(&copy.unwrap());
    assert!(tried > 0);
    let engine = Engine::open(&source.from, dir_options()).unwrap();
    let again = source.copy(StoreKind::Sled).map(drop).unwrap_err();
    assert!(matches!(again, CopyError::Open(OpenEngineError::Store(OpenError::Locked { .. }))), "{again}");
    source.assert_whole(&engine);
}

#[test]
fn a_hierarchy_that_was_never_completed_is_not_copied() {
    let source = source(StoreKind::Sled);
    let store = open_store(&source.from.join("store"), &dir_options().store_options).unwrap();
    store.commit(Batch::new().delete(Table::Node, *b"hierarchy")).unwrap();
    drop(store);
    let refused = source.copy(StoreKind::Redb).map(drop).unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenEngineError::Unfinished { .. })), "{refused}");
    assert!(!source.to.exists());
}
