//! An older copy of the store, put in the place of the newest, is noticed when it is opened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claviger::store::{Batch, MemoryStore};
use claviger::{
    Advice, Anchor, AnchorError, AnchorSource, Blame, Engine, Fault, KeyAlgorithm, KeyError, NewKey, OnboardMode,
    OpenEngineError, Options, RecordError, Standing, Store, SvmError, SvmId, Table,
};
use common::stores::HoldingStore;
use common::{name, passphrase, versions, volume};
use tempfile::TempDir;
use uuid::Uuid;

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// An anchor in memory, which answers or does not.
#[derive(Default)]
struct TestAnchor {
    epochs: Mutex<BTreeMap<Uuid, u64>>,
    refuses: Mutex<bool>,
    is_unread: Mutex<bool>,
    holds: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl TestAnchor {
    fn refuse(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }

    fn answers(&self) -> Result<(), AnchorError> {
        match *self.refuses.lock().unwrap() {
            true => Err(AnchorError::Other(Box::new(io::Error::other("the peer does not answer")))),
            false => Ok(()),
        }
    }

    /// Whether it says what it remembers; it is raised all the same.
    fn is_unread(&self, is_unread: bool) {
        *self.is_unread.lock().unwrap() = is_unread;
    }

    /// Holds the next raise: it is told when that comes, and lets it go by being dropped.
    fn hold(&self) -> (Receiver<()>, Sender<()>) {
        let ((came, has_come), (let_go, go)) = (channel(), channel());
        *self.holds.lock().unwrap() = Some((came, go));
        (has_come, let_go)
    }

    fn at(&self) -> u64 {
        *self.epochs.lock().unwrap().values().next().unwrap()
    }

    fn set(&self, epoch: u64) {
        self.epochs.lock().unwrap().values_mut().for_each(|at| *at = epoch);
    }
}

impl Anchor for TestAnchor {
    fn epoch(&self, hierarchy: Uuid) -> Result<Option<u64>, AnchorError> {
        self.answers()?;
        if *self.is_unread.lock().unwrap() {
            return Err(AnchorError::Other(Box::new(io::Error::other("the peer does not say"))));
        }
        Ok(self.epochs.lock().unwrap().get(&hierarchy).copied())
    }

    fn raise(&self, hierarchy: Uuid, epoch: u64) -> Result<(), AnchorError> {
        let held = self.holds.lock().unwrap().take();
        if let Some((came, go)) = held {
            came.send(()).ok();
            go.recv().ok();
        }
        self.answers()?;
        let before = self.epochs.lock().unwrap().insert(hierarchy, epoch);
        assert!(before.is_none_or(|before| before <= epoch), "an anchor is never lowered");
        Ok(())
    }
}

fn options(anchor: &Arc<TestAnchor>) -> Options {
    Options { anchor: AnchorSource::Provided(anchor.clone()), ..common::options() }
}

fn accepting(anchor: &Arc<TestAnchor>) -> Options {
    Options { danger_accept_rollback: true, ..options(anchor) }
}

/// A hierarchy with an SVM and a key, its disk and its anchor.
struct Node {
    disk: Arc<MemoryStore>,
    anchor: Arc<TestAnchor>,
    svm: SvmId,
}

impl Node {
    fn new() -> Self {
        let disk = Arc::new(MemoryStore::default());
        let anchor = Arc::new(TestAnchor::default());
        let engine = Engine::create_on(disk.clone(), &name("cluster1"), options(&anchor)).unwrap();
        engine.create_onboard(OnboardMode::Unattended, &passphrase(common::PASSPHRASE)).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        engine.create_key(svm, volume(1), XTS).unwrap();
        Self { disk, anchor, svm }
    }

    fn open(&self) -> Result<Engine, OpenEngineError> {
        Engine::open_on(self.disk.clone(), options(&self.anchor))
    }

    fn copy(&self) -> Arc<MemoryStore> {
        Arc::new(common::copy_of(self.disk.as_ref()))
    }

