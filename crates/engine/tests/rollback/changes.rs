//! What raises the epoch, and what an older copy is refused for.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::stores::HoldingStore;
use crate::common::{self, name, passphrase, volume};
use claviger::store::MemoryStore;
use claviger::{
    Advice, Blame, Engine, Fault, KeyAlgorithm, KeyError, NewKey, OpenEngineError, RecordError, Standing, Store,
    SvmError, SvmId, Table,
};

use crate::node::*;

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
