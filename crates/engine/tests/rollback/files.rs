//! Directories, copies and recoveries.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::{self, name, passphrase, volume};
use claviger::store::MemoryStore;
use claviger::{Anchor, AnchorError, AnchorSource, Engine, OnboardMode, OpenEngineError, Options, Standing};
use tempfile::TempDir;
use uuid::Uuid;

use crate::node::*;

#[test]
fn a_store_directory_that_was_put_back_is_refused() {
    let dir = TempDir::new().unwrap();
    let [at, older, anchor] = ["h", "older", "h/anchor"].map(|path| dir.path().join(path));
    let svm = {
        let engine = Engine::create(&at, &name("cluster1"), common::dir_options()).unwrap();
        engine.create_onboard(OnboardMode::Unattended, &passphrase(common::PASSPHRASE)).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        engine.create_key(svm, volume(1), XTS).unwrap();
        svm
    };
    copy_dir(&at, &older);
    let engine = Engine::open(&at, common::dir_options()).unwrap();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    drop(engine);

    // A copy of all of it, elsewhere, is as good as the original.
    let elsewhere = dir.path().join("elsewhere");
    copy_dir(&at, &elsewhere);
    Engine::open(&elsewhere, common::dir_options()).unwrap();

    let newest = dir.path().join("newest");
    std::fs::rename(at.join("store"), &newest).unwrap();
    copy_dir(&older.join("store"), &at.join("store"));
    let refused = |options| Engine::open(&at, options).map(drop).unwrap_err();
    assert!(matches!(refused(common::dir_options()), OpenEngineError::RolledBack { .. }));
    let copy = Engine::open_copy(&at, common::dir_options()).unwrap();
    assert!(matches!(copy.standing(), Standing::RolledBack { .. }));
    drop(copy);

    // Another anchor does not help, nor one that was changed, nor none.
    let genuine = std::fs::read(&anchor).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&anchor.metadata().unwrap()) & 0o777, 0o600);
    let mut changed = genuine.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&anchor, changed).unwrap();
    let error = refused(common::dir_options());
    assert!(matches!(&error, OpenEngineError::Anchor { source: AnchorError::Damaged { .. } }), "{error:?}");
    std::fs::remove_file(&anchor).unwrap();
    assert!(matches!(refused(common::dir_options()), OpenEngineError::NotAnchored));

    // Whoever can put back both rolls back unnoticed: the file is worth no more than the directory it is in.
    std::fs::copy(older.join("anchor"), &anchor).unwrap();
    Engine::open(&at, common::dir_options()).unwrap();

    std::fs::write(&anchor, &genuine).unwrap();
    std::fs::remove_dir_all(at.join("store")).unwrap();
    std::fs::rename(&newest, at.join("store")).unwrap();
    let engine = Engine::open(&at, common::dir_options()).unwrap();
    engine.open_key(svm, volume(1)).unwrap();
}

/// An anchor before which something happens when it is read for the first time.
struct ReadAfter {
    before: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    anchor: Arc<TestAnchor>,
}

impl Anchor for ReadAfter {
    fn epoch(&self, hierarchy: Uuid) -> Result<Option<u64>, AnchorError> {
        let before = self.before.lock().unwrap().take();
        if let Some(before) = before {
            before();
        }
        self.anchor.epoch(hierarchy)
    }

    fn raise(&self, hierarchy: Uuid, epoch: u64) -> Result<(), AnchorError> {
        self.anchor.raise(hierarchy, epoch)
    }
}

/// The copy was made before the change, and its anchor is read after it.
#[test]
fn a_store_that_is_changed_while_it_is_copied_is_no_older_copy() {
    let dir = TempDir::new().unwrap();
    let at = dir.path().join("h");
    let anchor = Arc::new(TestAnchor::default());
    Engine::create(&at, &name("cluster1"), options(&anchor)).unwrap();
    let change = {
        let (at, anchor) = (at.clone(), anchor.clone());
        move || drop(Engine::open(&at, options(&anchor)).unwrap().create_svm(&name("vs0")).unwrap())
    };
    let changing = ReadAfter { before: Mutex::new(Some(Box::new(change))), anchor: anchor.clone() };
    let options = Options { anchor: AnchorSource::Provided(Arc::new(changing)), ..options(&anchor) };
    let copy = Engine::open_copy(&at, options).unwrap();
    assert!(matches!(copy.standing(), Standing::Current), "{}", copy.standing());
    copy.svm_named("vs0").unwrap();
}

#[test]
fn an_anchor_of_another_hierarchy_under_the_same_sealing_key_is_refused() {
    let dir = TempDir::new().unwrap();
    let [a, b] = ["a", "b"].map(|path| dir.path().join(path));
    let options = || Options { anchor: AnchorSource::BesideStore, ..common::options() };
    for at in [&a, &b] {
        Engine::create(at, &name("cluster1"), options()).unwrap();
    }
    std::fs::copy(a.join("anchor"), b.join("anchor")).unwrap();
    let error = Engine::open(&b, options()).map(drop).unwrap_err();
    assert!(matches!(error, OpenEngineError::Anchor { source: AnchorError::OtherHierarchy { .. } }), "{error:?}");
    let accepting = || Options { danger_accept_rollback: true, ..options() };
    Engine::open(&b, accepting()).unwrap();
    Engine::open(&b, options()).unwrap();
    // Nor does a damaged one say anything that could be kept.
    std::fs::write(b.join("anchor"), b"what was an anchor").unwrap();
    Engine::open(&b, accepting()).unwrap();
    Engine::open(&b, options()).unwrap();
}

#[test]
fn a_store_of_the_embedders_needs_an_anchor_or_the_word_that_there_is_none() {
    let options = || Options { anchor: AnchorSource::default(), ..common::options() };
    let created = Engine::create_on(Arc::new(MemoryStore::default()), &name("cluster1"), options());
    assert!(matches!(created, Err(OpenEngineError::NoAnchor)));
    let opened = Engine::open_on(common::unattended(), options());
    assert!(matches!(opened, Err(OpenEngineError::NoAnchor)));
}

/// A recovery is no rollback, whatever the hierarchy's anchor has seen.
#[test]
fn a_recovered_hierarchy_goes_on_behind_its_anchor() {
    let dir = TempDir::new().unwrap();
    let node = Node::new();
    let engine = node.open().unwrap();
    let backup = engine.backup().unwrap();
    engine.create_svm(&name("vs1")).unwrap();
    drop(engine);
    let at = node.anchor.at();
    let to = dir.path().join("recovered");
    let passphrase = passphrase(common::PASSPHRASE);
    let engine = Engine::restore(&to, &backup, &passphrase, options(&node.anchor)).unwrap();
    assert_eq!(node.anchor.at(), at + 1);
    engine.create_svm(&name("vs2")).unwrap();
    drop(engine);
    Engine::open(&to, options(&node.anchor)).unwrap();
}

/// Nobody can know what it remembers, and it is never lowered.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}
