//! What `verify` finds besides damage: records of other releases, KEKs that are others than they should be, blobs without a
//! KEK, jobs that cannot go on, records that contradict each other; and what it only notes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::cell::Cell;
use std::sync::Arc;

use claviger::store::{MemoryStore, open_store};
use claviger::{
    Creation, Engine, KekVersion, KeyAlgorithm, NewKey, Note, OnboardMode, OpenEngineError, Options, Problem,
    RecordName, Report, SealingSource, Store, SvmId, Table, Unavailable,
};
use common::whole::{Whole, drive, idle};
use common::{delete, forge, put, seal_key, store_key, volume};
use serde_json::json;
use uuid::Uuid;

fn record(table: Table, key: &[u8]) -> RecordName {
    RecordName { table, key: key.to_vec() }
}

fn list(svm: SvmId) -> RecordName {
    record(Table::Keks, svm.as_bytes())
}

fn verify(store: &Arc<MemoryStore>) -> Report {
    let report = Engine::open_on(store.clone(), idle()).unwrap().verify(|_| ()).unwrap();
    let unchecked: u64 = report.unchecked.iter().map(|unchecked| unchecked.keys).sum();
    let damaged = report.findings.iter().filter(|finding| finding.record.table == Table::Keys).count() as u64;
    assert_eq!(report.keys, report.opened + damaged + report.further_findings + unchecked, "{report:?}");
    report
}

/// What is wrong with which records, in their order.
fn found(report: &Report) -> Vec<(RecordName, Problem)> {
    report.findings.iter().map(|finding| (finding.record.clone(), finding.problem)).collect()
}

#[test]
fn records_of_a_later_release_are_told_from_damage() {
    let whole = Whole::with_barbican();
    for (table, key, value) in whole.records() {
        let name = record(table, &key);
        let mut later = Vec::new();
        if table == Table::Keys {
            // Format, suite, key type, algorithm; and what follows is not what this release would have written.
            later.extend([4, 5, 6, 7].map(|at| (at, whole.copy())));
        } else {
            let store = whole.copy();
            forge::change(&*store, table, &key, |body| body["version"] = json!(2));
            assert_eq!(found(&verify(&store)), [(name.clone(), Problem::UnknownFormat)], "{name}");
            forge::change(&*store, table, &key, |body| {
                body["version"] = json!(1);
                body["later"] = json!(true);
            });
            assert_eq!(found(&verify(&store)), [(name.clone(), Problem::UnknownFormat)], "{name}");
            // Format, suite, and the byte that is zero.
            later.extend([4, 5, 7].map(|at| (at, whole.copy())));
        }
        for (at, store) in later {
            let mut changed = value.clone();
            changed[at] = 9;
            *changed.last_mut().unwrap() ^= 1;
            put(&*store, table, &key, &changed);
            assert_eq!(found(&verify(&store)), [(name.clone(), Problem::UnknownFormat)], "{name} at {at}");
        }
    }
}

#[test]
fn a_record_of_an_unknown_kind_is_told_wherever_it_lies() {
    let whole = Whole::new();
    let svm = whole.svms[0].as_bytes();
    let unknown: [(Table, Vec<u8>); 8] = [
        (Table::Node, b"licences".to_vec()),
        (Table::Svms, b"\x02later".to_vec()),
        (Table::Svms, b"\x01not a name".to_vec()),
        (Table::Keks, [svm.as_slice(), b"-more"].concat()),
        (Table::Jobs, b"job".to_vec()),
        (Table::Certificates, b"server".to_vec()),
        (Table::Volumes, b"\x02later".to_vec()),
        (Table::Keys, [svm.as_slice(), &[9], svm.as_slice()].concat()),
    ];
    for (table, key) in unknown {
        let store = whole.copy();
        let before = verify(&store);
        put(&*store, table, &key, b"of a later release");
        let report = verify(&store);
        assert_eq!(found(&report), [(record(table, &key), Problem::UnknownFormat)]);
        assert_eq!(report.opened, before.opened);
        assert_eq!(report.keys + report.records, before.keys + before.records + 1);
    }
}

