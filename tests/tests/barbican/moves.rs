//! Which keystore keeps an SVM's KEK: enabled, mixed, migrated, switched, disabled, deleted. Keys open all the time.

use claviger::{Engine, KeystoreState, RekeyError, SvmId, SvmKeystoreError};
use claviger_tests::openstack::Lab;
use uuid::Uuid;

use super::support::way::{Way, url};
use super::support::{Home, Keys, cluster, keystore, state, svm, tenant, verify_clean};

/// The keystore that keeps the SVM's one KEK, and gives it back.
fn kept_by(engine: &Engine, svm: SvmId) -> Uuid {
    engine.restore_keks(Some(svm)).unwrap().wait().unwrap();
    let [kept] = engine.kept_keks(svm).unwrap().try_into().unwrap();
    kept.keystore
}

#[test]
fn a_kek_goes_to_a_second_barbican_to_the_cluster_and_back() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let (svm, first) = tenant(&engine, "vs0", &Way::to(lab));
    let mut keys = Keys::make(&engine, svm, 100);
    let second = keystore(&engine, svm, "second", &Way::to(lab).with_new_key(lab));
    let cluster = cluster(&engine);

    let taken = engine.create_barbican(svm, &"second".parse().unwrap(), &Way::to(lab).settings()).unwrap_err();
    assert!(matches!(taken, SvmKeystoreError::NameTaken { .. }), "{taken:?}");
    let other = engine.enable(second).unwrap_err();
    assert!(matches!(other, SvmKeystoreError::AnotherEnabled { .. }), "{other:?}");
    let needed = engine.delete_keystore(first).unwrap_err();
    assert!(matches!(needed, SvmKeystoreError::Enabled { .. }), "{needed:?}");

    for (from, to) in [(first, second), (second, cluster), (cluster, first)] {
        assert_eq!(kept_by(&engine, svm), from);
        keys.open_during(&engine, || engine.switch(svm, to).unwrap().wait().unwrap());
        assert_eq!(kept_by(&engine, svm), to);
        assert_eq!(state(&engine, to), Some(KeystoreState::Active));
        let left = (from != cluster).then(|| state(&engine, from));
        assert!(left.is_none_or(|state| state.is_none()), "{left:?}");
        keys.make_another(&engine);
        engine.rekey_internal(svm).unwrap().wait().unwrap();
    }
    engine.delete_keystore(second).unwrap();
    drop(engine);
    let engine = home.open();
    assert!(keys.open(&engine));
    verify_clean(&engine);
}

#[test]
fn a_kek_of_the_cluster_migrates_and_its_keystore_is_not_given_up_while_it_keeps_keys() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let cluster = cluster(&engine);
    let svm = svm(&engine, "vs0");
    let keys = Keys::make(&engine, svm, 100);
    let barbican = keystore(&engine, svm, "barbican", &Way::to(lab));
    assert_eq!(state(&engine, barbican), None);

    keys.open_during(&engine, || engine.enable(barbican).unwrap().wait().unwrap());
    assert_eq!((kept_by(&engine, svm), state(&engine, barbican)), (cluster, Some(KeystoreState::Mixed)));
    let mixed = engine.rekey_internal(svm).unwrap_err();
    assert!(matches!(mixed, RekeyError::Mixed { .. }), "{mixed:?}");
    let mixed = engine.rekey_external(barbican, &url(&lab.info().other_keys.shared_by_acl)).unwrap_err();
    assert!(matches!(mixed, SvmKeystoreError::Mixed { .. }), "{mixed:?}");

    keys.open_during(&engine, || engine.migrate(svm, barbican).unwrap().wait().unwrap());
    assert_eq!((kept_by(&engine, svm), state(&engine, barbican)), (barbican, Some(KeystoreState::Active)));
    let twice = engine.migrate(svm, barbican).unwrap_err();
    assert!(matches!(twice, SvmKeystoreError::KeptThere { .. }), "{twice:?}");
    let keeps = engine.disable(barbican).unwrap_err();
    assert!(matches!(keeps, SvmKeystoreError::KeepsKeys { .. }), "{keeps:?}");
    let enabled = engine.delete_keystore(barbican).unwrap_err();
    assert!(matches!(enabled, SvmKeystoreError::Enabled { .. }), "{enabled:?}");

    keys.open_during(&engine, || engine.migrate(svm, cluster).unwrap().wait().unwrap());
    assert_eq!((kept_by(&engine, svm), state(&engine, barbican)), (cluster, Some(KeystoreState::Mixed)));
    engine.disable(barbican).unwrap().wait().unwrap();
    assert_eq!(state(&engine, barbican), None);
    engine.delete_keystore(barbican).unwrap();
    drop(engine);
    let engine = home.open();
    assert!(keys.open(&engine));
    assert_eq!(engine.keystores().len(), 1);
    verify_clean(&engine);
}
