//! What a Barbican that answers and does not give comes to: the state says so, and keys open and are made all the same.

use claviger::{Advice, BarbicanUpdate, Engine, Fault, KeeperError, KeystoreState, SvmKeystoreError, Trouble};
use claviger_tests::openstack::Lab;
use uuid::Uuid;

use super::support::way::{Way, new_credential, url};
use super::support::{Home, Keys, keystore, state, svm, tenant, trouble, verify_clean, why};

/// The check that a keystore fails.
fn refused(engine: &Engine, keystore: Uuid) -> KeeperError {
    match engine.check_keystore(keystore, |_| ()).unwrap_err() {
        SvmKeystoreError::Keeper(error) => error,
        error => panic!("{error:?}"),
    }
}

/// The keystore is blocked for this reason; keys open and are made.
fn is_blocked(engine: &Engine, keystore: Uuid, keys: &mut Keys, what: Trouble) {
    assert_eq!(refused(engine, keystore).trouble(), Some(what));
    assert_eq!((state(engine, keystore), trouble(engine, keystore)), (Some(KeystoreState::Blocked), Some(what)));
    let (_, fault, _) = why(engine.restore_keks(Some(keys.svm)).unwrap().wait());
    assert_eq!(fault, Fault::Keeper);
    keys.make_another(engine);
    assert!(keys.open(engine));
    let (_, fault, _) = why(engine.rekey_internal(keys.svm).unwrap().wait());
    assert_eq!(fault, Fault::Keeper);
    assert!(keys.open(engine));
}

fn is_well(engine: &Engine, keystore: Uuid, keys: &Keys) {
    engine.check_keystore(keystore, |_| ()).unwrap();
    assert_eq!((state(engine, keystore), trouble(engine, keystore)), (Some(KeystoreState::Active), None));
    engine.restore_keks(Some(keys.svm)).unwrap().wait().unwrap();
    engine.rekey_internal(keys.svm).unwrap().wait().unwrap();
    assert!(keys.open(engine));
    verify_clean(engine);
}

#[test]
fn a_secret_that_is_deleted_or_shut_keeps_no_key_from_opening() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let way = Way::to(lab).with_new_key(lab);
    let (svm, keystore) = tenant(&engine, "vs0", &way);
    let mut keys = Keys::make(&engine, svm, 10);

    lab.fault("acl-deny", &[&way.key_id]).unwrap();
    is_blocked(&engine, keystore, &mut keys, Trouble::Forbidden);
    lab.fault("acl-allow", &[&way.key_id]).unwrap();
    is_well(&engine, keystore, &keys);

    lab.fault("delete-secret", &[&way.key_id]).unwrap();
    is_blocked(&engine, keystore, &mut keys, Trouble::KeyMissing);
    // The KEK is in memory: it can still be kept under another secret.
    let rescue = lab.new_key(32).unwrap().key_id;
    engine.rekey_external(keystore, &url(&rescue)).unwrap().wait().unwrap();
    is_well(&engine, keystore, &keys);
}

#[test]
fn a_credential_that_is_revoked_is_replaced_without_a_restart() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let way = Way::to(lab).with_credential(new_credential(lab));
    let (svm, keystore) = tenant(&engine, "vs0", &way);
    let mut keys = Keys::make(&engine, svm, 10);

    lab.fault("revoke-app-cred", &[&way.credential_id]).unwrap();
    is_blocked(&engine, keystore, &mut keys, Trouble::CredentialRefused);
    let other = way.with_credential(new_credential(lab));
    let update = BarbicanUpdate { credential: Some(other.credential()), ..BarbicanUpdate::default() };
    engine.update_barbican(keystore, &update).unwrap();
    is_well(&engine, keystore, &keys);
}

#[test]
fn a_secret_that_is_no_key_is_not_enabled() {
    let lab = Lab::shared();
    let home = Home::new();
    let engine = home.create();
    let svm = svm(&engine, "vs0");
    let others = &lab.info().other_keys;
    let bad = [
        ("aes-128", &others.aes_128, Trouble::KeyUnsuitable, "128"),
        ("mislabelled", &others.aes_256_mislabelled_16_bytes, Trouble::KeyUnsuitable, "16"),
        ("passphrase", &others.passphrase_text, Trouble::KeyUnsuitable, "passphrase"),
        ("no-payload", &others.no_payload, Trouble::KeyUnsuitable, "payload"),
        ("other-project", &others.other_project, Trouble::Forbidden, "403"),
        ("unknown", &others.unknown, Trouble::KeyMissing, "404"),
    ];
    for (name, key_id, what, word) in bad {
        let keystore = keystore(&engine, svm, name, &Way::to(lab).with_key(key_id));
        let (message, fault, advice) = why(engine.enable(keystore).unwrap().wait());
        assert_eq!((fault, advice), (Fault::Keeper, Advice::SeeToTheKeeper), "{name}: {message}");
        assert!(message.contains(word), "{name}: {message}");
        assert_eq!((state(&engine, keystore), trouble(&engine, keystore)), (None, Some(what)), "{name}");
        engine.delete_keystore(keystore).unwrap();
    }
    // 32 bytes that are only not called a key are one.
    let (svm, _) = tenant(&engine, "vs1", &Way::to(lab).with_key(&others.opaque_32_bytes));
    assert!(Keys::make(&engine, svm, 1).open(&engine));
}
