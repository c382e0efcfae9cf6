//! Records of volumes and of their keys that are damaged or gone.

use claviger::store::MemoryStore;
use claviger::{
    Advice, Engine, Fault, JobError, JobStatus, NewVolume, ObjectRef, Problem, RecordError, RecordName, SvmId, Table,
    VolumeEncryption, VolumeError,
};
use uuid::Uuid;

use crate::common::{self, delete, forge, put, verify_clean, versions};
use crate::{encrypted, hierarchy, name, plain};

/// The store keys of a volume's records (`docs/formats.md`, records): its own, that of its name, that of its key.
fn keys(svm: SvmId, volume: Uuid, name: &str) -> [RecordName; 3] {
    let own = [&[0], volume.as_bytes().as_slice()].concat();
    let naming = [&[1], svm.as_bytes().as_slice(), name.as_bytes()].concat();
    [
        RecordName { table: Table::Volumes, key: own },
        RecordName { table: Table::Volumes, key: naming },
        RecordName { table: Table::Keys, key: common::store_key(svm, ObjectRef::Volume(volume)) },
    ]
}

fn get(store: &MemoryStore, record: &RecordName) -> Vec<u8> {
    claviger::Store::get(store, record.table, &record.key).unwrap().unwrap()
}

fn break_record(store: &MemoryStore, record: &RecordName) -> Vec<u8> {
    let whole = get(store, record);
    let mut broken = whole.clone();
    *broken.last_mut().unwrap() ^= 1;
    put(store, record.table, &record.key, &broken);
    whole
}

fn found(engine: &Engine) -> Vec<(RecordName, Problem)> {
    let report = engine.verify(|_| ()).unwrap();
    report.findings.iter().map(|finding| (finding.record.clone(), finding.problem)).collect()
}

