//! What each operation refuses, with nothing changed and nobody asked.

use std::time::Duration;

use claviger::{
    Advice, BarbicanSettings, BarbicanSetupError, BarbicanUpdate, Blame as _, CertificateDer, Engine, Fault, KeyError,
    NewVolume, NoKeeper, ObjectRef, OnboardMode, Proxy, ProxyKind, RekeyError, Site, SvmError, SvmId,
    SvmKeystoreError as No,
};
use uuid::Uuid;

use crate::common::vault::{credential, keystore_name, secret_url, settings, site};
use crate::common::{self, PASSPHRASE, delete, passphrase, volume};
use crate::stage::{Stage, XTS};

const CORRECT: (Fault, Advice) = (Fault::Caller, Advice::Correct);
const REPAIR: (Fault, Advice) = (Fault::Data, Advice::Repair);

fn nobody() -> SvmId {
    SvmId::from(Uuid::from_u128(77))
}

fn no_keystore() -> Uuid {
    Uuid::from_u128(78)
}

/// A change of something.
fn update() -> BarbicanUpdate {
    BarbicanUpdate { verify: Some(false), ..BarbicanUpdate::default() }
}

#[test]
fn an_svm_or_a_keystore_that_there_is_not() {
    let stage = Stage::with_keys();
    let svm = |error: No| matches!(error, No::UnknownSvm { svm } if svm == nobody()) && error.blame() == CORRECT;
    assert!(svm(stage.refuses(|engine| engine.create_barbican(nobody(), &keystore_name("X"), &settings(1)))));
    assert!(svm(stage.refuses(|engine| engine.switch(nobody(), stage.own[0]))));
    assert!(svm(stage.refuses(|engine| engine.migrate(nobody(), stage.own[0]))));
    assert!(svm(stage.refuses(|engine| engine.restore_keks(Some(nobody())))));
    assert_matches!(stage.refuses(|engine| engine.kept_keks(nobody())), KeyError::UnknownSvm { .. });

    let it = no_keystore();
    let unknown = |error: No| matches!(error, No::Unknown { keystore } if keystore == it) && error.blame() == CORRECT;
    assert!(unknown(stage.refuses(|engine| engine.enable(it))));
    assert!(unknown(stage.refuses(|engine| engine.switch(stage.svm, it))));
    assert!(unknown(stage.refuses(|engine| engine.disable(it))));
    assert!(unknown(stage.refuses(|engine| engine.rekey_external(it, &secret_url(3)))));
    assert!(unknown(stage.refuses(|engine| engine.update_barbican(it, &update()))));
    assert!(unknown(stage.refuses(|engine| engine.delete_keystore(it))));
    assert!(unknown(stage.refuses(|engine| engine.keystore_with_id(it))));
    assert!(unknown(stage.refuses(|engine| engine.keystore_status(it))));
    assert!(unknown(stage.refuses(|engine| engine.check_keystore(it, |_| ()))));
    // One of another SVM is none of this one's.
    let other = stage.engine.create_svm(&common::name("vs1")).unwrap().id();
    let others = common::vault::create(&stage.engine, other, "A", 1).id;
    assert_matches!(stage.refuses(|engine| engine.switch(stage.svm, others)), No::Unknown { .. });
    assert_matches!(stage.refuses(|engine| engine.migrate(stage.svm, others)), No::NotADestination { .. });
}

