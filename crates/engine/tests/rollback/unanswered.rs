//! Anchors that do not answer, and epochs that are lost.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::{self, name, passphrase, versions, volume};
use claviger::store::{Batch, MemoryStore};
use claviger::{
    Blame, Engine, Fault, KeyError, NewKey, OpenEngineError, RecordError, Standing, Store, SvmError, SvmId, Table,
};

use crate::node::*;

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
