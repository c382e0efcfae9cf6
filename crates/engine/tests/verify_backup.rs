//! A backup is verified with the passphrase and a copy of the store, on a machine that has neither the hierarchy nor its
//! sealing key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    BackupError, BackupTextError, Engine, KeyAlgorithm, KeyMemory, Problem, RecordName, Report, Store, SvmId, Table,
    Unavailable,
};
use common::stores::UnwritableStore;
use common::whole::Whole;
use common::{LONG_PASSPHRASE, PASSPHRASE, arena, name, passphrase, put, store_key, volume};

fn verify_with(backup: &str, secret: &[u8], keys: Option<&dyn Store>) -> Result<Report, BackupError> {
    Engine::verify_backup(backup, &passphrase(secret), keys, KeyMemory::Shared(arena()), |_| ())
}

/// With a copy that must not be written to, and of which nothing but the keys is of use.
fn verify(backup: &str, store: &Arc<MemoryStore>) -> Report {
    let keys = MemoryStore::default();
    for entry in store.scan(Table::Keys, &[], None, usize::MAX).unwrap() {
        put(&keys, Table::Keys, &entry.key, &entry.value);
    }
    verify_with(backup, PASSPHRASE, Some(&UnwritableStore(Arc::new(keys)))).unwrap()
}

fn list(svm: SvmId) -> RecordName {
    RecordName { table: Table::Keks, key: svm.as_bytes().to_vec() }
}

#[test]
fn a_backup_and_its_copy_are_sound() {
    let whole = Whole::new();
    let backup = whole.open().backup().unwrap();
    let report = verify(&backup, &whole.store);
    assert!(report.is_sound(), "{report:?}");
    // Identity and epoch, four SVMs with their names, the keystore, three lists, four counts.
    assert_eq!((report.keys, report.opened, report.records), (9, 9, 18));
    // Without a copy, the KEKs are checked all the same.
    let report = verify_with(&backup, PASSPHRASE, None).unwrap();
    assert!(report.is_sound() && (report.keys, report.records) == (0, 18), "{report:?}");
}

#[test]
fn a_backup_of_common_criteria_mode_needs_the_passphrase_only() {
    let store = common::common_criteria();
    let engine = common::open(&store);
    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    engine.create_key(svm, volume(1), KeyAlgorithm::XtsAes256).unwrap();
    let backup = engine.backup().unwrap();
    let report = verify_with(&backup, LONG_PASSPHRASE, Some(&*store)).unwrap();
    assert!(report.is_sound() && report.opened == 1, "{report:?}");
    let wrong = verify_with(&backup, PASSPHRASE, Some(&*store));
    assert!(matches!(wrong, Err(BackupError::Text(BackupTextError::WrongPassphrase))), "{wrong:?}");
}

#[test]
fn the_damaged_keys_of_the_copy_are_named() {
    let whole = Whole::new();
    let backup = whole.open().backup().unwrap();
    let (spared, damaged) = {
        let mut keys = whole.store.scan(Table::Keys, &[], None, usize::MAX).unwrap();
        (keys.remove(4), keys)
    };
    // Of the magic, the format, the SVM, the object, both versions, the KEK's name, the nonce, the ciphertext, the tag.
    for at in [0, 4, 8, 24, 43, 47, 48, 64, 76, 120] {
        let store = whole.copy();
        for entry in &damaged {
            let mut changed = entry.value.clone();
            changed[at] ^= 0x40;
            put(&*store, Table::Keys, &entry.key, &changed);
        }
        let report = verify(&backup, &store);
        let found = report.findings.iter().map(|finding| (finding.record.key.as_slice(), finding.problem));
        let expected = damaged.iter().map(|entry| (entry.key.as_slice(), Problem::Damaged));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "at {at}: {report:?}");
        assert_eq!((report.keys, report.opened, report.unchecked), (9, 1, vec![]), "beside {:?}", spared.key);
    }
}

#[test]
fn a_backup_that_is_older_than_its_copy_is_told_what_it_lacks() {
    let whole = Whole::new();
    let engine = whole.open();
    let backup = engine.backup().unwrap();
    let [a, b, _] = whole.svms;
    engine.rekey_internal(b).unwrap().wait().unwrap();
    let late = engine.create_svm(&name("late")).unwrap().id();
    engine.create_key(late, volume(1), KeyAlgorithm::XtsAes256).unwrap();

    let report = verify(&backup, &whole.store);
    let of_b: Vec<_> = whole.keys.keys().filter(|(svm, _)| *svm == b).map(|(svm, key)| store_key(*svm, *key)).collect();
    let missing = report.findings.iter().filter(|finding| finding.problem == Problem::MissingKek);
    assert_eq!(missing.map(|finding| finding.record.key.clone()).collect::<Vec<_>>(), of_b);
    // Of an SVM that the backup does not know, everything is missing that its keys need.
    let svm_record = RecordName { table: Table::Svms, key: [&[0], late.as_bytes().as_slice()].concat() };
    let lacking = report.findings.iter().filter(|finding| finding.problem == Problem::Missing);
    assert_eq!(lacking.map(|finding| &finding.record).collect::<Vec<_>>(), [&svm_record, &list(late)]);
    let [unchecked] = report.unchecked.try_into().unwrap();
    assert_eq!((unchecked.svm, unchecked.keys, unchecked.why), (late, 1, Unavailable::Missing));
    assert_eq!((report.keys, report.opened, report.findings.len()), (10, 6, 5));
    assert!(engine.kek(a).unwrap().is_some());
}

#[test]
fn keys_of_another_hierarchy_do_not_pass() {
    let whole = Whole::new();
    let backup = whole.open().backup().unwrap();
    let other = Whole::new();
    let report = verify(&backup, &other.store);
    let unknown: Vec<_> = report.unchecked.iter().map(|unchecked| (unchecked.keys, unchecked.why)).collect();
    assert_eq!(unknown, [(3, Unavailable::Missing); 3]);
    assert_eq!((report.keys, report.opened, report.findings.len()), (9, 0, 6));
}

#[test]
fn a_backup_with_a_kek_that_was_not_put_away_rightly_is_told_before_it_is_needed() {
    let whole = Whole::new();
    let a = whole.svms[0];
    let engine = whole.open();
    let other = common::forge::read(&*whole.store, Table::Keks, whole.svms[1].as_bytes());
    common::forge::change(&*whole.store, Table::Keks, a.as_bytes(), |list| {
        list["current"]["kept"] = other["current"]["kept"].clone();
    });
    let report = verify(&engine.backup().unwrap(), &whole.store);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.record.clone(), finding.problem)).collect();
    assert_eq!((found, report.opened), (vec![(list(a), Problem::OtherKek)], 6));
    assert_eq!(report.unchecked.iter().map(|unchecked| (unchecked.svm, unchecked.keys)).collect::<Vec<_>>(), [(a, 3)]);
}