#[test]
fn the_admin_svm_and_the_clusters_keystore() {
    let stage = Stage::with_keys();
    let admin = stage.engine.svms()[0].id();
    let is_admin = |error: No| matches!(error, No::Admin) && error.blame() == CORRECT;
    assert!(is_admin(stage.refuses(|engine| engine.create_barbican(admin, &keystore_name("X"), &settings(1)))));
    assert!(is_admin(stage.refuses(|engine| engine.switch(admin, stage.own[0]))));
    assert!(is_admin(stage.refuses(|engine| engine.migrate(admin, stage.own[0]))));

    let it = stage.cluster();
    let is_its =
        |error: No| matches!(error, No::TheClusters { keystore } if keystore == it) && error.blame() == CORRECT;
    assert!(is_its(stage.refuses(|engine| engine.enable(it))));
    assert!(is_its(stage.refuses(|engine| engine.disable(it))));
    assert!(is_its(stage.refuses(|engine| engine.rekey_external(it, &secret_url(3)))));
    assert!(is_its(stage.refuses(|engine| engine.update_barbican(it, &update()))));
    assert!(is_its(stage.refuses(|engine| engine.delete_keystore(it))));
}

#[test]
fn a_name_that_is_taken_and_one_keystore_too_many() {
    let stage = Stage::not_enabled();
    let taken = stage.refuses(|engine| engine.create_barbican(stage.svm, &keystore_name("A"), &settings(3)));
    assert_matches!(taken, No::NameTaken { name } if name.as_str() == "A");
    for number in 2..32 {
        stage.creates(&format!("number {number}"), 1);
    }
    let many = stage.refuses(|engine| engine.create_barbican(stage.svm, &keystore_name("33rd"), &settings(1)));
    assert_matches!(many, No::TooMany);
    assert_eq!(many.blame(), CORRECT);
    assert_eq!(stage.engine.keystores().iter().filter(|one| one.svm == Some(stage.svm)).count(), 32);
    // In another SVM, each name is free, and there is room; and here, where one goes.
    let other = stage.engine.create_svm(&common::name("vs1")).unwrap().id();
    common::vault::create(&stage.engine, other, "A", 1);
    stage.engine.delete_keystore(stage.own[0]).unwrap();
    stage.creates("A", 1);
}

#[test]
fn settings_that_cannot_be_used() {
    let stage = Stage::empty();
    for timeout in [Duration::ZERO, Duration::from_millis(1_500), Duration::from_secs(3_601)] {
        let with = BarbicanSettings { site: Site { timeout, ..site() }, ..settings(1) };
        let error = stage.refuses(|engine| engine.create_barbican(stage.svm, &keystore_name("X"), &with));
        let No::Settings(NoKeeper::Barbican(BarbicanSetupError::Timeout { found })) = &error else {
            panic!("{error:?}")
        };
        assert_eq!((*found, error.blame()), (timeout, CORRECT));
        let with = BarbicanUpdate { timeout: Some(timeout), ..BarbicanUpdate::default() };
        let error = stage.refuses(|engine| engine.update_barbican(stage.own[0], &with));
        assert_matches!(error, No::Settings(NoKeeper::Barbican(BarbicanSetupError::Timeout { .. })));
    }

    // What no client can be made of is refused by the client itself, before anything is sent.
    let engine = common::open(&stage.store);
    let proxy = |host: &str| Proxy { kind: ProxyKind::Http, host: host.to_owned(), port: 3128, user: None };
    let with_proxy = Site { proxy: Some(proxy("no host")), ..site() };
    let with_root = Site { extra_roots: vec![CertificateDer::from(b"no certificate".to_vec())], ..site() };
    for site in [with_proxy, with_root] {
        let with = BarbicanSettings { site, ..settings(1) };
        let error = engine.create_barbican(stage.svm, &keystore_name("X"), &with).unwrap_err();
        assert_matches!(error, No::Settings(NoKeeper::Barbican(BarbicanSetupError::Client(_))));
        assert_eq!(error.blame(), CORRECT);
    }
    let with = BarbicanSettings { credential: credential("id", b"\xff"), ..settings(1) };
    let error = engine.create_barbican(stage.svm, &keystore_name("X"), &with).unwrap_err();
    assert!(!common::chain(&error).contains("\\xff"), "{error:?}");
    assert_eq!(engine.keystores().len(), 3);
}

