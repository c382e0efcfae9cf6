//! One byte of one record changes, for each record of a small hierarchy: the engine opens, everything that does not need
//! the record goes on, and `verify` names it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;

use claviger::store::faults::Crash;
use claviger::{
    Advice, BackupError, Blame, Engine, Fault, JobError, JobStatus, KeyAlgorithm, KeyError, KeystoreError, Problem,
    RecordError, RecordName, Report, Store, Subject, SvmError, SvmId, Table, Unavailable,
};
use common::whole::{Whole, drive, idle};
use common::{delete, name, put, store_key, verify_clean, versions, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// Every key opens, but those under the KEKs of `closed` and but the one of `damaged`.
fn others_open(whole: &Whole, engine: &Engine, closed: &[SvmId], damaged: &RecordName, what: &str) {
    for (&(svm, object), expected) in &whole.keys {
        let is_lost = closed.contains(&svm) || damaged.subject() == Subject::Key(svm, object);
        match engine.open_key(svm, object) {
            Ok(opened) => {
                assert!(!is_lost, "{what}: {object}");
                assert_eq!(versions(&opened), *expected, "{what}: {object}");
            }
            Err(error) => {
                assert!(is_lost, "{what}: {object}: {error}");
                assert_eq!(error.blame(), (Fault::Data, Advice::Repair), "{what}: {error:?}");
            }
        }
    }
}

/// The report names this one record, and says of whatever depends on it that it does.
fn names_exactly(report: &Report, record: &RecordName, problem: Problem, closed: &[SvmId], what: &str) {
    let found: Vec<_> = report.findings.iter().map(|finding| (&finding.record, finding.problem)).collect();
    assert_eq!(found, [(record, problem)], "{what}: {report:?}");
    let why = match problem {
        Problem::Missing => Unavailable::Missing,
        _ => Unavailable::Damaged,
    };
    let unchecked: BTreeSet<_> = report.unchecked.iter().map(|unchecked| unchecked.svm).collect();
    assert_eq!(unchecked, closed.iter().copied().collect(), "{what}: {report:?}");
    for unchecked in &report.unchecked {
        assert_eq!((&unchecked.depends_on, unchecked.why, unchecked.keys), (record, why, 3), "{what}");
    }
    let damaged = u64::from(record.table == Table::Keys && problem != Problem::Missing);
    assert_eq!(report.keys, report.opened + damaged + 3 * closed.len() as u64, "{what}");
}

#[test]
fn one_changed_byte_is_named_with_its_record_and_costs_only_what_needs_that() {
    let whole = Whole::with_barbican();
    let mut flips = 0;
    for (table, key, value) in whole.records() {
        let record = RecordName { table, key: key.clone() };
        let closed = whole.svms_that_need(&record);
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1 << (at % 8);
            let (_, engine) = whole.damaged(table, &key, &changed);
            let what = format!("{record} at {at}");
            others_open(&whole, &engine, &closed, &record, &what);
            // Also where the byte is one that names a format, a place, or another key.
            names_exactly(&engine.verify(|_| ()).unwrap(), &record, Problem::Damaged, &closed, &what);
            flips += 1;
        }
    }
    println!("{flips} flips");
}

#[test]
fn a_truncated_or_longer_record_is_named() {
    let whole = Whole::with_barbican();
    for (table, key, value) in whole.records() {
        let record = RecordName { table, key: key.clone() };
        let closed = whole.svms_that_need(&record);
        let mut longer = value.clone();
        longer.push(0);
        for changed in [&value[..value.len() - 1], &value[..30], &value[..0], &longer] {
            let (_, engine) = whole.damaged(table, &key, changed);
            let what = format!("{record} with {} bytes", changed.len());
            others_open(&whole, &engine, &closed, &record, &what);
            names_exactly(&engine.verify(|_| ()).unwrap(), &record, Problem::Damaged, &closed, &what);
        }
    }
}

#[test]
fn with_the_keks_in_memory_nothing_depends_on_a_record_that_is_damaged_below_them() {
    let whole = Whole::with_barbican();
    let store = whole.copy();
    let engine = Engine::open_on(store.clone(), idle()).unwrap();
    for (table, key, value) in whole.records() {
        let record = RecordName { table, key: key.clone() };
        let mut changed = value.clone();
        *changed.last_mut().unwrap() ^= 1;
        put(&*store, table, &key, &changed);
        others_open(&whole, &engine, &[], &record, &record.to_string());
        names_exactly(&engine.verify(|_| ()).unwrap(), &record, Problem::Damaged, &[], &record.to_string());
        put(&*store, table, &key, &value);
    }
    verify_clean(&engine);
}

