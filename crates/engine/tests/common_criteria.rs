//! The onboard keystore goes into Common Criteria mode and leaves it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    Engine, Fact, Facts, KeyAlgorithm, KeyError, KeystoreError, OnboardMode, Options, PassphraseError, Refusal, Store,
    SvmId, Table,
};
use common::{
    Bytes, LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE, bytes, forge, name, passphrase, verify_clean, volume,
};
use serde_json::Value;

/// A hierarchy with a key, whose keystore opens unattended.
fn with_a_key(secret: &[u8]) -> (Arc<MemoryStore>, SvmId, Bytes) {
    let store = Arc::new(MemoryStore::default());
    let engine = Engine::create_on(store.clone(), &name("cluster1"), common::options()).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase(secret)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let key = bytes(&engine.create_key(svm, volume(1), KeyAlgorithm::XtsAes256).unwrap());
    (store, svm, key)
}

/// What the keystore's record says, and its bytes.
fn record(store: &MemoryStore) -> (Value, Vec<u8>) {
    let all = store.scan(Table::Keystores, &[], None, 10).unwrap();
    let [entry] = &all[..] else { panic!("{} records", all.len()) };
    (forge::read(store, Table::Keystores, &entry.key)["onboard"].clone(), entry.value.clone())
}

fn opened(engine: &Engine, svm: SvmId) -> Bytes {
    bytes(engine.open_key(svm, volume(1)).unwrap().newest())
}

#[test]
fn it_goes_in_and_out_and_the_keys_stay() {
    let (store, svm, key) = with_a_key(LONG_PASSPHRASE);
    let engine = common::open(&store);
    assert!(record(&store).0.get("ckek_unattended").is_some());
    engine.set_common_criteria(&passphrase(LONG_PASSPHRASE), true).unwrap();
    let keystore = engine.keystore().unwrap();
    assert_eq!((keystore.mode, keystore.locked), (OnboardMode::CommonCriteria, false));
    assert_eq!(opened(&engine, svm), key);
    let (onboard, _) = record(&store);
    assert_eq!(onboard["common_criteria"], true);
    assert_eq!((onboard.get("ckek_unattended"), onboard.get("attempts")), (None, None));
    verify_clean(&engine);
    drop(engine);

    let engine = common::open(&store);
    assert!(engine.keystore().unwrap().locked);
    assert!(matches!(engine.open_key(svm, volume(1)), Err(KeyError::Locked { .. })));
    // With the passphrase, it need not be unlocked first.
    engine.set_common_criteria(&passphrase(LONG_PASSPHRASE), false).unwrap();
    let left = engine.keystore().unwrap();
    assert_eq!((left.mode, left.locked, left.id), (OnboardMode::Unattended, false, keystore.id));
    assert_eq!(opened(&engine, svm), key);
    drop(engine);
    let engine = common::open(&store);
    assert_eq!(opened(&engine, svm), key);
    engine.change_passphrase(&passphrase(LONG_PASSPHRASE), &passphrase(PASSPHRASE)).unwrap();
    verify_clean(&engine);
}