#[test]
fn a_record_of_another_sealing_key_is_under_another_key_and_not_damaged() {
    let whole = Whole::new();
    let store = whole.copy();
    let other = common::sealing_key(1);
    // One record of a store that has another sealing key, in the place of ours.
    let (table, key, raw) = whole.records().into_iter().find(|(table, ..)| *table == Table::Jobs).unwrap();
    let place = claviger_wrap::RecordPlace { table: table.number(), key: &key };
    let sealing = claviger_wrap::SealingKey::new(&common::arena(), other).unwrap();
    let sealed = sealing.seal(place, b"{}", &mut claviger_wrap::SystemRandom).unwrap();
    assert_ne!(sealed, raw);
    put(&*store, table, &key, &sealed);
    assert_eq!(found(&verify(&store)), [(record(table, &key), Problem::OtherKey)]);
}

#[test]
fn a_kek_that_its_keeper_gives_back_for_another_or_not_at_all_is_found() {
    let whole = Whole::new();
    let [a, b, c] = whole.svms;
    let kept_of = |svm: SvmId| forge::read(&*whole.store, Table::Keks, svm.as_bytes())["current"]["kept"].clone();
    let damaged_kept = |kept: &serde_json::Value| {
        let bytes = kept[0]["bytes"].as_str().unwrap();
        let first = if bytes.starts_with('0') { "1" } else { "0" };
        let mut damaged = kept.clone();
        damaged[0]["bytes"] = json!(format!("{first}{}", &bytes[1..]));
        damaged
    };
    for (svm, version, other, problem) in [
        (a, "current", kept_of(b), Problem::OtherKek),
        (a, "current", damaged_kept(&kept_of(a)), Problem::Damaged),
        (c, "retiring", kept_of(c), Problem::OtherKek),
    ] {
        let store = whole.copy();
        let running = Engine::open_on(store.clone(), idle()).unwrap();
        forge::change(&*store, Table::Keks, svm.as_bytes(), |list| list[version]["kept"] = other);
        let report = verify(&store);
        assert_eq!(found(&report), [(list(svm), problem)]);
        let unchecked: Vec<_> = report.unchecked.iter().map(|u| (u.svm, u.keys, u.depends_on.clone(), u.why)).collect();
        assert_eq!(unchecked, [(svm, 3, list(svm), Unavailable::Damaged)]);
        // While the right one is in memory, this is told before a restart needs it.
        let report = running.verify(|_| ()).unwrap();
        assert_eq!((found(&report), report.opened), (vec![(list(svm), problem)], 9));
        assert_eq!(report.unchecked, []);
    }
}

#[test]
fn a_keystore_that_does_not_open_unattended_is_damaged_and_not_locked() {
    let whole = Whole::new();
    let store = whole.copy();
    let keystore = whole.open().keystore().unwrap().id;
    forge::change(&*store, Table::Keystores, keystore.as_bytes(), |body| {
        body["onboard"]["ckek_unattended"] = body["onboard"]["ckek_by_passphrase"].clone();
    });
    let report = verify(&store);
    let name = record(Table::Keystores, keystore.as_bytes());
    assert_eq!(found(&report), [(name.clone(), Problem::Damaged)]);
    assert_eq!(report.unchecked.len(), 3);
    for unchecked in report.unchecked {
        assert_eq!((unchecked.keys, unchecked.depends_on, unchecked.why), (3, name.clone(), Unavailable::Damaged));
    }
    // The passphrase still opens it; the record is damaged all the same.
    let engine = Engine::open_on(store, idle()).unwrap();
    engine.unlock(&common::passphrase(common::PASSPHRASE)).unwrap();
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!((found(&report), report.opened, report.unchecked), (vec![(name, Problem::Damaged)], 9, vec![]));
}

