//! What is refused, and that nothing has changed then.

use std::fmt::Debug;

use claviger::store::MemoryStore;
use claviger::{
    Advice, AggregateRef, Blame, Engine, Fault, KeyAlgorithm, KeyError, NewKey, NewVolume, ObjectRef, SvmError, SvmId,
    Table, VolumeError, VolumeName,
};
use uuid::Uuid;

use crate::common::{self, records};
use crate::{encrypted, hierarchy, listed, name, plain};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// What is refused changes no record but the epoch's.
fn refused<T: Debug, E: Blame>(store: &MemoryStore, ask: impl FnOnce() -> Result<T, E>) -> E {
    let now = || records(store).into_iter().filter(|(table, ..)| *table != Table::Node).collect::<Vec<_>>();
    let before = now();
    let error = ask().map(|made| panic!("{made:?}")).unwrap_err();
    assert!(now() == before, "{error} changed something");
    error
}

#[test]
fn a_name_is_given_once_in_an_svm_and_a_uuid_once() {
    let (store, engine, svm) = hierarchy();
    let other = engine.create_svm(&common::name("b")).unwrap().id();
    let made = engine.create_volume(svm, &encrypted("vol")).unwrap();
    for new in [encrypted("vol"), plain("vol")] {
        let error = refused(&store, || engine.create_volume(svm, &new));
        assert!(matches!(&error, VolumeError::NameTaken { svm: of, name } if *of == svm && name.as_str() == "vol"));
        assert_eq!(error.blame(), (Fault::Caller, Advice::Correct));
        // In another SVM it is another name.
        engine.delete_volume(engine.create_volume(other, &new).unwrap().id).unwrap();
        let again = NewVolume { id: Some(made.id), name: name("other"), ..new };
        for svm in [svm, other] {
            let error = refused(&store, || engine.create_volume(svm, &again));
            let is_told = match error {
                VolumeError::Exists { volume } => volume == made.id,
                VolumeError::Key(KeyError::Exists { object }) => object == ObjectRef::Volume(made.id),
                _ => false,
            };
            assert!(is_told, "{error:?}");
        }
    }
    // Names are told apart as they are spelt.
    engine.create_volume(svm, &encrypted("Vol")).unwrap();
    assert_eq!(listed(&engine, Some(svm), 10), ["Vol", "vol"]);
}

#[test]
fn a_volume_that_has_a_key_without_a_name_gets_none() {
    let (store, engine, svm) = hierarchy();
    let id = Uuid::from_u128(1);
    engine.create_key(svm, ObjectRef::Volume(id), XTS).unwrap();
    for new in [encrypted("vol"), plain("vol")] {
        let error = refused(&store, || engine.create_volume(svm, &NewVolume { id: Some(id), ..new }));
        assert!(matches!(error, VolumeError::Key(KeyError::Exists { .. })), "{error:?}");
    }
}

#[test]
fn the_key_of_a_named_volume_is_not_made_or_deleted_behind_its_back() {
    let (store, engine, svm) = hierarchy();
    let other = engine.create_svm(&common::name("b")).unwrap().id();
    let secret = engine.create_volume(svm, &encrypted("secret")).unwrap().id;
    let open = engine.create_volume(svm, &plain("open")).unwrap().id;
    let named = |error: KeyError, volume: Uuid| match error {
        KeyError::OfVolume { object, name } => {
            assert_eq!(object, ObjectRef::Volume(volume));
            name.to_string()
        }
        error => panic!("{error:?}"),
    };
    let error = refused(&store, || engine.delete_key(svm, ObjectRef::Volume(secret)));
    assert_eq!(error.blame(), (Fault::Caller, Advice::Correct));
    assert_eq!(named(error, secret), "secret");
    let error = refused(&store, || engine.create_key(svm, ObjectRef::Volume(open), XTS));
    assert_eq!(named(error, open), "open");
    let new = [Uuid::from_u128(1), open].map(|id| NewKey { object: ObjectRef::Volume(id), algorithm: XTS });
    assert_eq!(named(refused(&store, || engine.create_keys(svm, &new)), open), "open");
    // Where its own record is lost, a new key would be another than its data is under.
    common::delete(&*store, Table::Keys, &common::store_key(svm, ObjectRef::Volume(secret)));
    let error = refused(&store, || engine.create_key(svm, ObjectRef::Volume(secret), XTS));
    assert_eq!(named(error, secret), "secret");

    // Other objects with its UUID, and the same object of another SVM, are others.
    engine.create_key(svm, ObjectRef::Aggregate(secret), XTS).unwrap();
    engine.delete_key(svm, ObjectRef::Aggregate(secret)).unwrap();
    engine.create_keys(other, &new).unwrap();
    engine.delete_key(other, ObjectRef::Volume(open)).unwrap();
}