#[test]
fn what_an_enabled_keystore_does_not_suffer() {
    let stage = Stage::empty();
    let [a, b] = stage.own[..] else { panic!() };
    let is_enabled = |error: No| matches!(error, No::Enabled { keystore } if keystore == a) && error.blame() == CORRECT;
    assert!(is_enabled(stage.refuses(|engine| engine.enable(a))));
    assert!(is_enabled(stage.refuses(|engine| engine.switch(stage.svm, a))));
    assert!(is_enabled(stage.refuses(|engine| engine.delete_keystore(a))));
    assert_matches!(
        stage.refuses(|engine| engine.enable(b)),
        No::AnotherEnabled { keystore, other } if (*keystore, *other) == (b, a)
    );
    for error in
        [stage.refuses(|engine| engine.disable(b)), stage.refuses(|engine| engine.rekey_external(b, &secret_url(3)))]
    {
        assert_matches!(error, No::NotEnabled { keystore } if *keystore == b);
        assert_eq!(error.blame(), CORRECT);
    }
}

#[test]
fn moves_that_make_no_sense() {
    let bare = Stage::bare();
    assert_matches!(bare.refuses(|engine| engine.switch(bare.svm, bare.cluster())), No::NoneEnabled { .. });
    assert_matches!(bare.refuses(|engine| engine.migrate(bare.svm, bare.cluster())), No::NoneEnabled { .. });
    let stage = Stage::not_enabled();
    assert_matches!(stage.refuses(|engine| engine.migrate(stage.svm, stage.own[0])), No::NoneEnabled { .. });
    // The cluster's serves already.
    assert_matches!(stage.refuses(|engine| engine.switch(stage.svm, stage.cluster())), No::Enabled { .. });

    let stage = Stage::empty();
    let [a, b] = stage.own[..] else { panic!() };
    assert_matches!(stage.refuses(|engine| engine.migrate(stage.svm, b)), No::NotADestination { .. });
    let no_keys = stage.refuses(|engine| engine.migrate(stage.svm, a));
    assert_matches!(no_keys, No::NoKeys { .. });
    assert!(no_keys.to_string().starts_with("no volumes created yet"), "{no_keys}");
    assert_matches!(stage.refuses(|engine| engine.rekey_external(a, &secret_url(3))), No::NoKeys { .. });
    assert_matches!(stage.refuses(|engine| engine.restore_keks(Some(stage.svm))), No::NoKeys { .. });

    let stage = Stage::with_keys();
    let a = stage.own[0];
    assert_matches!(stage.refuses(|engine| engine.migrate(stage.svm, a)), No::KeptThere { keystore } if *keystore == a);
    assert_matches!(stage.refuses(|engine| engine.rekey_external(a, &secret_url(1))), No::SameKey { .. });
    let keeps = stage.refuses(|engine| engine.disable(a));
    assert_matches!(keeps, No::KeepsKeys { keystore } if *keystore == a);
    assert_eq!(keeps.blame(), CORRECT);
    assert_matches!(stage.refuses(|engine| engine.delete_svm(stage.svm)), SvmError::HasKeystores { .. });

    let stage = Stage::mixed();
    let a = stage.own[0];
    let mixed = stage.refuses(|engine| engine.rekey_external(a, &secret_url(3)));
    assert_matches!(mixed, No::Mixed { keystore, .. } if *keystore == a);
    assert_matches!(stage.refuses(|engine| engine.rekey_internal(stage.svm)), RekeyError::Mixed { .. });
    let there = stage.cluster();
    assert_matches!(stage.refuses(|engine| engine.migrate(stage.svm, there)), No::KeptThere { .. });
}