#[test]
fn two_keystores_contradict_each_other() {
    let whole = Whole::new();
    let store = whole.copy();
    let keystore = whole.open().keystore().unwrap().id;
    let second = Uuid::from_u128(7);
    let mut body = forge::read(&*store, Table::Keystores, keystore.as_bytes());
    body["keystore"] = json!(second);
    forge::write(&*store, Table::Keystores, second.as_bytes(), &body);
    let report = verify(&store);
    let [second, first] = [second, keystore].map(|keystore| record(Table::Keystores, keystore.as_bytes()));
    // The second one's CKEK is not put away under its own name.
    let mut expected = vec![
        (second.clone(), Problem::Damaged),
        (second.clone(), Problem::Inconsistent),
        (first.clone(), Problem::Inconsistent),
    ];
    expected.sort();
    assert_eq!((found(&report), report.unchecked.len()), (expected, 3));

    // A record that may be of a later release is in nobody's way.
    let store = whole.copy();
    put(&*store, Table::Keystores, b"later", b"");
    let report = verify(&store);
    assert_eq!(found(&report), [(record(Table::Keystores, b"later"), Problem::UnknownFormat)]);
    assert_eq!((report.unchecked, report.opened), (vec![], 9));
}

#[test]
fn blobs_under_a_kek_that_there_is_not_are_named() {
    let whole = Whole::new();
    let a = whole.svms[0];
    // The list of the SVM's KEKs and the count of seals come back from a copy that was made before the rekey.
    let before = common::unattended();
    let old = {
        let engine = Engine::open_on(before.clone(), idle()).unwrap();
        let svm = engine.create_svm(&common::name("a")).unwrap().id();
        engine.create_key(svm, volume(1), KeyAlgorithm::Aes256).unwrap();
        forge::read(&*before, Table::Keks, svm.as_bytes())
    };
    let store = whole.copy();
    forge::change(&*store, Table::Keks, a.as_bytes(), |list| {
        list["current"] = old["current"].clone();
    });
    // As the old list names a keystore of the same hierarchy, its KEK opens, and has none of these blobs.
    let report = verify(&store);
    let keys: Vec<_> = [volume(1), volume(2), drive(3)].map(|object| record(Table::Keys, &store_key(a, object))).into();
    let missing: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.problem == Problem::MissingKek)
        .map(|finding| finding.record.clone())
        .collect();
    assert_eq!(missing, keys, "{report:?}");
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.record.table != Table::Keys || finding.detail.contains("version 2"))
    );
    assert_eq!((report.opened, report.keys), (6, 9));
    // The two counts of seals are of another time than the list.
    let others: Vec<_> = found(&report).into_iter().filter(|(record, _)| record.table != Table::Keys).collect();
    let seals = |version| record(Table::Keks, &seal_key(a, version));
    assert_eq!(others, [(seals(1), Problem::Missing), (seals(2), Problem::Inconsistent)]);
}

#[test]
fn a_job_that_cannot_go_on_is_named_with_the_reason() {
    let whole = Whole::new();
    let [a, b, c] = whole.svms;
    let engine = whole.open();
    let [ended, interrupted] = engine.jobs().unwrap().try_into().unwrap();
    let (ended, interrupted) = (ended.id, interrupted.id);
    drop(engine);
    let job = |job: Uuid| record(Table::Jobs, job.as_bytes());
    let nobody = Uuid::from_u128(1);
    let check = |change: &dyn Fn(&MemoryStore), expected: &[(RecordName, Problem)], word: &str| {
        let store = whole.copy();
        change(&store);
        let report = verify(&store);
        assert_eq!(found(&report), expected, "{word}");
        assert!(report.findings[0].detail.contains(word), "{}", report.findings[0]);
        assert_eq!((report.opened, &report.unchecked), (9, &Vec::new()));
    };
    let step = |step: serde_json::Value| {
        move |store: &MemoryStore| {
            let change = |body: &mut serde_json::Value| body["task"]["rekey_internal"]["step"] = step.clone();
            forge::change(store, Table::Jobs, interrupted.as_bytes(), change);
        }
    };
    let stuck = [(job(interrupted), Problem::CannotResume)];
    check(&step(json!("make")), &stuck, "new KEK");
    check(&step(json!({"discard": {"kept": []}})), &stuck, "still live");
    let of_svm = |svm: Uuid| {
        move |store: &MemoryStore| {
            let change = |body: &mut serde_json::Value| body["task"]["rekey_internal"]["svm"] = json!(svm);
            forge::change(store, Table::Jobs, interrupted.as_bytes(), change);
        }
    };
    check(&of_svm(nobody), &stuck, "does not exist");
    check(&of_svm(b.uuid()), &stuck, "not held by it");

    let operation = |svm: SvmId, operation: serde_json::Value| {
        move |store: &MemoryStore| {
            forge::change(store, Table::Keks, svm.as_bytes(), |list| list["operation"] = operation.clone());
        }
    };
    check(&operation(c, json!(null)), &stuck, "not held by it");
    check(&operation(a, json!({"rekey": {"job": ended}})), &[(list(a), Problem::Inconsistent)], "has ended");
    check(&operation(b, json!({"rekey": {"job": nobody}})), &[(job(nobody), Problem::Missing)], "held by this rekey");

    // The list has no KEK to retire any more.
    let store = whole.copy();
    forge::change(&*store, Table::Keks, c.as_bytes(), |list| list["retiring"] = json!(null));
    let report = verify(&store);
    assert!(found(&report).contains(&stuck[0]), "{report:?}");
    assert!(found(&report).iter().any(|(_, problem)| *problem == Problem::MissingKek), "{report:?}");
}

