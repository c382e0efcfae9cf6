//! One byte of one record changes, for each record of a small hierarchy: the engine opens, everything that does not need
//! the record goes on, and `verify` names it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::store::faults::Crash;
use claviger::{
    Advice, BackupError, Blame, Engine, Fault, JobError, KeyAlgorithm, KeyError, KeystoreError, ObjectRef, Problem,
    RecordError, RecordName, Store, SvmError, SvmId, Table,
};
use common::{Bytes, copy_of, name, put, records, store_key, verify_clean, versions, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

struct Whole {
    store: Arc<MemoryStore>,
    svms: [SvmId; 2],
    keys: BTreeMap<(SvmId, ObjectRef), Vec<(u32, Bytes)>>,
}

/// Two SVMs with two keys each, of which one is in rotation, and a job that has ended.
fn whole() -> Whole {
    let store = common::unattended();
    let engine = common::open(&store);
    let mut keys = BTreeMap::new();
    let svms = ["a", "b"].map(|text| engine.create_svm(&name(text)).unwrap().id());
    for svm in svms {
        engine.create_key(svm, volume(1), XTS).unwrap();
        engine.create_key(svm, ObjectRef::Drive(volume(2).uuid()), KeyAlgorithm::Aes256).unwrap();
        engine.begin_rotation(svm, volume(1)).unwrap();
        engine.open_all(svm, |object, key| drop(keys.insert((svm, object), versions(&key.unwrap())))).unwrap();
    }
    engine.rekey_internal(svms[0]).unwrap().wait().unwrap();
    verify_clean(&engine);
    Whole { store, svms, keys }
}

/// What the damage of one record takes with it.
#[derive(Default)]
struct Loss {
    /// Keys that do not open, and with which error.
    keys: BTreeSet<(SvmId, ObjectRef)>,
    error: Option<fn(&KeyError) -> bool>,
    /// Records that are named besides the damaged one, as what they need is not in memory.
    closed: BTreeSet<RecordName>,
}

impl Whole {
    fn loss(&self, table: Table, key: &[u8]) -> Loss {
        let of = |svms: &[SvmId]| -> BTreeSet<_> {
            self.keys.keys().filter(|(svm, _)| svms.contains(svm)).copied().collect()
        };
        let named = |keys: &BTreeSet<(SvmId, ObjectRef)>| {
            keys.iter().map(|&(svm, object)| RecordName { table: Table::Keys, key: store_key(svm, object) }).collect()
        };
        match (table, key.len()) {
            // Identity, names, ended jobs and counts of seals: no key needs them to open.
            (Table::Node | Table::Svms | Table::Jobs, _) | (Table::Keks, 20) => Loss::default(),
            // No KEK can be fetched.
            (Table::Keystores, _) => {
                let keys = of(&self.svms);
                let mut closed: BTreeSet<RecordName> = named(&keys);
                closed.extend(self.svms.map(|svm| RecordName { table: Table::Keks, key: svm.as_bytes().to_vec() }));
                Loss { keys, error: Some(|error| matches!(error, KeyError::KekDamaged { .. })), closed }
            }
            // The KEKs of this SVM are not known.
            (Table::Keks, 16) => {
                let keys = of(&[SvmId::from_bytes(key.try_into().unwrap())]);
                let closed = named(&keys);
                Loss { keys, error: Some(|error| matches!(error, KeyError::KekDamaged { .. })), closed }
            }
            (Table::Keys, _) => Loss {
                keys: self.keys.keys().filter(|&&(svm, object)| store_key(svm, object) == key).copied().collect(),
                error: Some(|error| {
                    matches!(error, KeyError::Damaged { .. } | KeyError::Layout { .. } | KeyError::NoSuchKek { .. })
                }),
                closed: BTreeSet::new(),
            },
            other => panic!("{other:?}"),
        }
    }

    fn damaged(&self, table: Table, key: &[u8], value: &[u8]) -> (Arc<MemoryStore>, Engine) {
        let store = Arc::new(copy_of(&*self.store));
        put(&*store, table, key, value);
        let engine = Engine::open_on(store.clone(), common::options()).unwrap_or_else(|error| {
            panic!("{table}/{key:02x?} keeps the hierarchy from opening: {error}");
        });
        (store, engine)
    }
}

#[test]
fn one_changed_byte_costs_what_needs_the_record_and_no_more() {
    let whole = whole();
    let all = records(&*whole.store);
    for (table, key, value) in &all {
        // The first byte of the magic, of the sealing key's or KEK's name, of the nonce, of the ciphertext, and the last.
        for at in [0, 4, 8, 24, 40, value.len() - 20, value.len() - 1] {
            let mut changed = value.clone();
            changed[at] ^= 0x10;
            let (_, engine) = whole.damaged(*table, key, &changed);
            let loss = whole.loss(*table, key);
            let what = format!("{table}/{} at {at}", hex(key));
            for (&(svm, object), expected) in &whole.keys {
                match engine.open_key(svm, object) {
                    Ok(opened) => {
                        assert!(!loss.keys.contains(&(svm, object)), "{what}");
                        assert_eq!(versions(&opened), *expected, "{what}");
                    }
                    Err(error) => {
                        assert!(loss.keys.contains(&(svm, object)) && loss.error.unwrap()(&error), "{what}: {error:?}");
                        assert_eq!(error.blame(), (Fault::Data, Advice::Repair), "{what}");
                    }
                }
            }
            let findings = engine.verify(|_| ()).unwrap().findings;
            let damaged = RecordName { table: *table, key: key.clone() };
            let (exact, others): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.record == damaged);
            assert_eq!(exact.len(), 1, "{what}: {exact:?}");
            assert!(!matches!(exact[0].problem, Problem::ClosedKek | Problem::Inconsistent), "{what}: {exact:?}");
            assert!(others.iter().all(|finding| finding.problem == Problem::ClosedKek), "{what}: {others:?}");
            let others: BTreeSet<_> = others.into_iter().map(|finding| finding.record).collect();
            assert_eq!(others, loss.closed, "{what}");
        }
    }
    println!("{} records", all.len());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The record of this table whose key has this length, with its last byte changed.
fn broken(whole: &Whole, table: Table, key: &[u8]) -> (Arc<MemoryStore>, Engine) {
    let mut value = whole.store.get(table, key).unwrap().unwrap();
    *value.last_mut().unwrap() ^= 1;
    whole.damaged(table, key, &value)
}

#[test]
fn what_the_engine_refuses_over_a_damaged_record() {
    let whole = whole();
    let [a, b] = whole.svms;

    let (_, engine) = broken(&whole, Table::Node, b"hierarchy");
    assert_eq!(engine.identity(), None);
    assert!(matches!(engine.backup(), Err(BackupError::NoIdentity)));

    let svm_key = [&[0], a.as_bytes().as_slice()].concat();
    let (_, engine) = broken(&whole, Table::Svms, &svm_key);
    assert_eq!((engine.svm(a).unwrap().name(), engine.svm(a).unwrap().created()), (None, None));
    assert!(matches!(engine.delete_svm(a), Err(SvmError::Records(RecordError::Sealed { .. }))));
    assert!(matches!(engine.rename_svm(a, &name("c")), Err(SvmError::Records(RecordError::Sealed { .. }))));
    assert!(matches!(engine.create_svm(&name("a")), Err(SvmError::NameTaken { .. })));
    assert!(matches!(engine.backup(), Err(BackupError::Records(RecordError::Sealed { .. }))));
    engine.create_key(a, volume(9), XTS).unwrap();
    engine.rekey_internal(a).unwrap().wait().unwrap();

    let keystore = engine.keystore().unwrap().id;
    let (_, engine) = broken(&whole, Table::Keystores, keystore.as_bytes());
    assert_eq!(engine.keystore(), None);
    let passphrase = common::passphrase(common::PASSPHRASE);
    assert!(matches!(engine.unlock(&passphrase), Err(KeystoreError::DamagedRecord)));
    // Another keystore in its place would make the KEKs unreachable for good.
    let mode = claviger::OnboardMode::Unattended;
    assert!(matches!(engine.create_onboard(mode, &passphrase), Err(KeystoreError::Exists)));
    let new = engine.create_svm(&name("c")).unwrap().id();
    let error = engine.create_key(new, volume(1), XTS).unwrap_err();
    assert_eq!(error.blame(), (Fault::Data, Advice::Repair), "{error:?}");

    let (_, engine) = broken(&whole, Table::Keks, a.as_bytes());
    assert!(matches!(engine.kek(a), Err(KeyError::KekDamaged { .. })));
    assert!(matches!(engine.create_key(a, volume(9), XTS), Err(KeyError::KekDamaged { .. })));
    assert!(matches!(engine.delete_svm(a), Err(SvmError::Records(RecordError::Sealed { .. }))));
    engine.create_key(b, volume(9), XTS).unwrap();

    let (_, engine) = broken(&whole, Table::Keks, &common::seal_key(a, 2));
    engine.create_key(a, volume(9), XTS).unwrap();
    verify_clean(&engine);

    let job = engine.jobs().unwrap()[0].id;
    let (_, engine) = broken(&whole, Table::Jobs, job.as_bytes());
    assert!(engine.jobs().unwrap().is_empty());
    assert!(matches!(engine.job(job), Err(JobError::Records(RecordError::Sealed { .. }))));
}

#[test]
fn a_damaged_key_stops_a_rekey_which_goes_on_after_the_repair() {
    let whole = whole();
    let a = whole.svms[0];
    let key = store_key(a, volume(1));
    let good = whole.store.get(Table::Keys, &key).unwrap().unwrap();
    let (store, engine) = broken(&whole, Table::Keys, &key);
    let job = engine.rekey_internal(a).unwrap();
    match job.wait() {
        Err(JobError::Failed { message, .. }) => assert!(message.contains(&volume(1).to_string()), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(common::kek_versions(&engine, a), Some((3, Some(2))));
    let id = engine.kek(a).unwrap().unwrap().id;
    engine.open_key(a, ObjectRef::Drive(volume(2).uuid())).unwrap();
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
    let whole = whole();
    let a = whole.svms[0];
    // Dies when the rekey has been asked for, and before its first step.
    let store = common::dying(&whole.store, Crash::Before, 1);
    let engine = common::open(&store);
    let job = engine.rekey_internal(a).unwrap();
    assert!(matches!(job.wait(), Err(JobError::Interrupted { .. })));
    drop(engine);
    common::delete(&*whole.store, Table::Jobs, job.id().as_bytes());
    let engine = common::open(&whole.store);
    assert!(matches!(engine.delete_svm(a), Err(SvmError::Busy { .. })));
    engine.rekey_internal(a).unwrap().wait().unwrap();
    assert_eq!(common::kek_versions(&engine, a), Some((3, None)));
    verify_clean(&engine);
}

#[test]
fn a_record_under_another_key_of_its_table_is_refused() {
    let whole = whole();
    let [a, b] = whole.svms;
    let list = whole.store.get(Table::Keks, b.as_bytes()).unwrap().unwrap();
    let (_, engine) = whole.damaged(Table::Keks, a.as_bytes(), &list);
    assert!(matches!(engine.open_key(a, volume(1)), Err(KeyError::KekDamaged { .. })));
    let findings = engine.verify(|_| ()).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.record.key == a.as_bytes() && finding.problem == Problem::Damaged));

    // From another table, the record says so.
    let svm = whole.store.get(Table::Svms, b"\x01a").unwrap().unwrap();
    let (_, engine) = whole.damaged(Table::Keks, a.as_bytes(), &svm);
    let findings = engine.verify(|_| ()).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.record.key == a.as_bytes() && finding.problem == Problem::Misplaced));
}