    /// Whether an older copy is refused, as what it is.
    fn refuses(&self, older: Arc<MemoryStore>) -> bool {
        match Engine::open_on(older, options(&self.anchor)) {
            Ok(_) => false,
            Err(OpenEngineError::RolledBack { store, anchored }) => {
                assert!(store < anchored && anchored == self.anchor.at());
                true
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_copy_from_before_each_structural_change_is_refused() {
    type Change = (&'static str, fn(&Engine, SvmId));
    let changes: &[Change] = &[
        ("SVM created", |engine, _| drop(engine.create_svm(&name("vs1")).unwrap())),
        ("SVM renamed", |engine, svm| engine.rename_svm(svm, &name("vs9")).unwrap()),
        ("SVM deleted", |engine, _| engine.delete_svm(engine.svm_named("empty").unwrap().id()).unwrap()),
        ("first KEK", |engine, _| {
            engine.create_key(engine.svm_named("empty").unwrap().id(), volume(1), XTS).map(drop).unwrap();
        }),
        ("rekey", |engine, svm| engine.rekey_internal(svm).unwrap().wait().map(drop).unwrap()),
        ("passphrase", |engine, _| {
            let (old, new) = (passphrase(common::PASSPHRASE), passphrase(common::OTHER_PASSPHRASE));
            engine.change_passphrase(&old, &new).unwrap();
        }),
        ("seals reserved", |engine, svm| {
            let many: Vec<_> = (1_000..5_097)
                .map(|number| NewKey { object: volume(number), algorithm: KeyAlgorithm::Aes256 })
                .collect();
            engine.create_keys(svm, &many).map(drop).unwrap();
        }),
    ];
    for (what, change) in changes {
        let node = Node::new();
        let engine = node.open().unwrap();
        engine.create_svm(&name("empty")).unwrap();
        let older = node.copy();
        let before = node.anchor.at();
        change(&engine, node.svm);
        assert!(node.anchor.at() > before, "{what}");
        drop(engine);
        assert!(node.refuses(older), "{what}");
        let engine = node.open().unwrap();
        assert!(matches!(engine.standing(), Standing::Current), "{what}");
    }
}

/// Changes of keys alone raise the epoch once after each opening.
#[test]
fn a_copy_from_before_the_last_opening_is_refused_where_a_key_has_changed_since() {
    type Change = (&'static str, fn(&Engine, SvmId, &MemoryStore));
    let changes: &[Change] = &[
        ("created", |engine, svm, _| engine.create_key(svm, volume(2), XTS).map(drop).unwrap()),
        ("deleted", |engine, svm, _| engine.delete_key(svm, volume(1)).unwrap()),
        ("rotated", |engine, svm, _| engine.begin_rotation(svm, volume(1)).map(drop).unwrap()),
        ("finished", |engine, svm, _| engine.finish_rotation(svm, volume(3)).map(drop).unwrap()),
        ("imported", |engine, _, more| assert_eq!(engine.import_keys(more, |_| ()).unwrap().imported, 1)),
    ];
    for (what, change) in changes {
        let node = Node::new();
        let engine = node.open().unwrap();
        engine.create_key(node.svm, volume(3), XTS).unwrap();
        engine.begin_rotation(node.svm, volume(3)).unwrap();
        engine.create_key(node.svm, volume(5), XTS).unwrap();
        let more = node.copy();
        engine.delete_key(node.svm, volume(5)).unwrap();
        drop(engine);
        let older = node.copy();
        let engine = node.open().unwrap();
        change(&engine, node.svm, &more);
        assert!(node.refuses(older), "{what}");
        let at = node.anchor.at();
        // What follows costs nothing more, and an older copy from here on is not told from the newest.
        let newer = node.copy();
        engine.create_key(node.svm, volume(4), XTS).unwrap();
        engine.delete_key(node.svm, volume(4)).unwrap();
        assert!(node.anchor.at() <= at + 1, "{what}");
        drop(engine);
        assert_eq!(node.refuses(newer), node.anchor.at() > at, "{what}");
    }
}

#[test]
fn opening_and_reading_raise_nothing() {
    let node = Node::new();
    let (before, at) = (common::records(node.disk.as_ref()), node.anchor.at());
    let engine = node.open().unwrap();
    engine.open_key(node.svm, volume(1)).unwrap();
    engine.verify(|_| ()).unwrap();
    engine.backup().unwrap();
    assert!(matches!(engine.delete_key(node.svm, volume(9)), Err(KeyError::Missing { .. })));
    drop(engine);
    assert_eq!((common::records(node.disk.as_ref()), node.anchor.at()), (before, at));
}

#[test]
fn an_anchor_that_is_behind_follows_with_the_next_change() {
    let node = Node::new();
    let at = node.anchor.at();
    // As after a crash between the commit and the anchor, or where the anchor itself was put back.
    node.anchor.set(at - 1);
    let engine = node.open().unwrap();
    assert!(matches!(engine.standing(), Standing::Current));
    engine.create_svm(&name("vs1")).unwrap();
    assert_eq!(node.anchor.at(), at + 1);
}

/// What another change has written is seen before it is durable. An anchor that was raised to it would be ahead of the store
/// after a power cut, and the node would not come up.
#[test]
fn the_anchor_is_never_raised_to_what_nobody_was_told_is_durable() {
    let node = Node::new();
    let disk = HoldingStore::over(node.disk.clone());
    let engine = Engine::open_on(disk.clone(), options(&node.anchor)).unwrap();
    let at = node.anchor.at();
    let (svm, epoch) = (node.svm, b"epoch");
    let unanswered = disk.hold_after(|write| write.puts(Table::Node, epoch));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| engine.rename_svm(svm, &name("vs1")).unwrap());
        unanswered.reached();
        // The other one finds the epoch raised, and commits on top of it.
        let tries = [(); 2].map(|()| disk.hold_before(|write| write.puts(Table::Node, epoch)));
        let second = scope.spawn(|| drop(engine.create_svm(&name("vs2")).unwrap()));
        for attempt in tries {
            attempt.reached();
            assert_eq!(node.anchor.at(), at);
            attempt.release();
        }
        second.join().unwrap();
        assert_eq!(node.anchor.at(), at + 2);
        unanswered.release();
        first.join().unwrap();
    });
    assert_eq!(node.anchor.at(), at + 2);
}

/// An older record of the epoch, and one of the same epoch that another engine has made from there.
#[test]
fn a_store_that_was_put_back_under_a_running_engine_takes_no_more_changes() {
    for again in [false, true] {
        let node = Node::new();
        let older = node.copy();
        let engine = Arc::new(node.open().unwrap());
        engine.create_svm(&name("vs1")).unwrap();
        let at = node.anchor.at();
        common::put(node.disk.as_ref(), Table::Node, b"epoch", &older.get(Table::Node, b"epoch").unwrap().unwrap());
        if again {
            common::forge::change(node.disk.as_ref(), Table::Node, b"epoch", |body| body["epoch"] = at.into());
        }
        let (answer, answered) = channel();
        let changing = engine.clone();
        std::thread::spawn(move || answer.send(changing.create_svm(&name("vs2")).map(drop)));
        let refused = answered.recv_timeout(Duration::from_secs(20)).expect("it was not answered").unwrap_err();
        let (store, known) = (if again { at } else { at - 1 }, at);
        let SvmError::Records(RecordError::RolledBack { store: found, known: knew }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((found, knew), (store, known));
        assert_eq!(refused.blame(), (Fault::Data, Advice::Repair));
        engine.open_key(node.svm, volume(1)).unwrap();
    }
}

#[test]
fn an_older_copy_is_accepted_on_purpose_and_then_is_the_newest() {
    let node = Node::new();
    let older = node.copy();
    let engine = node.open().unwrap();
    let svm = engine.create_svm(&name("vs1")).unwrap().id();
    engine.create_key(svm, volume(1), XTS).unwrap();
    drop(engine);
    let newest = node.copy();
    let at = node.anchor.at();
    assert!(node.refuses(older.clone()));

    let engine = Engine::open_on(older.clone(), accepting(&node.anchor)).unwrap();
    assert!(matches!(engine.svm_named("vs1"), Err(SvmError::UnknownName { .. })));
    engine.open_key(node.svm, volume(1)).unwrap();
    assert!(node.anchor.at() > at);
    drop(engine);
    // Now the newest store is the older one.
    Engine::open_on(older, options(&node.anchor)).unwrap();
    assert!(node.refuses(newest));
}

#[test]
fn without_its_anchor_a_store_is_opened_on_purpose_only() {
    let node = Node::new();
    node.anchor.epochs.lock().unwrap().clear();
    let error = node.open().map(drop).unwrap_err();
    assert!(matches!(error, OpenEngineError::NotAnchored) && error.fault() == Fault::Data);
    let before = common::records(node.disk.as_ref());
    node.anchor.refuse(true);
    assert!(matches!(node.open(), Err(OpenEngineError::Anchor { .. })));
    assert_eq!(common::records(node.disk.as_ref()), before);
    node.anchor.refuse(false);
    let engine = Engine::open_on(node.disk.clone(), accepting(&node.anchor)).unwrap();
    engine.create_svm(&name("vs1")).unwrap();
    drop(engine);
    node.open().unwrap();
}

#[test]
fn where_the_anchor_does_not_answer_one_change_is_made_and_no_more_and_keys_open() {
    let node = Node::new();
    let engine = node.open().unwrap();
    let svm = engine.create_svm(&name("vs1")).unwrap().id();
    let at = node.anchor.at();
    node.anchor.refuse(true);
    // Committed before the anchor is asked: it is there, and is said to be.
    engine.rename_svm(svm, &name("vs2")).unwrap();
    let refused = engine.rename_svm(svm, &name("vs3")).unwrap_err();
    assert!(matches!(refused, SvmError::Records(RecordError::Anchor(_))), "{refused:?}");
    assert_eq!(refused.fault(), Fault::Node);
    assert!(matches!(engine.create_key(svm, volume(1), XTS), Err(KeyError::Records(RecordError::Anchor(_)))));
    engine.open_key(node.svm, volume(1)).unwrap();
    assert_eq!(engine.svm(svm).unwrap().name().unwrap().as_str(), "vs2");

    node.anchor.refuse(false);
    engine.rename_svm(svm, &name("vs3")).unwrap();
    assert_eq!(node.anchor.at(), at + 2);
}

/// A change waits for its anchor, and for that of the change before. A blob under a KEK that is not known yet waits for whoever
/// publishes a new one, so it would wait with it.
#[test]
fn a_key_opens_while_a_change_waits_for_the_anchor() {
    for after_a_failure in [false, true] {
        let node = Node::new();
        let engine = node.open().unwrap();
        engine.create_key(node.svm, volume(2), XTS).unwrap();
        let key = common::store_key(node.svm, volume(2));
        let mut blob = node.disk.get(Table::Keys, &key).unwrap().unwrap();
        // The id of the KEK (`docs/formats.md`, wrapped-key blob).
        blob[48] ^= 1;
        common::put(node.disk.as_ref(), Table::Keys, &key, &blob);
        if after_a_failure {
            node.anchor.refuse(true);
            engine.create_svm(&name("vs1")).unwrap();
            node.anchor.refuse(false);
        }
        let at = node.anchor.at();

        let (has_come, let_go) = node.anchor.hold();
        let is_renamed = AtomicBool::new(false);
        let (engine, svm) = (&engine, node.svm);
        std::thread::scope(|scope| {
            let rename = scope.spawn(|| {
                engine.rename_svm(svm, &name("vs9")).unwrap();
                is_renamed.store(true, SeqCst);
            });
            let patience = Duration::from_secs(20);
            has_come.recv_timeout(patience).expect("the anchor was not raised");
            let (answer, answered) = channel();
            scope.spawn(move || answer.send(engine.open_key(svm, volume(2)).map(drop)));
            let opened = answered.recv_timeout(patience);
            // It is not acknowledged before the anchor was tried.
            assert!(!is_renamed.load(SeqCst));
            drop(let_go);
            rename.join().unwrap();
            let opened = opened.expect("opening a key waits for the anchor");
            assert!(matches!(opened, Err(KeyError::NoSuchKek { .. })), "{opened:?}");
        });
        assert_eq!(node.anchor.at(), at + if after_a_failure { 2 } else { 1 });
    }
}

/// A change of a key is not structural, so nothing would notice an older copy later: it waits until the anchor is level.
#[test]
fn where_the_anchor_does_not_answer_no_key_is_changed() {
    type Change = (&'static str, fn(&Engine, SvmId) -> Result<(), KeyError>);
    let changes: &[Change] = &[
        ("deleted", |engine, svm| engine.delete_key(svm, volume(1))),
        ("created", |engine, svm| engine.create_key(svm, volume(4), XTS).map(drop)),
        ("created, many", |engine, svm| {
            engine.create_keys(svm, &[NewKey { object: volume(4), algorithm: XTS }]).map(drop)
        }),
        ("rotated", |engine, svm| engine.begin_rotation(svm, volume(1)).map(drop)),
        ("finished", |engine, svm| engine.finish_rotation(svm, volume(3)).map(drop)),
    ];
    for (what, change) in changes {
        let node = Node::new();
        let engine = node.open().unwrap();
        engine.create_key(node.svm, volume(2), XTS).unwrap();
        engine.create_key(node.svm, volume(3), XTS).unwrap();
        engine.begin_rotation(node.svm, volume(3)).unwrap();
        drop(engine);
        let older = node.copy();
        let keys = || common::records(node.disk.as_ref()).into_iter().filter(|(table, ..)| *table == Table::Keys);
        let before: Vec<_> = keys().collect();
        let engine = node.open().unwrap();
        node.anchor.refuse(true);
        // Also when the epoch has been raised in the store.
        for _ in 0..2 {
            let refused = change(&engine, node.svm).unwrap_err();
            assert!(matches!(refused, KeyError::Records(RecordError::Anchor(_))), "{what}: {refused:?}");
            let refused = engine.delete_key(node.svm, volume(2)).unwrap_err();
            assert!(matches!(refused, KeyError::Records(RecordError::Anchor(_))), "{what}: {refused:?}");
        }
        assert!(keys().eq(before), "{what}");
        engine.open_key(node.svm, volume(1)).unwrap();

        node.anchor.refuse(false);
        change(&engine, node.svm).unwrap();
        drop(engine);
        assert!(node.refuses(older), "{what}");
    }
}

#[test]
fn where_the_epochs_record_is_lost_keys_open_and_nothing_changes_until_that_is_accepted() {
    for damage in [None, Some(b"what was an epoch".to_vec())] {
        let node = Node::new();
        let lost = match damage.clone() {
            Some(bytes) => Batch::new().put(Table::Node, *b"epoch", bytes),
            None => Batch::new().delete(Table::Node, *b"epoch"),
        };
        node.disk.commit(lost).unwrap();

        let engine = node.open().unwrap();
        assert!(matches!(engine.standing(), Standing::Lost));
        let key = versions(&engine.open_key(node.svm, volume(1)).unwrap());
        let refused = [
            engine.create_svm(&name("vs1")).map(drop).map_err(|error| error.blame()),
            engine.create_key(node.svm, volume(2), XTS).map(drop).map_err(|error| error.blame()),
            engine.delete_key(node.svm, volume(1)).map_err(|error| error.blame()),
        ];
        assert!(refused.iter().all(|answer| answer.is_err_and(|(fault, _)| fault == Fault::Data)), "{refused:?}");
        drop(engine);

        let engine = Engine::open_on(node.disk.clone(), accepting(&node.anchor)).unwrap();
        engine.create_key(node.svm, volume(2), XTS).unwrap();
        drop(engine);
        let engine = node.open().unwrap();
        assert!(matches!(engine.standing(), Standing::Current));
        assert_eq!(versions(&engine.open_key(node.svm, volume(1)).unwrap()), key);
        common::verify_clean(&engine);
    }
}

/// Nobody knows then which hierarchy's anchor to raise.
#[test]
fn where_the_hierarchys_identity_is_lost_too_keys_open_also_when_that_is_accepted() {
    let node = Node::new();
    let lost = Batch::new().put(Table::Node, *b"hierarchy", b"what it was").put(Table::Node, *b"epoch", b"what it was");
    node.disk.commit(lost).unwrap();
    let before = common::records(node.disk.as_ref());
    for options in [options(&node.anchor), accepting(&node.anchor)] {
        let engine = Engine::open_on(node.disk.clone(), options).unwrap();
        assert!(matches!(engine.standing(), Standing::Lost));
        engine.open_key(node.svm, volume(1)).unwrap();
        let refused = engine.create_svm(&name("vs1")).unwrap_err();
        assert!(matches!(refused, SvmError::Records(RecordError::EpochLost)), "{refused:?}");
    }
    assert_eq!(common::records(node.disk.as_ref()), before);
}

/// The same with the file that is the default.
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
#[test]
fn an_anchor_that_cannot_be_read_is_not_raised_either() {
    let node = Node::new();
    let backup = node.open().unwrap().backup().unwrap();
    let at = node.anchor.at() + 1_000;
    node.anchor.set(at);
    node.anchor.is_unread(true);
    let accepted = Engine::open_on(node.disk.clone(), accepting(&node.anchor)).map(drop).unwrap_err();
    assert!(matches!(accepted, OpenEngineError::Records(RecordError::Anchor(_))), "{accepted:?}");
    let restore = || {
        let passphrase = passphrase(common::PASSPHRASE);
        let store = Arc::new(MemoryStore::default());
        Engine::restore_on(store, &backup, &passphrase, options(&node.anchor)).map(drop)
    };
    let restored = restore().unwrap_err();
    assert_eq!(restored.fault(), Fault::Node, "{restored:?}");
    assert_eq!(node.anchor.at(), at);

    node.anchor.is_unread(false);
    restore().unwrap();
    Engine::open_on(node.disk.clone(), accepting(&node.anchor)).unwrap();
    assert_eq!(node.anchor.at(), at + 2);
}

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