#[test]
fn what_there_is_not_is_told() {
    let (store, engine, svm) = hierarchy();
    let nobody = SvmId::from(Uuid::from_u128(1));
    let (open, none) = (engine.create_volume(svm, &plain("open")).unwrap().id, Uuid::from_u128(2));
    assert!(matches!(refused(&store, || engine.create_volume(nobody, &plain("v"))), VolumeError::UnknownSvm { .. }));
    assert!(matches!(engine.volume_named(nobody, &name("v")), Err(VolumeError::UnknownSvm { .. })));
    assert!(matches!(engine.volumes(Some(nobody), None, 1), Err(VolumeError::UnknownSvm { .. })));
    assert!(matches!(engine.volume(none), Err(VolumeError::Unknown { .. })));
    for (volume, is_there) in [(open, true), (none, false)] {
        for error in [
            refused(&store, || engine.begin_volume_rotation(volume)),
            refused(&store, || engine.finish_volume_rotation(volume)),
        ] {
            match is_there {
                true => assert!(matches!(error, VolumeError::NotEncrypted { .. }), "{error:?}"),
                false => assert!(matches!(error, VolumeError::Unknown { .. }), "{error:?}"),
            }
        }
    }
    let aggregates = vec![AggregateRef::Uuid(none); NewVolume::MAX_AGGREGATES + 1];
    let error = refused(&store, || engine.create_volume(svm, &NewVolume { aggregates, ..plain("v") }));
    assert!(matches!(error, VolumeError::TooManyAggregates { found: 101 }), "{error:?}");
    let long = "a".repeat(50).parse().unwrap();
    let widest = AggregateRef::Both { name: long, uuid: none };
    let new = NewVolume { aggregates: vec![widest; NewVolume::MAX_AGGREGATES], ..plain(&"v".repeat(203)) };
    assert_eq!(engine.create_volume(svm, &new).unwrap().aggregates, new.aggregates);
}

#[test]
fn an_encrypted_volume_needs_a_keystore_and_another_does_not() {
    let store = std::sync::Arc::new(MemoryStore::default());
    let engine = Engine::create_on(store.clone(), &common::name("cluster1"), common::options()).unwrap();
    let svm = engine.create_svm(&common::name("a")).unwrap().id();
    let error = refused(&store, || engine.create_volume(svm, &encrypted("vol")));
    assert!(matches!(error, VolumeError::Key(KeyError::NoKeystore)), "{error:?}");
    engine.create_volume(svm, &plain("vol")).unwrap();
    common::verify_clean(&engine);
}

#[test]
fn an_svm_with_volumes_is_not_deleted() {
    for (has_kek, new) in [(false, plain("vol")), (true, plain("vol")), (true, encrypted("vol"))] {
        let (store, engine, svm) = hierarchy();
        if has_kek {
            let object = common::volume(1);
            engine.create_key(svm, object, XTS).unwrap();
            engine.delete_key(svm, object).unwrap();
        }
        let volume = engine.create_volume(svm, &new).unwrap().id;
        let error = refused(&store, || engine.delete_svm(svm));
        assert!(matches!(error, SvmError::HasVolumes { .. }), "{error:?}");
        assert_eq!(error.blame(), (Fault::Caller, Advice::Correct));
        // It goes on, whatever it was called meanwhile.
        engine.rename_svm(svm, &common::name("b")).unwrap();
        engine.create_volume(svm, &encrypted("more")).unwrap();
        for volume in [volume, engine.volume_named(svm, &name("more")).unwrap().id] {
            engine.delete_volume(volume).unwrap();
        }
        engine.delete_svm(svm).unwrap();
        assert!(records(&*store).iter().all(|(table, ..)| *table != Table::Volumes));
    }
}

#[test]
fn names_are_as_the_contract_has_them() {
    for good in ["v", "_", "V_1", &"v".repeat(203)] {
        assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
    }
    for wrong in ["", "1v", "v-1", "v.1", "v 1", "v/1", "völ", &"v".repeat(204)] {
        assert!(wrong.parse::<VolumeName>().is_err(), "{wrong}");
    }
}