#[test]
fn a_job_that_only_waits_is_no_finding() {
    let whole = Whole::new();
    let report = verify(&whole.store);
    assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
    // Nor one that has ended, of an SVM that is no more.
    let engine = common::open(&whole.store);
    for (svm, object) in whole.keys.keys() {
        engine.delete_key(*svm, *object).unwrap();
    }
    engine.delete_svm(whole.svms[0]).unwrap();
    assert!(verify(&whole.store).is_sound());
}

#[test]
fn names_and_seals_that_contradict_the_records_beside_them() {
    let whole = Whole::new();
    let [a, b, _] = whole.svms;
    let [own, name] = [record(Table::Svms, &[&[0], a.as_bytes().as_slice()].concat()), record(Table::Svms, b"\x01a")];
    let store = whole.copy();
    forge::change(&*store, Table::Svms, &name.key, |body| body["svm"] = json!(b.uuid()));
    assert_eq!(found(&verify(&store)), [(own, Problem::Inconsistent), (name, Problem::Inconsistent)]);

    let store = whole.copy();
    let mut seals = forge::read(&*store, Table::Keks, &seal_key(b, 1));
    seals["kek_version"] = json!(9);
    forge::write(&*store, Table::Keks, &seal_key(b, 9), &seals);
    assert_eq!(found(&verify(&store)), [(record(Table::Keks, &seal_key(b, 9)), Problem::Inconsistent)]);

    // What a record says of its own place must be its place.
    let store = whole.copy();
    forge::change(&*store, Table::Keks, &seal_key(b, 1), |body| body["kek_version"] = json!(2));
    assert_eq!(found(&verify(&store)), [(record(Table::Keks, &seal_key(b, 1)), Problem::Inconsistent)]);
}

#[test]
fn keys_of_an_svm_of_which_nothing_else_is_left_depend_on_what_is_missing() {
    let whole = Whole::new();
    let b = whole.svms[1];
    let store = whole.copy();
    let own = [&[0], b.as_bytes().as_slice()].concat();
    for (table, key) in
        [(Table::Svms, own.clone()), (Table::Svms, b"\x01b".to_vec()), (Table::Keks, b.as_bytes().to_vec())]
    {
        delete(&*store, table, &key);
    }
    delete(&*store, Table::Keks, &seal_key(b, 1));
    let report = verify(&store);
    let expected = [(record(Table::Svms, &own), Problem::Missing), (list(b), Problem::Missing)];
    assert_eq!((found(&report), report.opened), (expected.into(), 6));
    let [unchecked] = report.unchecked.try_into().unwrap();
    assert_eq!((unchecked.svm, unchecked.keys, unchecked.depends_on), (b, 3, list(b)));
    assert_eq!(unchecked.why, Unavailable::Missing);
}