/// Whether anything else shows that a record must be there: nothing needs a key, or a job that has ended.
fn leaves_a_trace(whole: &Whole, record: &RecordName) -> bool {
    match record.subject() {
        Subject::Key(..) => false,
        Subject::Job(job) => whole.open().job(job).unwrap().status == JobStatus::Interrupted,
        _ => true,
    }
}

#[test]
fn a_missing_record_is_named_where_anything_shows_that_it_must_be_there() {
    let whole = Whole::with_barbican();
    for (table, key, _) in whole.records() {
        let record = RecordName { table, key: key.clone() };
        let closed = whole.svms_that_need(&record);
        let what = format!("without {record} ({})", record.subject());
        // In the store of an engine that runs, and when the hierarchy is opened afterwards.
        for is_open in [true, false] {
            let store = whole.copy();
            let open = || Engine::open_on(store.clone(), idle());
            let running = is_open.then(|| open().unwrap());
            delete(&*store, table, &key);
            let engine = match running {
                Some(running) => running,
                // Without its first record, a hierarchy is opened for reading only: see `verify.rs`.
                None if record.subject() == Subject::Hierarchy => continue,
                None => open().unwrap(),
            };
            let report = engine.verify(|_| ()).unwrap();
            if leaves_a_trace(&whole, &record) {
                let closed = if is_open { &[] } else { closed.as_slice() };
                others_open(&whole, &engine, closed, &record, &what);
                names_exactly(&report, &record, Problem::Missing, closed, &what);
            } else {
                let keys = 9 - u64::from(table == Table::Keys);
                assert!(report.is_sound() && report.keys == keys, "{what}: {report:?}");
            }
        }
    }
}

#[test]
fn two_records_that_changed_places_are_both_named_as_misplaced() {
    let whole = Whole::with_barbican();
    let all = whole.records();
    for (number, (table, key, value)) in all.iter().enumerate() {
        for (other_table, other_key, other_value) in &all[number + 1..] {
            let store = whole.copy();
            put(&*store, *table, key, other_value);
            put(&*store, *other_table, other_key, value);
            let engine = Engine::open_on(store, idle()).unwrap();
            let report = engine.verify(|_| ()).unwrap();
            let names = [(table, key), (other_table, other_key)]
                .map(|(table, key)| (RecordName { table: *table, key: key.clone() }, Problem::Misplaced));
            let found = report.findings.iter().map(|finding| (finding.record.clone(), finding.problem));
            assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(names), "{report:?}");
            for unchecked in &report.unchecked {
                assert!(report.findings.iter().any(|finding| finding.record == unchecked.depends_on), "{report:?}");
            }
        }
    }
}

#[test]
fn what_the_engine_refuses_over_a_damaged_record() {
    let whole = Whole::new();
    let [a, b, _] = whole.svms;

    let (_, engine) = whole.broken(Table::Node, b"hierarchy");
    assert_eq!(engine.identity(), None);
    assert!(matches!(engine.backup(), Err(BackupError::NoIdentity)));

    let svm_key = [&[0], a.as_bytes().as_slice()].concat();
    let (_, engine) = whole.broken(Table::Svms, &svm_key);
    assert_eq!((engine.svm(a).unwrap().name(), engine.svm(a).unwrap().created()), (None, None));
    assert!(matches!(engine.delete_svm(a), Err(SvmError::Records(RecordError::Sealed { .. }))));
    assert!(matches!(engine.rename_svm(a, &name("c")), Err(SvmError::Records(RecordError::Sealed { .. }))));
    assert!(matches!(engine.create_svm(&name("a")), Err(SvmError::NameTaken { .. })));
    assert!(matches!(engine.backup(), Err(BackupError::Records(RecordError::Sealed { .. }))));
    engine.create_key(a, volume(9), XTS).unwrap();
    engine.rekey_internal(a).unwrap().wait().unwrap();

    let keystore = engine.keystore().unwrap().id;
    let (_, engine) = whole.broken(Table::Keystores, keystore.as_bytes());
    assert_eq!(engine.keystore(), None);
    let passphrase = common::passphrase(common::PASSPHRASE);
    assert!(matches!(engine.unlock(&passphrase), Err(KeystoreError::DamagedRecord)));
    // Another keystore in its place would make the KEKs unreachable for good.
    let mode = claviger::OnboardMode::Unattended;
    assert!(matches!(engine.create_onboard(mode, &passphrase), Err(KeystoreError::Exists)));
    let new = engine.create_svm(&name("new")).unwrap().id();
    let error = engine.create_key(new, volume(1), XTS).unwrap_err();
    assert_eq!(error.blame(), (Fault::Data, Advice::Repair), "{error:?}");

    let (_, engine) = whole.broken(Table::Keks, a.as_bytes());
    assert!(matches!(engine.kek(a), Err(KeyError::KekDamaged { .. })));
    assert!(matches!(engine.create_key(a, volume(9), XTS), Err(KeyError::KekDamaged { .. })));
    assert!(matches!(engine.delete_svm(a), Err(SvmError::Records(RecordError::Sealed { .. }))));
    engine.create_key(b, volume(9), XTS).unwrap();

    let (_, engine) = whole.broken(Table::Keks, &common::seal_key(a, 2));
    engine.create_key(a, volume(9), XTS).unwrap();
    verify_clean(&engine);

    let job = engine.jobs().unwrap()[0].id;
    let (_, engine) = whole.broken(Table::Jobs, job.as_bytes());
    assert_eq!(engine.jobs().unwrap().len(), 1);
    assert!(matches!(engine.job(job), Err(JobError::Records(RecordError::Sealed { .. }))));
}

