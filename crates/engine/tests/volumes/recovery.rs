//! Recovery from a backup and a copy of the store, and copies.

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{Engine, Options, Problem, SealingSource, Table, VolumeEncryption};

use crate::common::{self, PASSPHRASE, forge, passphrase, sealing_key, verify_clean, versions};
use crate::{encrypted, hierarchy, listed, plain};

#[test]
fn volumes_come_back_where_the_sealing_key_is_the_same() {
    let (source, engine, svm) = hierarchy();
    let other = engine.create_svm(&common::name("b")).unwrap().id();
    let volume = engine.create_volume(svm, &encrypted("vol")).unwrap();
    engine.begin_volume_rotation(volume.id).unwrap();
    let volume = engine.volume(volume.id).unwrap();
    engine.create_volume(svm, &plain("open")).unwrap();
    // This SVM has no KEK.
    engine.create_volume(other, &plain("open")).unwrap();
    let key = versions(&engine.open_key(svm, claviger::ObjectRef::Volume(volume.id)).unwrap());
    let backup = engine.backup().unwrap();
    drop(engine);

    let store = Arc::new(MemoryStore::default());
    let engine = Engine::restore_on(store.clone(), &backup, &passphrase(PASSPHRASE), common::options()).unwrap();
    assert_eq!(listed(&engine, None, 10), Vec::<String>::new());
    let import = engine.import_keys(&*source, |_| ()).unwrap();
    assert_eq!((import.imported, import.volumes, import.volumes_present, import.volumes_sealed), (1, 3, 0, 0));
    assert_eq!(import.findings, []);
    assert_eq!(engine.volume(volume.id).unwrap(), volume);
    assert_eq!(versions(&engine.open_key(svm, claviger::ObjectRef::Volume(volume.id)).unwrap()), key);
    verify_clean(&engine);
    let again = engine.import_keys(&*source, |_| ()).unwrap();
    assert_eq!((again.present, again.volumes, again.volumes_present), (1, 0, 3));

    // Another volume took a name meanwhile, and one has changed.
    engine.delete_volume(engine.volume_named(svm, &"open".parse().unwrap()).unwrap().id).unwrap();
    engine.create_volume(svm, &encrypted("open")).unwrap();
    forge::change(&*store, Table::Volumes, &[&[0], volume.id.as_bytes().as_slice()].concat(), |body| {
        body["size"] = 5.into();
    });
    let import = engine.import_keys(&*source, |_| ()).unwrap();
    let problems: Vec<_> = import.findings.iter().map(|finding| (finding.record.table, finding.problem)).collect();
    assert_eq!(problems, [(Table::Volumes, Problem::Inconsistent); 2]);
    assert_eq!((import.volumes, import.volumes_present), (0, 1));
    verify_clean(&engine);
}

#[test]
fn keys_come_back_without_their_names_under_another_sealing_key() {
    let (source, engine, svm) = hierarchy();
    let volume = engine.create_volume(svm, &encrypted("vol")).unwrap().id;
    let backup = engine.backup().unwrap();
    let options = Options { sealing: SealingSource::Provided(sealing_key(0x77)), ..common::options() };
    let store = Arc::new(MemoryStore::default());
    let restored = Engine::restore_on(store, &backup, &passphrase(PASSPHRASE), options).unwrap();
    let import = restored.import_keys(&*source, |_| ()).unwrap();
    assert_eq!((import.imported, import.volumes, import.volumes_sealed), (1, 0, 1));
    assert_eq!(import.findings, []);
    restored.open_key(svm, claviger::ObjectRef::Volume(volume)).unwrap();
    verify_clean(&restored);
}

#[test]
fn a_copy_has_the_volumes_too() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|path| dir.path().join(path));
    let engine = Engine::create(&from, &common::name("cluster1"), common::dir_options()).unwrap();
    engine.create_onboard(claviger::OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&common::name("a")).unwrap().id();
    let volume = engine.create_volume(svm, &encrypted("vol")).unwrap();
    assert!(matches!(volume.encryption, VolumeEncryption::On { .. }));
    drop(engine);
    let kind = claviger::StoreKind::default();
    let copy = Engine::copy_store(&from, &to, kind, common::dir_options(), |_| ()).unwrap();
    assert_eq!(copy.volume(volume.id).unwrap(), volume);
    verify_clean(&copy);
}