#[test]
fn what_is_refused_changes_nothing() {
    let (store, svm, key) = with_a_key(PASSPHRASE);
    let engine = common::open(&store);
    let (_, before) = record(&store);
    let wrong = engine.set_common_criteria(&passphrase(OTHER_PASSPHRASE), true).unwrap_err();
    assert!(matches!(wrong, KeystoreError::WrongPassphrase), "{wrong:?}");
    let short = engine.set_common_criteria(&passphrase(PASSPHRASE), true).unwrap_err();
    assert!(matches!(short, KeystoreError::Passphrase(PassphraseError::Length { .. })), "{short:?}");
    // In the same mode, the passphrase is checked all the same.
    let wrong = engine.set_common_criteria(&passphrase(OTHER_PASSPHRASE), false).unwrap_err();
    assert!(matches!(wrong, KeystoreError::WrongPassphrase), "{wrong:?}");
    engine.set_common_criteria(&passphrase(PASSPHRASE), false).unwrap();
    assert!(record(&store).1 == before);
    assert_eq!(opened(&engine, svm), key);

    let none = Engine::create_on(Arc::new(MemoryStore::default()), &name("cluster1"), common::options()).unwrap();
    assert!(matches!(none.set_common_criteria(&passphrase(PASSPHRASE), true), Err(KeystoreError::None)));

    // As the cluster is, the keystore must be.
    let (store, _, _) = with_a_key(LONG_PASSPHRASE);
    for (fact, mode, refusal) in
        [(true, false, Refusal::CommonCriteriaNeeded), (false, true, Refusal::CommonCriteriaNotAllowed)]
    {
        let mut facts = Facts::default();
        facts.cluster.common_criteria = Some(Fact::Known(fact));
        let options = Options { platform: Arc::new(facts), ..common::options() };
        let engine = Engine::open_on(store.clone(), options).unwrap();
        match engine.set_common_criteria(&passphrase(LONG_PASSPHRASE), mode) {
            Err(KeystoreError::Refused(refused)) => assert_eq!(refused, refusal),
            other => panic!("{other:?}"),
        }
        engine.set_common_criteria(&passphrase(LONG_PASSPHRASE), fact).unwrap();
    }
}

#[test]
fn wrong_passphrases_are_counted_in_the_mode_that_it_leaves() {
    let (store, ..) = with_a_key(LONG_PASSPHRASE);
    let engine = common::open(&store);
    engine.set_common_criteria(&passphrase(LONG_PASSPHRASE), true).unwrap();
    let wrong = engine.set_common_criteria(&passphrase(OTHER_PASSPHRASE), false).unwrap_err();
    assert!(matches!(wrong, KeystoreError::WrongPassphrase), "{wrong:?}");
    let soon = engine.set_common_criteria(&passphrase(LONG_PASSPHRASE), false).unwrap_err();
    assert!(matches!(soon, KeystoreError::TooSoon { .. }), "{soon:?}");
    assert_eq!(engine.keystore().unwrap().mode, OnboardMode::CommonCriteria);
}

#[test]
fn an_open_keystore_leaves_the_mode_without_its_passphrase() {
    let (store, svm, key) = with_a_key(LONG_PASSPHRASE);
    let engine = common::open(&store);
    engine.leave_common_criteria().unwrap();
    engine.set_common_criteria(&passphrase(LONG_PASSPHRASE), true).unwrap();
    drop(engine);
    // Locked, it has nothing to put away.
    let engine = common::open(&store);
    let (_, before) = record(&store);
    let locked = engine.leave_common_criteria().unwrap_err();
    assert!(matches!(locked, KeystoreError::Locked), "{locked:?}");
    assert!(record(&store).1 == before);
    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    engine.leave_common_criteria().unwrap();
    assert_eq!(engine.keystore().unwrap().mode, OnboardMode::Unattended);
    assert_eq!(opened(&engine, svm), key);
    drop(engine);
    let engine = common::open(&store);
    assert!(!engine.keystore().unwrap().locked);
    assert_eq!(opened(&engine, svm), key);
    // The passphrase is the one that it was.
    engine.change_passphrase(&passphrase(LONG_PASSPHRASE), &passphrase(PASSPHRASE)).unwrap();
    verify_clean(&engine);

    let none = Engine::create_on(Arc::new(MemoryStore::default()), &name("cluster1"), common::options()).unwrap();
    assert!(matches!(none.leave_common_criteria(), Err(KeystoreError::None)));
    let mut facts = Facts::default();
    facts.cluster.common_criteria = Some(Fact::Known(true));
    let engine = Engine::open_on(store, Options { platform: Arc::new(facts), ..common::options() }).unwrap();
    let refused = engine.leave_common_criteria().unwrap_err();
    assert!(matches!(refused, KeystoreError::Refused(Refusal::CommonCriteriaNeeded)), "{refused:?}");
}
