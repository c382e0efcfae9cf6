//! What happens at the same time.

use std::thread;

use claviger::{Creation, JobStatus, KeyAlgorithm, KeyError, NewKey, NewVolume, SvmError, Table, VolumeError};
use uuid::Uuid;

use crate::common::stores::{HoldingStore, Write};
use crate::common::{self, records, verify_clean};
use crate::{encrypted, hierarchy, listed, plain};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// A volume without a key appears in an SVM without a KEK while that is looked through, and is found or makes the deletion fail.
#[test]
fn a_volume_that_is_made_while_its_svm_is_deleted_is_not_orphaned() {
    for has_kek in [false, true] {
        let (disk, engine, svm) = hierarchy();
        if has_kek {
            engine.create_key(svm, common::volume(1), KeyAlgorithm::Aes256).unwrap();
            engine.delete_key(svm, common::volume(1)).unwrap();
        }
        drop(engine);
        let store = HoldingStore::over(disk.clone());
        let engine = common::open(&store);
        // The deletion has looked for volumes, and found none.
        let held = store.hold_after(|write| matches!(write, Write::Scan { table: Table::Volumes }));
        let deleted = thread::scope(|scope| {
            let deletion = scope.spawn(|| engine.delete_svm(svm));
            held.reached();
            engine.create_volume(svm, &plain("vol")).unwrap();
            held.release();
            deletion.join().unwrap()
        });
        assert!(matches!(deleted, Err(SvmError::Busy { .. } | SvmError::HasVolumes { .. })), "{deleted:?}");
        assert_eq!(listed(&engine, Some(svm), 10), ["vol"]);
        engine.create_volume(svm, &encrypted("more")).unwrap();
        verify_clean(&engine);
    }
}

/// Many keys are about to be put when a volume without a key is made that has the UUID of one.
#[test]
fn a_volume_without_a_key_gets_none_by_many() {
    for has_kek in [false, true] {
        let (disk, engine, svm) = hierarchy();
        if has_kek {
            engine.create_key(svm, common::volume(1), XTS).unwrap();
        }
        drop(engine);
        let store = HoldingStore::over(disk);
        let engine = common::open(&store);
        let keys = [2, 3].map(|number| NewKey { object: common::volume(number), algorithm: XTS });
        let new = NewVolume { id: Some(Uuid::from_u128(3)), ..plain("vol") };
        let held = store.hold_before(|write| write.replaces());
        let many = thread::scope(|scope| {
            let many = scope.spawn(|| engine.create_keys(svm, &keys));
            held.reached();
            engine.create_volume(svm, &new).unwrap();
            held.release();
            many.join().unwrap()
        });
        assert!(matches!(many, Err(KeyError::OfVolume { object, .. }) if object == common::volume(3)), "{many:?}");
        assert!(matches!(engine.open_key(svm, common::volume(3)), Err(KeyError::Missing { .. })));
        verify_clean(&engine);

        // One whose UUID is not among them is in nobody's way.
        let keys = [4, 5].map(|number| NewKey { object: common::volume(number), algorithm: XTS });
        let held = store.hold_before(|write| write.replaces());
        let many = thread::scope(|scope| {
            let many = scope.spawn(|| engine.create_keys(svm, &keys));
            held.reached();
            engine.create_volume(svm, &NewVolume { id: Some(Uuid::from_u128(6)), ..plain("more") }).unwrap();
            held.release();
            many.join().unwrap()
        });
        assert_eq!(many.unwrap(), [Creation::Created; 2]);
        verify_clean(&engine);
    }
}

#[test]
fn of_volumes_with_one_name_one_is_made() {
    let (store, engine, svm) = hierarchy();
    let made = thread::scope(|scope| {
        let make = |number| {
            let engine = &engine;
            scope.spawn(move || engine.create_volume(svm, &if number % 2 == 0 { encrypted("v") } else { plain("v") }))
        };
        let threads: Vec<_> = (0..8).map(make).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    for refused in made.into_iter().filter_map(Result::err) {
        assert!(matches!(refused, VolumeError::NameTaken { .. }), "{refused:?}");
    }
    let keys = records(&*store).iter().filter(|(table, ..)| *table == Table::Keys).count();
    assert!(keys <= 1, "a key without a volume");
    verify_clean(&engine);
}

#[test]
fn a_rekey_goes_on_while_volumes_come_and_go() {
    let (_, engine, svm) = hierarchy();
    (0..20).for_each(|number| drop(engine.create_volume(svm, &encrypted(&format!("v{number}"))).unwrap()));
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for number in 0..20 {
                let volume = engine.volume_named(svm, &format!("v{number}").parse().unwrap()).unwrap().id;
                engine.begin_volume_rotation(volume).unwrap();
                engine.finish_volume_rotation(volume).unwrap();
                engine.delete_volume(volume).unwrap();
                engine.create_volume(svm, &encrypted(&format!("w{number}"))).unwrap();
            }
        });
        while !busy.is_finished() {
            assert_eq!(engine.rekey_internal(svm).unwrap().wait().unwrap().status, JobStatus::Succeeded);
            assert_eq!(engine.verify(|_| ()).unwrap().findings, []);
        }
        busy.join().unwrap();
    });
    assert_eq!(listed(&engine, Some(svm), 7).len(), 20);
    verify_clean(&engine);
}
