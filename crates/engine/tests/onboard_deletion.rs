//! The deletion of the onboard keystore: what stands against it, and keys and KEKs that come at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use claviger::store::MemoryStore;
use claviger::store::faults::Crash;
use claviger::{
    Blame, Cause, DeleteOnboardError, Engine, Fact, FactName, Facts, Fault, JobError, KeyAlgorithm, KeyError,
    KeystoreState, NewVolume, ObjectRef, OnboardMode, Options, Refusal, SvmId, Table,
};
use common::stores::{Held, HoldingStore, Write};
use common::vault::{create_enabled, options_with, vault};
use common::{Bytes, PASSPHRASE, bytes, forge, name, passphrase, records, verify_clean, volume};
use uuid::Uuid;

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

type Store = Arc<HoldingStore<MemoryStore>>;

/// An SVM with a KEK and no key, on a store that holds back what a test chooses.
struct Stage {
    disk: Arc<MemoryStore>,
    store: Store,
    engine: Engine,
    svm: SvmId,
    keystore: Uuid,
}

impl Stage {
    fn new() -> Self {
        Self::on(common::unattended())
    }

    fn on(disk: Arc<MemoryStore>) -> Self {
        let store = HoldingStore::over(disk.clone());
        let engine = Engine::open_on(store.clone(), options_with(&vault())).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        let keystore = engine.keystore().unwrap().id;
        Self { disk, store, engine, svm, keystore }
    }

    /// The same, where the SVM has a KEK and no key any more.
    fn with_kek() -> Self {
        let stage = Self::new();
        stage.create(1).unwrap();
        stage.engine.delete_key(stage.svm, volume(1)).unwrap();
        stage
    }

    fn create(&self, number: u128) -> Result<Bytes, KeyError> {
        self.engine.create_key(self.svm, volume(number), XTS).map(|key| bytes(&key))
    }

    /// Holds the first commit that puts the SVM's list of KEKs.
    fn hold_keks(&self) -> Held {
        let svm = self.svm;
        self.store.hold_before(move |write| write.puts(Table::Keks, svm.as_bytes()))
    }

    /// Holds the first commit that changes the keystore's record.
    fn hold_keystore(&self) -> Held {
        let keystore = self.keystore;
        self.store.hold_before(move |write| write.puts(Table::Keystores, keystore.as_bytes()))
    }

    /// Refused, with nothing changed, and the keystore goes on.
    fn refused(&self) -> DeleteOnboardError {
        let before = records(&*self.disk);
        let error = self.engine.delete_onboard().unwrap_err();
        assert!(error.is_refusal(), "{error:?}");
        assert!(records(&*self.disk) == before, "{error:?} changed something");
        error
    }

    /// The keystore serves: it keeps the KEKs of new SVMs.
    fn serves(&self) {
        let new = self.engine.create_svm(&name("new")).unwrap().id();
        self.engine.create_key(new, volume(1), XTS).unwrap();
        self.engine.rekey_internal(new).unwrap().wait().unwrap();
        assert_eq!(self.engine.keystore().unwrap().id, self.keystore);
        verify_clean(&self.engine);
    }

    /// There is no keystore any more, and no KEK that it kept, and another can be made.
    fn is_gone(&self) {
        for engine in [None, Some(common::open(&self.disk))] {
            let engine = engine.as_ref().unwrap_or(&self.engine);
            assert_eq!((engine.keystore(), engine.kek(self.svm).unwrap()), (None, None));
            assert!(matches!(engine.delete_onboard(), Err(DeleteOnboardError::None)));
            verify_clean(engine);
        }
        assert!(matches!(self.create(100), Err(KeyError::NoKeystore)));
        self.engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
        let key = self.create(100).unwrap();
        let engine = common::open(&self.disk);
        assert_eq!(bytes(engine.open_key(self.svm, volume(100)).unwrap().newest()), key);
        assert_ne!(engine.keystore().unwrap().id, self.keystore);
        verify_clean(&engine);
    }
}

#[test]
fn a_keystore_that_keeps_nothing_goes() {
    let stage = Stage::new();
    stage.engine.delete_onboard().unwrap();
    stage.is_gone();
    let stage = Stage::with_kek();
    stage.engine.delete_onboard().unwrap();
    stage.is_gone();
}