#[test]
fn a_damaged_key_stops_a_rekey_which_goes_on_after_the_repair() {
    let whole = Whole::new();
    let a = whole.svms[0];
    let key = store_key(a, volume(1));
    let good = whole.store.get(Table::Keys, &key).unwrap().unwrap();
    let (store, engine) = whole.broken(Table::Keys, &key);
    let job = engine.rekey_internal(a).unwrap();
    match job.wait() {
        Err(JobError::Failed { message, .. }) => assert!(message.contains(&volume(1).to_string()), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(common::kek_versions(&engine, a), Some((3, Some(2))));
    let id = engine.kek(a).unwrap().unwrap().id;
    engine.open_key(a, drive(3)).unwrap();
    engine.create_key(a, volume(9), XTS).unwrap();
    // It can be asked for as often as one likes.
    assert!(matches!(engine.rekey_internal(a).unwrap().wait(), Err(JobError::Failed { .. })));

    put(&*store, Table::Keys, &key, &good);
    engine.rekey_internal(a).unwrap().wait().unwrap();
    let kek = engine.kek(a).unwrap().unwrap();
    assert_eq!((kek.version.get(), kek.retiring, kek.id), (3, None, id));
    assert_eq!(versions(&engine.open_key(a, volume(1)).unwrap()), whole.keys[&(a, volume(1))]);
    verify_clean(&engine);
}

#[test]
fn a_job_whose_record_is_lost_does_not_keep_the_svm_for_ever() {
    let whole = Whole::new();
    let a = whole.svms[0];
    // Dies when the rekey has been asked for, and before its first step.
    let store = common::dying(&whole.store, Crash::Before, 1);
    let engine = Engine::open_on(store, idle()).unwrap();
    let job = engine.rekey_internal(a).unwrap();
    assert!(matches!(job.wait(), Err(JobError::Interrupted { .. })));
    drop(engine);
    delete(&*whole.store, Table::Jobs, job.id().as_bytes());
    let engine = common::open(&whole.store);
    assert!(matches!(engine.delete_svm(a), Err(SvmError::Busy { .. })));
    engine.rekey_internal(a).unwrap().wait().unwrap();
    assert_eq!(common::kek_versions(&engine, a), Some((3, None)));
    verify_clean(&engine);
}

#[test]
fn a_record_under_another_key_of_its_table_is_refused() {
    let whole = Whole::new();
    let [a, b, _] = whole.svms;
    let list = whole.store.get(Table::Keks, b.as_bytes()).unwrap().unwrap();
    let (_, engine) = whole.damaged(Table::Keks, a.as_bytes(), &list);
    assert!(matches!(engine.open_key(a, volume(1)), Err(KeyError::KekDamaged { .. })));
    let record = RecordName { table: Table::Keks, key: a.as_bytes().to_vec() };
    let report = engine.verify(|_| ()).unwrap();
    names_exactly(&report, &record, Problem::Misplaced, &[a], "another SVM's list");
    let home = RecordName { table: Table::Keks, key: b.as_bytes().to_vec() };
    assert!(report.findings[0].detail.contains(&home.to_string()), "{report:?}");

    // From another table, the record says so.
    let svm = whole.store.get(Table::Svms, b"\x01a").unwrap().unwrap();
    let (_, engine) = whole.damaged(Table::Keks, a.as_bytes(), &svm);
    names_exactly(&engine.verify(|_| ()).unwrap(), &record, Problem::Misplaced, &[a], "a record of another table");
}