/// Its key record may come back from a copy, and is under the KEK then.
#[test]
fn a_keystore_is_not_disabled_under_a_volume_whose_key_record_is_lost() {
    let stage = Stage::empty();
    let new = NewVolume::encrypted("vol".parse().unwrap());
    let volume = ObjectRef::Volume(stage.engine.create_volume(stage.svm, &new).unwrap().id);
    let key = common::bytes(stage.engine.open_key(stage.svm, volume).unwrap().newest());
    let (disk, record) = (&*stage.store.inner, common::store_key(stage.svm, volume));
    let raw = claviger::Store::get(disk, claviger::Table::Keys, &record).unwrap().unwrap();
    delete(disk, claviger::Table::Keys, &record);
    assert_matches!(stage.refuses(|engine| engine.disable(stage.own[0])), No::KeepsKeys { .. });
    common::put(disk, claviger::Table::Keys, &record, &raw);
    assert_eq!(common::bytes(stage.engine.open_key(stage.svm, volume).unwrap().newest()), key);
}

/// The SVM and its keystores go one after the other, and the cluster's keystore is not needed for what an own one keeps.
#[test]
fn an_svm_goes_after_its_keystores() {
    let stage = Stage::empty();
    let has = |stage: &Stage| stage.refuses(|engine| engine.delete_svm(stage.svm));
    assert_matches!(has(&stage), SvmError::HasKeystores { .. });
    assert_eq!(has(&stage).blame(), CORRECT);
    stage.engine.disable(stage.own[0]).unwrap().wait().unwrap();
    stage.engine.delete_keystore(stage.own[0]).unwrap();
    assert_matches!(has(&stage), SvmError::HasKeystores { .. });
    stage.engine.delete_keystore(stage.own[1]).unwrap();
    stage.engine.delete_svm(stage.svm).unwrap();
    assert_eq!(stage.engine.keystores().len(), 1);
    common::verify_clean(&stage.engine);
}

#[test]
fn keystores_of_a_hierarchy_without_a_cluster_keystore() {
    let store = std::sync::Arc::new(claviger::store::MemoryStore::default());
    let vault = common::vault::vault();
    let options = || common::vault::options_with(&vault);
    let engine = Engine::create_on(store.clone(), &common::name("cluster1"), options()).unwrap();
    let svm = engine.create_svm(&common::name("vs0")).unwrap().id();
    assert_matches!(engine.create_key(svm, volume(0), XTS), Err(KeyError::NoKeystore));
    let [a, b] = [("A", 1), ("B", 2)].map(|(name, number)| common::vault::create(&engine, svm, name, number).id);
    // From nowhere: there is nothing to move.
    engine.switch(svm, a).unwrap().wait().unwrap();
    engine.create_key(svm, volume(0), XTS).unwrap();
    engine.switch(svm, b).unwrap().wait().unwrap();
    assert_eq!(common::vault::keepers_of(&engine, svm), [b]);
    // The KEKs of others keep nobody from making the cluster's own.
    engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
    drop(engine);
    let engine = Engine::open_on(store, options()).unwrap();
    engine.open_key(svm, volume(0)).unwrap();
    assert!(engine.verify(|_| ()).unwrap().is_sound());
}