/// The failure of the rekey, which says so and keeps the old KEK.
fn failed_rekey(engine: &Engine, svm: SvmId) -> (String, Fault, Advice) {
    match engine.rekey_internal(svm).unwrap().wait() {
        Err(JobError::Failed { message, fault, advice, .. }) => (message, fault, advice),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rekey_does_not_pass_over_a_volume_whose_key_record_is_gone() {
    let (store, engine, svm) = hierarchy();
    let other = engine.create_volume(svm, &encrypted("other")).unwrap().id;
    engine.create_volume(svm, &plain("open")).unwrap();
    let volume = engine.create_volume(svm, &encrypted("vol")).unwrap().id;
    let object = ObjectRef::Volume(volume);
    let before = versions(&engine.open_key(svm, object).unwrap());
    let [_, _, key] = keys(svm, volume, "vol");
    let copy = get(&store, &key);
    delete(&*store, key.table, &key.key);
    assert_eq!(engine.volume(volume).unwrap().encryption, VolumeEncryption::KeyMissing);
    assert_eq!(found(&engine), [(key.clone(), Problem::Missing)]);

    for _ in 0..2 {
        let (message, fault, advice) = failed_rekey(&engine, svm);
        assert!(message.contains("\"vol\"") && message.contains(&volume.to_string()), "{message}");
        assert_eq!((fault, advice), (Fault::Data, Advice::Repair));
        assert_eq!(common::kek_versions(&engine, svm), Some((2, Some(1))), "the old KEK is kept");
        engine.open_key(svm, ObjectRef::Volume(other)).unwrap();
    }
    // The record comes back from a copy of before, under the old KEK, and the rekey can be repeated.
    put(&*store, key.table, &key.key, &copy);
    assert_eq!(versions(&engine.open_key(svm, object).unwrap()), before);
    assert_eq!(engine.rekey_internal(svm).unwrap().wait().unwrap().status, JobStatus::Succeeded);
    assert_eq!(common::kek_versions(&engine, svm), Some((2, None)));
    assert_eq!(versions(&engine.open_key(svm, object).unwrap()), before);
    verify_clean(&engine);
}

#[test]
fn a_rekey_goes_on_when_the_volume_without_a_key_is_deleted() {
    let (store, engine, svm) = hierarchy();
    engine.create_volume(svm, &encrypted("other")).unwrap();
    let volume = engine.create_volume(svm, &encrypted("vol")).unwrap().id;
    let [own, naming, key] = keys(svm, volume, "vol");
    delete(&*store, key.table, &key.key);
    failed_rekey(&engine, svm);
    // Where its own record is gone too, nobody knows whether it was encrypted.
    let whole = get(&store, &own);
    delete(&*store, own.table, &own.key);
    let (message, ..) = failed_rekey(&engine, svm);
    assert!(message.contains(&own.to_string()) && message.contains("missing"), "{message}");
    assert!(matches!(engine.volume_named(svm, &name("vol")), Err(VolumeError::Records(RecordError::Lost { .. }))));
    put(&*store, own.table, &own.key, &whole);
    engine.delete_volume(volume).unwrap();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    verify_clean(&engine);
    assert!(claviger::Store::get(&*store, naming.table, &naming.key).unwrap().is_none());
}

/// The volume's own record tells what its name's does not.
#[test]
fn a_rekey_goes_on_beside_a_damaged_name() {
    let (store, engine, svm) = hierarchy();
    for new in [encrypted("vol"), plain("open")] {
        let text = new.name.to_string();
        let volume = engine.create_volume(svm, &new).unwrap().id;
        let [own, naming, key] = keys(svm, volume, &text);
        break_record(&store, &naming);
        engine.rekey_internal(svm).unwrap().wait().unwrap();
        if new.encrypted {
            let copy = get(&store, &key);
            delete(&*store, key.table, &key.key);
            assert!(failed_rekey(&engine, svm).0.contains("\"vol\""));
            put(&*store, key.table, &key.key, &copy);
            engine.rekey_internal(svm).unwrap().wait().unwrap();
        }
        // Where both are damaged, nobody knows whether it was encrypted.
        let whole = break_record(&store, &own);
        assert!(failed_rekey(&engine, svm).0.contains(&naming.to_string()));
        put(&*store, own.table, &own.key, &whole);
        engine.rekey_internal(svm).unwrap().wait().unwrap();
    }
}

#[test]
fn damage_to_each_record_is_found_named_and_gone_with_the_volume() {
    for (new, of) in
        [(encrypted("vol"), 0), (encrypted("vol"), 1), (encrypted("vol"), 2), (plain("vol"), 0), (plain("vol"), 1)]
    {
        let (store, engine, svm) = hierarchy();
        engine.create_volume(svm, &encrypted("other")).unwrap();
        let volume = engine.create_volume(svm, &new).unwrap().id;
        let record = &keys(svm, volume, "vol")[of];
        let whole = break_record(&store, record);
        assert_eq!(found(&engine), [(record.clone(), Problem::Damaged)]);
        // The others are listed.
        let page = engine.volumes(None, None, 10).unwrap();
        let told: Vec<_> = page.volumes.iter().map(|one| (one.position.name.as_str(), one.volume.is_ok())).collect();
        assert_eq!(told, [("other", true), ("vol", of == 2)]);
        put(&*store, record.table, &record.key, &whole);
        verify_clean(&engine);

        break_record(&store, record);
        engine.delete_volume(volume).unwrap();
        verify_clean(&engine);
        assert_eq!(crate::listed(&engine, None, 10), ["other"]);
        engine.create_volume(svm, &NewVolume { id: Some(volume), ..new }).unwrap();
    }
}

#[test]
fn records_that_contradict_each_other_are_found() {
    let (store, engine, svm) = hierarchy();
    let volume = engine.create_volume(svm, &encrypted("vol")).unwrap().id;
    let open = engine.create_volume(svm, &plain("open")).unwrap().id;
    let [own, naming, key] = keys(svm, volume, "vol");
    let [open_own, open_naming, open_key] = keys(svm, open, "open");
    let both_ways = |record: &RecordName, change: &dyn Fn(), expected: &[(RecordName, Problem)]| {
        let before = claviger::Store::get(&*store, record.table, &record.key).unwrap();
        change();
        assert_eq!(found(&engine), expected);
        match before {
            Some(raw) => put(&*store, record.table, &record.key, &raw),
            None => delete(&*store, record.table, &record.key),
        }
        verify_clean(&engine);
    };
    let gone = |record: &RecordName| delete(&*store, record.table, &record.key);
    both_ways(&own, &|| gone(&own), &[(own.clone(), Problem::Missing)]);
    both_ways(&naming, &|| gone(&naming), &[(naming.clone(), Problem::Missing)]);
    let change = |record: &RecordName, member: &str, value: serde_json::Value| {
        forge::change(&*store, record.table, &record.key, |body| body[member] = value);
    };
    // The name points to another volume.
    let other = open.to_string();
    both_ways(&naming, &|| change(&naming, "volume", other.clone().into()), &{
        let mut expected = [(naming.clone(), Problem::Inconsistent), (own.clone(), Problem::Inconsistent)];
        expected.sort();
        expected
    });
    both_ways(&open_own, &|| change(&open_own, "svm", Uuid::from_u128(5).to_string().into()), &{
        let mut expected = [(open_own.clone(), Problem::Inconsistent), (open_naming.clone(), Problem::Inconsistent)];
        expected.sort();
        expected
    });
    // A key that the volume does not know of.
    let raw = get(&store, &key);
    both_ways(
        &open_key,
        &|| put(&*store, open_key.table, &open_key.key, &raw),
        &[(open_key.clone(), Problem::Misplaced), (open_own.clone(), Problem::Inconsistent)],
    );
    // Records of one time beside records of another.
    let (old_own, old_key) = (get(&store, &own), get(&store, &key));
    engine.begin_volume_rotation(volume).unwrap();
    engine.finish_volume_rotation(volume).unwrap();
    both_ways(&key, &|| put(&*store, key.table, &key.key, &old_key), &[(key.clone(), Problem::Inconsistent)]);
    both_ways(&own, &|| put(&*store, own.table, &own.key, &old_own), &[(own.clone(), Problem::Inconsistent)]);
}