#[test]
fn a_keystore_that_is_locked_goes_without_its_passphrase() {
    let disk = common::common_criteria();
    let engine = common::open(&disk);
    assert!(engine.keystore().unwrap().locked);
    engine.delete_onboard().unwrap();
    assert_eq!(common::open(&disk).keystore(), None);
}

#[test]
fn what_stands_against_it_is_told_in_the_order_of_the_rules() {
    let mut facts = Facts::default();
    let stage = Stage::new();
    let refused = |facts: &Facts, stage: &Stage| {
        let options = Options { platform: Arc::new(facts.clone()), ..options_with(&vault()) };
        let engine = Engine::open_on(stage.disk.clone(), options).unwrap();
        let before = records(&*stage.disk);
        let error = engine.delete_onboard().unwrap_err();
        assert!(error.is_refusal() && records(&*stage.disk) == before, "{error:?}");
        match error {
            DeleteOnboardError::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let unknown = |fact| Refusal::Unknown { fact };
    facts.storage.encrypted_core_files = Fact::Unknown;
    assert_eq!(refused(&facts, &stage), unknown(FactName::EncryptedCoreFiles));
    facts.storage.encrypted_core_files = Fact::Known(true);
    assert_eq!(refused(&facts, &stage), Refusal::EncryptedCoreFiles);
    facts.storage.nae_aggregates = Fact::Unknown;
    assert_eq!(refused(&facts, &stage), unknown(FactName::NaeAggregates));
    facts.storage.nae_aggregates = Fact::Known(vec!["aggr1".to_owned()]);
    assert_eq!(refused(&facts, &stage), Refusal::NaeAggregates);
    facts.storage.drives_with_keys = Fact::Unknown;
    assert_eq!(refused(&facts, &stage), unknown(FactName::DrivesWithKeys));
    facts.storage.drives_with_keys = Fact::Known(1);
    assert_eq!(refused(&facts, &stage), Refusal::DrivesWithKeys);
    stage.create(1).unwrap();
    assert_eq!(refused(&facts, &stage), Refusal::EncryptedVolumes { svm: stage.svm });

    // Keys that the engine has count by themselves.
    let ordinary = Facts::default();
    for (object, refusal) in [
        (ObjectRef::Aggregate(Uuid::from_u128(7)), Refusal::NaeAggregates),
        (ObjectRef::Drive(Uuid::from_u128(8)), Refusal::DrivesWithKeys),
        (volume(9), Refusal::EncryptedVolumes { svm: stage.svm }),
    ] {
        drop(stage.engine.delete_key(stage.svm, volume(1)));
        stage.engine.create_key(stage.svm, object, XTS).unwrap();
        assert_eq!(refused(&ordinary, &stage), refusal);
    }
    stage.serves();
}

#[test]
fn keys_under_a_keystore_of_their_own_stand_not_against_it() {
    let stage = Stage::new();
    let own = create_enabled(&stage.engine, stage.svm, "A", 1);
    let key = stage.create(1).unwrap();
    stage.engine.delete_onboard().unwrap();
    assert_eq!(stage.engine.keystore(), None);
    let opened = |engine: &Engine| bytes(engine.open_key(stage.svm, volume(1)).unwrap().newest());
    stage.engine.rekey_internal(stage.svm).unwrap().wait().unwrap();
    stage.create(2).unwrap();
    assert_eq!(opened(&stage.engine), key);
    let engine = Engine::open_on(stage.disk.clone(), options_with(&vault())).unwrap();
    assert_eq!(opened(&engine), key);
    assert_eq!(engine.keystore_status(own).unwrap().state, Some(KeystoreState::Active));
    verify_clean(&engine);
}

#[test]
fn what_nobody_can_read_stands_against_it() {
    let stage = Stage::with_kek();
    let raw = claviger::Store::get(&*stage.disk, Table::Keks, stage.svm.as_bytes()).unwrap().unwrap();
    let mut broken = raw.clone();
    *broken.last_mut().unwrap() ^= 1;
    common::put(&*stage.disk, Table::Keks, stage.svm.as_bytes(), &broken);
    let engine = common::open(&stage.disk);
    let before = records(&*stage.disk);
    let error = engine.delete_onboard().unwrap_err();
    assert!(matches!(error, DeleteOnboardError::Looking(KeyError::KekDamaged { .. })), "{error:?}");
    assert_eq!((error.fault(), Cause::from(&error)), (Fault::Data, Cause::KekDamaged));
    // Keys whose KEKs are lost are keys all the same.
    common::put(&*stage.disk, Table::Keks, stage.svm.as_bytes(), &raw);
    stage.create(2).unwrap();
    common::delete(&*stage.disk, Table::Keks, stage.svm.as_bytes());
    let engine = common::open(&stage.disk);
    assert!(matches!(engine.delete_onboard(), Err(DeleteOnboardError::Looking(KeyError::NoKek { .. }))));
    common::put(&*stage.disk, Table::Keks, stage.svm.as_bytes(), &raw);
    assert!(records(&*stage.disk).len() == before.len() + 1);
}

#[test]
fn a_volume_whose_key_record_is_lost_stands_against_it() {
    let stage = Stage::new();
    let made = stage.engine.create_volume(stage.svm, &NewVolume::encrypted("vol".parse().unwrap())).unwrap();
    let object = ObjectRef::Volume(made.id);
    let key = bytes(stage.engine.open_key(stage.svm, object).unwrap().newest());
    let record = common::store_key(stage.svm, object);
    let raw = claviger::Store::get(&*stage.disk, Table::Keys, &record).unwrap().unwrap();
    common::delete(&*stage.disk, Table::Keys, &record);
    let refused = stage.refused();
    assert!(matches!(refused, DeleteOnboardError::Refused(Refusal::EncryptedVolumes { svm }) if svm == stage.svm));
    // The record comes back from a copy.
    common::put(&*stage.disk, Table::Keys, &record, &raw);
    assert_eq!(bytes(common::open(&stage.disk).open_key(stage.svm, object).unwrap().newest()), key);
    stage.serves();
}

/// The keystore's record is as if its deletion had never been asked for.
fn is_taken_back(stage: &Stage) -> bool {
    let record = forge::read(&*stage.disk, Table::Keystores, stage.keystore.as_bytes());
    record.get("deleting").is_none()
}

#[test]
fn what_cannot_be_read_once_it_is_announced_takes_it_back() {
    let stage = Stage::with_kek();
    let raw = claviger::Store::get(&*stage.disk, Table::Keks, stage.svm.as_bytes()).unwrap().unwrap();
    let announced = stage.hold_keystore();
    thread::scope(|scope| {
        let deleted = scope.spawn(|| stage.engine.delete_onboard());
        announced.reached();
        common::put(&*stage.disk, Table::Keks, stage.svm.as_bytes(), &raw[1..]);
        announced.release();
        let error = deleted.join().unwrap().unwrap_err();
        assert!(matches!(error, DeleteOnboardError::Looking(KeyError::KekDamaged { .. })), "{error:?}");
        assert!(error.is_refusal());
    });
    assert!(is_taken_back(&stage));
    common::put(&*stage.disk, Table::Keks, stage.svm.as_bytes(), &raw);
    stage.serves();
}

#[test]
fn a_deletion_goes_on_only_where_the_facts_allow_it_then() {
    let mut facts = Facts::default();
    facts.storage.nae_aggregates = Fact::Known(vec!["aggr1".to_owned()]);
    // It is begun; and the SVM is announced, and its KEK dropped.
    for written in 0..3 {
        let stage = Stage::with_kek();
        let engine = Engine::open_on(common::dying(&stage.disk, Crash::After, written), common::options()).unwrap();
        engine.delete_onboard().unwrap_err();
        drop(engine);
        assert!(!is_taken_back(&stage), "{written}");
        let options = Options { platform: Arc::new(facts.clone()), ..options_with(&vault()) };
        let engine = Engine::open_on(stage.disk.clone(), options).unwrap();
        assert_eq!(engine.keystore().unwrap().id, stage.keystore);
        assert!(is_taken_back(&stage), "{written}");
        drop(engine);
        let engine = common::open(&stage.disk);
        let key = bytes(&engine.create_key(stage.svm, volume(7), XTS).unwrap());
        assert_eq!(bytes(common::open(&stage.disk).open_key(stage.svm, volume(7)).unwrap().newest()), key);
        verify_clean(&engine);
    }
}

#[test]
fn a_key_that_is_written_while_it_goes_is_not_acknowledged() {
    let stage = Stage::with_kek();
    let key = common::store_key(stage.svm, volume(2));
    let held = stage.store.hold_before(move |write| write.puts(Table::Keys, &key));
    thread::scope(|scope| {
        let created = scope.spawn(|| stage.create(2));
        held.reached();
        stage.engine.delete_onboard().unwrap();
        held.release();
        assert!(matches!(created.join().unwrap(), Err(KeyError::NoKeystore)));
    });
    stage.is_gone();
}

#[test]
fn a_first_kek_that_is_written_while_it_goes_is_not_used() {
    let stage = Stage::new();
    let held = stage.hold_keks();
    thread::scope(|scope| {
        let created = scope.spawn(|| stage.create(1));
        held.reached();
        stage.engine.delete_onboard().unwrap();
        held.release();
        assert!(matches!(created.join().unwrap(), Err(KeyError::NoKeystore)));
    });
    stage.is_gone();
}

/// What is durable counts, whether it is published yet or not.
#[test]
fn a_first_kek_that_is_durable_and_not_yet_used_goes_with_the_keystore() {
    let stage = Stage::new();
    let svm = stage.svm;
    let made = stage.store.hold_after(move |write| write.puts(Table::Keks, svm.as_bytes()));
    thread::scope(|scope| {
        let created = scope.spawn(|| stage.create(1));
        made.reached();
        let looked = stage.store.hold_after(move |write| write.gets(Table::Keks, svm.as_bytes()));
        let announced = stage.hold_keystore();
        let deleted = scope.spawn(|| stage.engine.delete_onboard());
        announced.reached();
        announced.release();
        // The deletion sees it before whoever made it goes on.
        looked.reached();
        made.release();
        looked.release();
        let (created, deleted) = (created.join().unwrap(), deleted.join().unwrap());
        // One of the two: what is acknowledged opens.
        match (created, deleted) {
            (Ok(key), Err(DeleteOnboardError::Refused(Refusal::EncryptedVolumes { .. }))) => {
                assert_eq!(bytes(common::open(&stage.disk).open_key(svm, volume(1)).unwrap().newest()), key);
                stage.serves();
            }
            (Err(KeyError::NoKeystore), Ok(())) => stage.is_gone(),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_kek_whose_move_to_the_keystore_is_durable_and_not_yet_used_stands_against_it() {
    let stage = Stage::new();
    create_enabled(&stage.engine, stage.svm, "A", 1);
    let key = stage.create(1).unwrap();
    let svm = stage.svm;
    let announced = stage.hold_keystore();
    thread::scope(|scope| {
        let deleted = scope.spawn(|| stage.engine.delete_onboard());
        announced.reached();
        let moved = stage.store.hold_after(move |write| write.puts(Table::Keks, svm.as_bytes()));
        let job = stage.engine.switch(svm, stage.keystore).unwrap();
        moved.reached();
        let looked = stage.store.hold_after(move |write| write.gets(Table::Keks, svm.as_bytes()));
        announced.release();
        looked.reached();
        moved.release();
        looked.release();
        let refused = deleted.join().unwrap().unwrap_err();
        assert!(matches!(refused, DeleteOnboardError::Refused(Refusal::EncryptedVolumes { .. })), "{refused:?}");
        job.wait().unwrap();
    });
    assert_eq!(bytes(common::open(&stage.disk).open_key(svm, volume(1)).unwrap().newest()), key);
    stage.serves();
}

#[test]
fn no_key_is_made_once_none_was_found() {
    let stage = Stage::with_kek();
    let (svm, keystore) = (stage.svm, stage.keystore);
    let announced = stage.hold_keks();
    let held = stage.store.hold_before(move |write| write.deletes(Table::Keks, svm.as_bytes()));
    let record = stage.store.hold_before(move |write| write.deletes(Table::Keystores, keystore.as_bytes()));
    thread::scope(|scope| {
        let deleted = scope.spawn(|| stage.engine.delete_onboard());
        announced.reached();
        let looked = stage.store.hold_after(|write| matches!(write, Write::Scan { table: Table::Keys }));
        announced.release();
        looked.reached();
        assert!(matches!(stage.create(1), Err(KeyError::KeystoreBeingDeleted)));
        looked.release();
        held.reached();
        assert_eq!(stage.engine.keystore_status(keystore).unwrap().state, Some(KeystoreState::Disabling));
        let busy = stage.engine.delete_svm(svm).unwrap_err();
        assert!(matches!(busy, claviger::SvmError::Busy { .. }), "{busy:?}");
        let rekeyed = stage.engine.rekey_internal(svm).unwrap_err();
        assert!(matches!(rekeyed, claviger::RekeyError::Key(KeyError::KeystoreBeingDeleted)), "{rekeyed:?}");
        verify_clean(&stage.engine);
        held.release();
        record.reached();
        // Its KEK is gone, and it gets no other: it waits for what becomes of the keystore.
        let created = scope.spawn(|| stage.create(1));
        record.release();
        assert!(matches!(created.join().unwrap(), Err(KeyError::NoKeystore)));
        deleted.join().unwrap().unwrap();
    });
    stage.is_gone();
}

#[test]
fn a_key_that_was_faster_stands_against_it() {
    let stage = Stage::with_kek();
    let held = stage.hold_keks();
    let key = thread::scope(|scope| {
        let deleted = scope.spawn(|| stage.engine.delete_onboard());
        held.reached();
        let key = stage.create(2).unwrap();
        held.release();
        let refused = deleted.join().unwrap().unwrap_err();
        assert!(refused.is_refusal());
        assert!(matches!(refused, DeleteOnboardError::Refused(Refusal::EncryptedVolumes { svm }) if svm == stage.svm));
        key
    });
    // Nothing is left of the attempt.
    assert_eq!(bytes(stage.engine.open_key(stage.svm, volume(2)).unwrap().newest()), key);
    assert!(forge::read(&*stage.disk, Table::Keks, stage.svm.as_bytes())["operation"].is_null());
    assert!(forge::read(&*stage.disk, Table::Keystores, stage.keystore.as_bytes()).get("deleting").is_none());
    stage.create(3).unwrap();
    stage.serves();
}

#[test]
fn a_kek_that_moves_to_the_keystore_stands_against_it() {
    let stage = Stage::new();
    create_enabled(&stage.engine, stage.svm, "A", 1);
    stage.create(1).unwrap();
    let held = stage.hold_keks();
    let job = stage.engine.switch(stage.svm, stage.keystore).unwrap();
    held.reached();
    assert!(matches!(stage.refused(), DeleteOnboardError::Busy { svm } if svm == stage.svm));
    held.release();
    job.wait().unwrap();
    assert!(matches!(stage.refused(), DeleteOnboardError::Refused(Refusal::EncryptedVolumes { .. })));
    stage.serves();
}

#[test]
fn a_kek_does_not_move_to_a_keystore_that_goes() {
    let stage = Stage::new();
    let own = create_enabled(&stage.engine, stage.svm, "A", 1);
    let key = stage.create(1).unwrap();
    // It has seen that no KEK moves, and is about to announce itself.
    let announced = stage.hold_keystore();
    thread::scope(|scope| {
        let deleted = scope.spawn(|| stage.engine.delete_onboard());
        announced.reached();
        let moved = stage.hold_keks();
        let job = stage.engine.switch(stage.svm, stage.keystore).unwrap();
        moved.reached();
        announced.release();
        deleted.join().unwrap().unwrap();
        moved.release();
        let failed = job.wait().unwrap_err();
        assert!(matches!(failed, JobError::Failed { .. }), "{failed:?}");
    });
    assert_eq!(stage.engine.keystore(), None);
    assert_eq!(common::vault::keepers_of(&stage.engine, stage.svm), [own]);
    let engine = Engine::open_on(stage.disk.clone(), options_with(&vault())).unwrap();
    assert_eq!(bytes(engine.open_key(stage.svm, volume(1)).unwrap().newest()), key);
    verify_clean(&engine);
}

#[test]
fn a_kek_that_was_moved_to_the_keystore_faster_stands_against_it() {
    let stage = Stage::new();
    create_enabled(&stage.engine, stage.svm, "A", 1);
    let key = stage.create(1).unwrap();
    let announced = stage.hold_keystore();
    thread::scope(|scope| {
        let deleted = scope.spawn(|| stage.engine.delete_onboard());
        announced.reached();
        stage.engine.switch(stage.svm, stage.keystore).unwrap().wait().unwrap();
        announced.release();
        let refused = deleted.join().unwrap().unwrap_err();
        assert!(matches!(refused, DeleteOnboardError::Refused(Refusal::EncryptedVolumes { .. })), "{refused:?}");
    });
    assert_eq!(bytes(stage.engine.open_key(stage.svm, volume(1)).unwrap().newest()), key);
    stage.serves();
}

#[test]
fn a_deletion_that_a_crash_cut_short_goes_on_with_the_next_start() {
    let stage = Stage::with_kek();
    let Stage { disk, engine, svm, .. } = stage;
    drop(engine);
    // The keystore's announcement, that of the SVM, and no more.
    let engine = Engine::open_on(common::dying(&disk, Crash::After, 1), common::options()).unwrap();
    engine.delete_onboard().unwrap_err();
    drop(engine);
    assert_eq!(forge::read(&*disk, Table::Keks, svm.as_bytes())["operation"], "delete_keystore");
    let copy = Arc::new(common::copy_of(&*disk));
    let engine = common::open(&disk);
    assert_eq!((engine.keystore(), engine.kek(svm).unwrap()), (None, None));
    verify_clean(&engine);

    // An announcement without its keystore's, from a copy of another time, is found, and asking again ends it.
    let keystore = records(&*copy).into_iter().find(|(table, key, _)| *table == Table::Keystores && key.len() == 16);
    let (_, keystore, _) = keystore.unwrap();
    forge::change(&*copy, Table::Keystores, &keystore, |record| {
        record.as_object_mut().unwrap().remove("deleting").unwrap();
    });
    let engine = common::open(&copy);
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert!(report.findings[0].detail.contains("deletion of the cluster's keystore"), "{report:?}");
    assert!(matches!(engine.create_key(svm, volume(1), XTS), Err(KeyError::KeystoreBeingDeleted)));
    engine.delete_onboard().unwrap();
    assert_eq!(engine.keystore(), None);
    verify_clean(&engine);
}

#[test]
fn keys_are_made_by_many_while_the_keystore_comes_and_goes() {
    let stage = Stage::new();
    let others: Vec<_> =
        (0..3).map(|number| stage.engine.create_svm(&name(&format!("vs{}", number + 1))).unwrap().id()).collect();
    let (is_over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut gone, mut kept) = (0, 0);
    thread::scope(|scope| {
        let create = |svm| {
            let (engine, is_over, made) = (&stage.engine, &is_over, &made);
            scope.spawn(move || {
                for number in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    match engine.create_key(svm, volume(number), XTS) {
                        Ok(key) => {
                            let opened = engine.open_key(svm, volume(number)).unwrap();
                            assert_eq!(bytes(opened.newest()), bytes(&key));
                            engine.delete_key(svm, volume(number)).unwrap();
                            made.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(KeyError::NoKeystore | KeyError::KeystoreBeingDeleted) => thread::yield_now(),
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        };
        let threads: Vec<_> = others.into_iter().map(create).collect();
        let all_live = || threads.iter().all(|thread| !thread.is_finished());
        while gone < 10 && all_live() {
            match stage.engine.delete_onboard() {
                Ok(()) => {
                    gone += 1;
                    let before = made.load(Ordering::SeqCst);
                    stage.engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
                    // Some go on at once, and some when keys are made again.
                    while gone % 2 == 0 && made.load(Ordering::SeqCst) == before && all_live() {
                        thread::yield_now();
                    }
                }
                Err(DeleteOnboardError::Refused(Refusal::EncryptedVolumes { .. })) => kept += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert_eq!(gone, 10);
    assert!(kept > 0, "no key was ever in the way");
    verify_clean(&stage.engine);
    verify_clean(&common::open(&stage.disk));
}