#[test]
fn records_that_do_not_open_refuse_what_needs_them() {
    let stage = Stage::with_keys();
    let [_, b] = stage.own[..] else { panic!() };
    let (svm, cluster) = (stage.svm, stage.cluster());

    // The KEKs' own record: nobody knows what keeps them.
    let whole = common::copy_of(&*stage.store.inner);
    let reopened = |stage: Stage, table, key: &[u8]| {
        let mut value = claviger::Store::get(&*stage.store.inner, table, key).unwrap().unwrap();
        *value.last_mut().unwrap() ^= 1;
        common::put(&*stage.store.inner, table, key, &value);
        stage.restarted(common::vault::on_request)
    };
    let stage = reopened(stage, claviger::Table::Keks, svm.as_bytes());
    let unknown = stage.refuses(|engine| engine.delete_keystore(b));
    assert_matches!(unknown, No::Key(KeyError::KekDamaged { .. }));
    assert_eq!(unknown.blame(), REPAIR);
    assert_matches!(stage.refuses(|engine| engine.switch(svm, b)), No::Key(KeyError::KekDamaged { .. }));
    assert_matches!(stage.refuses(|engine| engine.restore_keks(Some(svm))), No::Key(KeyError::KekDamaged { .. }));
    assert_matches!(stage.refuses(|engine| engine.kept_keks(svm)), KeyError::KekDamaged { .. });

    // The keystores' record.
    for (table, key, value) in common::records(&whole) {
        common::put(&*stage.store.inner, table, &key, &value);
    }
    let key = [&[1], svm.as_bytes().as_slice()].concat();
    let stage = reopened(stage, claviger::Table::Keystores, &key);
    for error in [
        stage.refuses(|engine| engine.create_barbican(svm, &keystore_name("X"), &settings(1))),
        stage.refuses(|engine| engine.switch(svm, cluster)),
        stage.refuses(|engine| engine.migrate(svm, cluster)),
    ] {
        assert_matches!(error, No::Damaged { .. });
        assert_eq!(error.blame(), REPAIR);
    }
    assert_matches!(stage.refuses(|engine| engine.enable(b)), No::Unknown { .. });
    assert_matches!(stage.refuses(|engine| engine.delete_svm(svm)), SvmError::HasKeystores { .. });
    let error = stage.refuses(|engine| engine.open_key(svm, volume(0)));
    assert_eq!(error.blame(), REPAIR);
    let stage = stage.without_keys();
    let error = stage.refuses(|engine| engine.create_key(svm, volume(0), XTS));
    assert_matches!(error, KeyError::KeystoresDamaged { .. });
}

/// A record of keystores from before one was enabled, beside KEKs that it keeps.
#[test]
fn a_keystore_that_keeps_keks_is_not_deleted_though_it_is_not_enabled() {
    let stage = Stage::with_keys();
    let a = stage.own[0];
    let key = [&[1], stage.svm.as_bytes().as_slice()].concat();
    common::forge::change(&*stage.store.inner, claviger::Table::Keystores, &key, |body| {
        body["enabled"] = serde_json::Value::Null;
    });
    let stage = stage.restarted(common::vault::on_request);
    let keeps = stage.refuses(|engine| engine.delete_keystore(a));
    assert_matches!(keeps, No::Keeps { keystore } if *keystore == a);
    assert_eq!(keeps.blame(), REPAIR);
    stage.engine.delete_keystore(stage.own[1]).unwrap();
    stage.engine.enable(a).unwrap().wait().unwrap();
    stage.restore().unwrap();
    stage.serves();
}

impl Stage {
    /// The SVM's keys and KEKs are gone.
    fn without_keys(self) -> Self {
        for (table, key, _) in common::records(&*self.store.inner) {
            if matches!(table, claviger::Table::Keys | claviger::Table::Keks) {
                delete(&*self.store.inner, table, &key);
            }
        }
        self.restarted(common::vault::on_request)
    }
}

/// Nobody is asked before a keystore is enabled, checked or updated.
#[test]
fn keystores_are_made_listed_and_looked_at_without_a_contact() {
    let stage = Stage::not_enabled();
    let listed = stage.engine.keystores();
    assert_eq!(listed.iter().filter(|one| one.svm.is_some()).map(|one| one.id).collect::<Vec<_>>(), stage.own);
    assert_eq!((listed[0].id, listed[0].svm), (stage.cluster(), None));
    for keystore in &listed {
        assert_eq!(stage.engine.keystore_with_id(keystore.id).unwrap(), *keystore);
        stage.engine.keystore_status(keystore.id).unwrap();
    }
    let unchanged = stage.engine.update_barbican(stage.own[0], &BarbicanUpdate::default()).unwrap();
    assert_eq!(unchanged, listed[1]);
    stage.engine.delete_keystore(stage.own[1]).unwrap();
    assert_eq!(stage.vault.asked(), 0);
    let stage = stage.restarted(common::vault::options_with);
    assert_eq!((stage.engine.keystores().len(), stage.vault.asked()), (2, 0));
}
