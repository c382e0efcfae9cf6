//! Records that are damaged, moved or gone; and backups.

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    BackupError, CertificateError, CertificateKind, Engine, Options, Problem, RecordName, SealingSource, Store as _,
    SvmId, Table,
};
use rcgen::PKCS_RSA_SHA256;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::{self, PASSPHRASE, delete, forge, passphrase, put, sealing_key, verify_clean};
use crate::made::Made;
use crate::{hierarchy, name};

/// Three parts of a private key, which an RSA key of 2,048 bits does not need, and two, which it does.
fn installed(engine: &Engine, scope: Option<SvmId>) -> Uuid {
    let leaf = Made::authority("root").under("leaf", &PKCS_RSA_SHA256);
    engine.install_certificate(&leaf.to_install(scope, Some("one"), CertificateKind::Client)).unwrap().id
}

/// The store keys of a certificate's records (`docs/formats.md`, records): its own, and that of its name.
fn keys(scope: Option<SvmId>, certificate: Uuid) -> [RecordName; 2] {
    let scope = scope.map_or(vec![1, 0], |svm| [&[1, 1], svm.as_bytes().as_slice()].concat());
    let record = |key| RecordName { table: Table::Certificates, key };
    [record([&[0], certificate.as_bytes().as_slice()].concat()), record([&scope[..], b"one"].concat())]
}

fn found(engine: &Engine) -> Vec<(RecordName, Problem)> {
    let report = engine.verify(|_| ()).unwrap();
    report.findings.iter().map(|finding| (finding.record.clone(), finding.problem)).collect()
}

#[test]
fn damage_is_listed_found_named_and_gone_with_the_certificate() {
    for of_svm in [false, true] {
        for of in [0, 1] {
            let (store, engine, svm) = hierarchy();
            let scope = of_svm.then_some(svm);
            let id = installed(&engine, scope);
            let record = &keys(scope, id)[of];
            let whole = store.get(record.table, &record.key).unwrap().unwrap();
            let mut broken = whole.clone();
            *broken.last_mut().unwrap() ^= 1;
            put(&*store, record.table, &record.key, &broken);
            assert_eq!(found(&engine), [(record.clone(), Problem::Damaged)]);
            let listed = engine.certificates().unwrap();
            assert_eq!((listed.len(), listed[0].id, listed[0].certificate.is_ok()), (1, id, of == 1));
            assert!(matches!(
                engine.certificate_named(scope, &name("one")),
                Err(CertificateError::Records(claviger::RecordError::Sealed { .. }))
            ));
            put(&*store, record.table, &record.key, &whole);
            verify_clean(&engine);
            put(&*store, record.table, &record.key, &broken);
            engine.delete_certificate(id).unwrap();
            verify_clean(&engine);
            assert!(engine.certificates().unwrap().is_empty());
            installed(&engine, scope);
        }
    }
}

#[test]
fn records_that_contradict_each_other_are_found() {
    let (store, engine, svm) = hierarchy();
    let id = installed(&engine, Some(svm));
    let [own, naming] = keys(Some(svm), id);
    let after = |record: &RecordName, change: &dyn Fn()| {
        let whole = store.get(record.table, &record.key).unwrap().unwrap();
        change();
        let found = found(&engine);
        put(&*store, record.table, &record.key, &whole);
        verify_clean(&engine);
        found
    };
    let gone = |record: &RecordName| delete(&*store, record.table, &record.key);
    assert_eq!(after(&own, &|| gone(&own)), [(own.clone(), Problem::Missing)]);
    assert_eq!(after(&naming, &|| gone(&naming)), [(naming.clone(), Problem::Missing)]);
    let change = |record: &RecordName, member: &str, value: Value| {
        forge::change(&*store, record.table, &record.key, |body| body[member] = value);
    };
    let other = json!(Uuid::from_u128(5));
    let [problem, missing] = &after(&naming, &|| change(&naming, "certificate", other.clone()))[..] else { panic!() };
    assert_eq!((problem.1, missing.1), (Problem::Missing, Problem::Inconsistent));
    assert!(after(&own, &|| change(&own, "svm", other.clone())).contains(&(own.clone(), Problem::Inconsistent)));
    assert_eq!(after(&own, &|| change(&own, "kind", json!("root_ca"))), [(own.clone(), Problem::Inconsistent)]);
    assert_eq!(after(&own, &|| change(&own, "der", json!("AAAA"))), [(own.clone(), Problem::Damaged)]);
}

/// The private key's parts are sealed for their places: in another order, or in another certificate, they do not open.
#[test]
fn a_private_key_opens_only_in_its_own_certificate() {
    let (store, engine, svm) = hierarchy();
    let [a, b] = [installed(&engine, Some(svm)), installed(&engine, None)];
    let [own, _] = keys(Some(svm), a);
    let [other, _] = keys(None, b);
    let parts = |record: &RecordName| forge::read(&*store, record.table, &record.key)["private_key"].clone();
    let (mine, theirs) = (parts(&own), parts(&other));
    assert_eq!(mine.as_array().unwrap().len(), 2, "an RSA key of 2,048 bits takes two slots of key memory");
    for wrong in [theirs, json!([mine[1], mine[0]]), json!([mine[0]]), json!([mine[0], mine[1], mine[1]])] {
        forge::change(&*store, own.table, &own.key, |body| body["private_key"] = wrong);
        assert_eq!(found(&engine), [(own.clone(), Problem::Damaged)]);
    }
    // A backup that lacks something is not made.
    assert!(matches!(engine.backup(), Err(BackupError::Credential(_))));
    forge::change(&*store, own.table, &own.key, |body| body["private_key"] = mine);
    verify_clean(&engine);
    engine.backup().unwrap();
}

#[test]
fn a_backup_brings_certificates_back_under_another_sealing_key() {
    let (_, engine, svm) = hierarchy();
    installed(&engine, Some(svm));
    installed(&engine, None);
    let infos = |engine: &Engine| -> Vec<_> {
        engine.certificates().unwrap().into_iter().map(|one| one.certificate.unwrap()).collect()
    };
    let (backup, before) = (engine.backup().unwrap(), infos(&engine));
    let options = Options { sealing: SealingSource::Provided(sealing_key(0x77)), ..common::options() };
    let store = Arc::new(MemoryStore::default());
    let restored = Engine::restore_on(store, &backup, &passphrase(PASSPHRASE), options).unwrap();
    assert_eq!(infos(&restored), before);
    assert_eq!(before.len(), 2);
    // The private keys open here.
    verify_clean(&restored);
    let report = Engine::verify_backup(
        &backup,
        &passphrase(PASSPHRASE),
        None,
        claviger::KeyMemory::Shared(common::arena()),
        |_| (),
    );
    assert_eq!(report.unwrap().findings, []);
}
