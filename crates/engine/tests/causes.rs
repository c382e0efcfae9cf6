//! What kind of thing a job failed of: the job says it, its record keeps it, and an error that is answered at once says the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use claviger::store::MemoryStore;
use claviger::store::faults::{Event, Failure, FaultClock, FaultyStore, Strike};
use claviger::{Cause, Engine, Job, JobError, JobStatus, KeyAlgorithm, Store, SvmId, SvmKeystoreError, Table};
use common::forge;
use common::stores::HoldingStore;
use common::vault::{CREDENTIALS, create, create_enabled, on_request, secret, secret_url, vault};
use common::{name, put, store_key, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// The cause with which the job fails, after it was found to be the same in its record and after a restart.
fn cause(store: &Arc<MemoryStore>, engine: Engine, job: &Job) -> Cause {
    let told = match job.wait() {
        Err(error @ JobError::Failed { .. }) => Cause::from(&error),
        other => panic!("{other:?}"),
    };
    let kept = |engine: &Engine| match engine.job(job.id()).unwrap().status {
        JobStatus::Failed { cause, .. } => cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(kept(&engine), told);
    drop(engine);
    assert_eq!(kept(&common::open(store)), told);
    told
}

/// Two SVMs with a key each.
fn two_svms() -> (Arc<MemoryStore>, [SvmId; 2]) {
    let store = common::unattended();
    let engine = common::open(&store);
    let svms = ["a", "b"].map(|text| {
        let svm = engine.create_svm(&name(text)).unwrap().id();
        engine.create_key(svm, volume(1), XTS).unwrap();
        svm
    });
    (store, svms)
}

#[test]
fn a_rekey_tells_what_is_the_matter_with_a_key() {
    let of = |damage: &dyn Fn(&MemoryStore, [SvmId; 2])| {
        let (store, svms) = two_svms();
        damage(&store, svms);
        let engine = common::open(&store);
        let job = engine.rekey_internal(svms[0]).unwrap();
        cause(&store, engine, &job)
    };
    let with = |at: usize| {
        move |store: &MemoryStore, [a, _]: [SvmId; 2]| {
            let key = store_key(a, volume(1));
            let mut blob = store.get(Table::Keys, &key).unwrap().unwrap();
            blob[at] ^= 1;
            put(store, Table::Keys, &key, &blob);
        }
    };
    // `docs/formats.md`, key blob: magic, SVM, kek_id, ciphertext.
    assert_eq!(of(&with(0)), Cause::KeyLayout);
    assert_eq!(of(&with(8)), Cause::KeyMisplaced);
    assert_eq!(of(&with(48)), Cause::KeyMisplaced);
    assert_eq!(of(&with(80)), Cause::KeyDamaged);
    let moved = |store: &MemoryStore, [a, b]: [SvmId; 2]| {
        let other = store.get(Table::Keys, &store_key(b, volume(1))).unwrap().unwrap();
        put(store, Table::Keys, &store_key(a, volume(1)), &other);
    };
    assert_eq!(of(&moved), Cause::KeyMisplaced);
}

#[test]
fn a_job_that_failed_before_causes_were_kept_is_told() {
    let (store, [svm, _]) = two_svms();
    put(&*store, Table::Keys, &store_key(svm, volume(1)), b"no blob");
    let engine = common::open(&store);
    let job = engine.rekey_internal(svm).unwrap();
    assert_eq!(cause(&store, engine, &job), Cause::KeyLayout);
    forge::change(&*store, Table::Jobs, job.id().as_bytes(), |record| {
        record["phase"]["ended"]["stop"]["failed"].as_object_mut().unwrap().remove("cause").unwrap();
    });
    let engine = common::open(&store);
    match engine.job(job.id()).unwrap().status {
        JobStatus::Failed { cause, .. } => assert_eq!(cause, Cause::Other),
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.jobs().unwrap().len(), 1);
}

#[test]
fn a_restore_tells_what_is_the_matter_with_a_kek() {
    let (store, [a, _]) = two_svms();
    forge::change(&*store, Table::Keks, a.as_bytes(), |list| {
        let bytes = list["current"]["kept"][0]["bytes"].as_str().unwrap().to_owned();
        let flipped = if bytes.starts_with('0') { "1" } else { "0" };
        list["current"]["kept"][0]["bytes"] = format!("{flipped}{}", &bytes[1..]).into();
    });
    let engine = common::open(&store);
    let job = engine.restore_keks(Some(a)).unwrap();
    assert_eq!(cause(&store, engine, &job), Cause::KekDamaged);
    // Asked for at once, it is the same.
    let refused = common::open(&store).rekey_internal(a).unwrap_err();
    assert_eq!(Cause::from(&refused), Cause::KekDamaged);
}

#[test]
fn a_job_tells_what_is_the_matter_with_its_keeper() {
    let of = |trouble: &dyn Fn(&claviger::faults::Vault)| {
        let (store, [a, _]) = two_svms();
        let vault = vault();
        let engine = Engine::open_on(store.clone(), on_request(&vault)).unwrap();
        let keystore = create(&engine, a, "A", 1).id;
        trouble(&vault);
        let job = engine.enable(keystore).unwrap();
        let probed = engine.check_keystore(keystore, |_| ()).unwrap_err();
        assert!(matches!(probed, SvmKeystoreError::Keeper(_)));
        let told = cause(&store, engine, &job);
        assert_eq!(Cause::from(&probed), told);
        told
    };
    assert_eq!(of(&|vault| vault.set_away(true)), Cause::KeeperUnreachable);
    assert_eq!(of(&|vault| vault.revoke(CREDENTIALS[0])), Cause::KeeperRefused);
    assert_eq!(of(&|vault| vault.delete(&secret(1))), Cause::KeeperRefused);
    assert_eq!(of(&|vault| vault.put(&secret(1), &[1; 31])), Cause::KeeperRefused);

    // The keeper of another place than the one that keeps the KEK.
    let (store, [a, _]) = two_svms();
    let vault = vault();
    let engine = Engine::open_on(store.clone(), on_request(&vault)).unwrap();
    let keystore = create_enabled(&engine, a, "A", 1);
    engine.migrate(a, keystore).unwrap().wait().unwrap();
    vault.delete(&secret(4));
    let job = engine.rekey_external(keystore, &secret_url(4)).unwrap();
    assert_eq!(cause(&store, engine, &job), Cause::KeeperRefused);
}

#[test]
fn a_rekey_tells_that_the_store_took_no_key() {
    let (store, [a, _]) = two_svms();
    let rekey_on = |disk: Arc<MemoryStore>, clock: FaultClock| {
        let engine = Engine::open_on(Arc::new(FaultyStore::over(disk, clock)), common::options()).unwrap();
        let job = engine.rekey_internal(a).unwrap();
        drop(job.wait());
        (engine, job)
    };
    let counting = FaultClock::counting();
    drop(rekey_on(Arc::new(common::copy_of(&*store)), counting.clone()));
    let bulk = counting.events().iter().position(|event| matches!(event, Event::ReplaceEach { .. })).unwrap();
    let clock = FaultClock::striking([(bulk, Strike::Failure(Failure::Refused))]);
    let (engine, job) = rekey_on(store.clone(), clock);
    assert_eq!(cause(&store, engine, &job), Cause::Store);
}

#[test]
fn a_wait_with_a_limit_ends_with_the_job_or_without_it() {
    let (disk, [a, _]) = two_svms();
    let store = HoldingStore::over(disk);
    let engine = common::open(&store);
    let held = store.hold_before(|write| write.replaces());
    let job = engine.rekey_internal(a).unwrap();
    held.reached();
    assert!(job.wait_timeout(Duration::ZERO).is_none());
    assert!(job.wait_timeout(Duration::from_millis(1)).is_none());
    held.release();
    let ended = job.wait_timeout(Duration::from_secs(60)).unwrap().unwrap();
    assert_eq!((ended.status, ended.progress.done), (JobStatus::Succeeded, 1));
    // It has ended, and nobody waits.
    assert!(job.wait_timeout(Duration::ZERO).unwrap().is_ok());
}