#[test]
fn keks_without_keys_and_rekeys_that_stopped_half_way_are_noted() {
    let whole = Whole::new();
    let [_, b, c] = whole.svms;
    let engine = whole.open();
    for (svm, object) in whole.keys.keys().filter(|(svm, _)| *svm == b) {
        engine.delete_key(*svm, *object).unwrap();
    }
    engine.cancel_job(engine.jobs().unwrap()[1].id).unwrap();
    drop(engine);
    let report = verify(&whole.store);
    assert!(report.is_sound(), "{report:?}");
    let first = KekVersion::FIRST;
    let bare = Note::KekWithoutKeys { svm: b, version: first };
    // Of three records, the second one was not rewrapped.
    let half = Note::RekeyUnfinished { svm: c, from: first, to: first.next().unwrap(), left: 1 };
    assert_eq!(report.notes.len(), 2);
    assert!(report.notes.contains(&bare) && report.notes.contains(&half), "{:?}", report.notes);
}

#[test]
fn what_only_an_opening_would_complete_is_told_of_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { sealing: SealingSource::Provided(common::sealing_key(0x5e)), ..common::dir_options() };
    let engine = Engine::create(dir.path(), &common::name("cluster1"), options()).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &common::passphrase(common::PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&common::name("vs0")).unwrap().id();
    engine.create_key(svm, volume(1), KeyAlgorithm::Aes256).unwrap();
    engine.delete_key(svm, volume(1)).unwrap();
    drop(engine);
    let verify = || Engine::open_copy(dir.path(), options()).unwrap().verify(|_| ()).unwrap();
    let change = |change: &dyn Fn(&dyn Store)| {
        change(&*open_store(&dir.path().join("store"), &options().store_options).unwrap());
    };

    // A deletion that was announced, and cut short.
    change(&|store| forge::change(store, Table::Keks, svm.as_bytes(), |list| list["operation"] = json!("delete")));
    let report = verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.notes, [Note::DeletionUnfinished { svm }]);

    // An older copy, which is not opened for work either.
    let epoch = record(Table::Node, b"epoch");
    let newest = Cell::new(0);
    let set_epoch = |to: u64| {
        let set = |body: &mut serde_json::Value| {
            newest.set(std::mem::replace(&mut body["epoch"], json!(to)).as_u64().unwrap());
        };
        change(&|store| forge::change(store, Table::Node, &epoch.key, set));
    };
    set_epoch(1);
    assert!(matches!(Engine::open(dir.path(), options()), Err(OpenEngineError::RolledBack { .. })));
    assert_eq!(found(&verify()), [(epoch.clone(), Problem::RolledBack)]);
    set_epoch(newest.get());

    // Without its anchor, nobody knows how old it is.
    std::fs::rename(dir.path().join("anchor"), dir.path().join("away")).unwrap();
    let report = verify();
    assert!(report.is_sound() && matches!(report.notes[0], Note::AgeUnknown { .. }), "{report:?}");
    std::fs::rename(dir.path().join("away"), dir.path().join("anchor")).unwrap();
    assert_eq!(verify().notes, [Note::DeletionUnfinished { svm }]);

    // The first record: without it, nothing but a copy for reading is opened.
    change(&|store| delete(store, Table::Node, b"hierarchy"));
    assert!(matches!(Engine::open(dir.path(), options()), Err(OpenEngineError::Unfinished { .. })));
    assert_eq!(found(&verify()), [(record(Table::Node, b"hierarchy"), Problem::Missing)]);
}

#[test]
fn more_findings_than_anybody_reads_are_counted() {
    let store = common::unattended();
    let engine = Engine::open_on(store.clone(), idle()).unwrap();
    let svm = engine.create_svm(&common::name("vs0")).unwrap().id();
    let all = Report::MAX_FINDINGS as u128 + 50;
    let new: Vec<_> =
        (0..all).map(|number| NewKey { object: volume(number), algorithm: KeyAlgorithm::Aes256 }).collect();
    assert!(engine.create_keys(svm, &new).unwrap().iter().all(|made| *made == Creation::Created));
    for entry in store.scan(Table::Keys, &[], None, usize::MAX).unwrap().iter().skip(1) {
        let mut value = entry.value.clone();
        *value.last_mut().unwrap() ^= 1;
        put(&*store, Table::Keys, &entry.key, &value);
    }
    let report = verify(&store);
    assert_eq!((report.findings.len(), report.further_findings, report.opened), (Report::MAX_FINDINGS, 49, 1));
}
