//! Records that are lost or put back, and operations that meet each other half-way: nobody ends in a state without a way out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use claviger::store::{Batch, Entry, Expectation, MemoryStore, Outcome, Replacement};
use claviger::{
    Advice, Blame as _, Engine, Fault, JobStatus, KeyAlgorithm, KeyError, KeystoreError, OnboardMode, OpenEngineError,
    Options, Store, StoreError, SvmError, SvmId, Table,
};
use common::stores::HoldingStore;
use common::{PASSPHRASE, dir_options, kek_versions, name, options, passphrase, seal_key, store_key, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// A hierarchy with an SVM and four keys.
fn with_keys<S: Store + 'static>(store: &Arc<S>) -> (Engine, SvmId) {
    let engine = Engine::open_on(store.clone(), Options { resume_jobs: false, ..options() }).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    for number in 0..4 {
        engine.create_key(svm, volume(number), XTS).unwrap();
    }
    (engine, svm)
}

#[test]
fn no_second_keystore_is_made_beside_the_keks_of_one_that_is_lost() {
    let store = common::unattended();
    let (engine, svm) = with_keys(&store);
    drop(engine);
    let keystore = store.scan(Table::Keystores, &[], None, 10).unwrap().remove(0);
    common::delete(&*store, Table::Keystores, &keystore.key);

    let engine = common::open(&store);
    let error = engine.open_key(svm, volume(1)).unwrap_err();
    assert!(matches!(error, KeyError::KeystoreLost { .. }), "{error:?}");
    assert_eq!(error.blame(), (Fault::Data, Advice::Repair));
    let refused = engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE));
    assert!(matches!(refused, Err(KeystoreError::Lost)), "{refused:?}");
    drop(engine);

    common::put(&*store, Table::Keystores, &keystore.key, &keystore.value);
    common::open(&store).open_key(svm, volume(1)).unwrap();
}

#[test]
fn a_backup_holds_the_keks_of_an_svm_whose_own_record_is_lost() {
    let store = common::unattended();
    let (engine, svm) = with_keys(&store);
    drop(engine);
    common::delete(&*store, Table::Svms, &[&[0], svm.as_bytes().as_slice()].concat());
    let engine = common::open(&store);
    let key = engine.open_key(svm, volume(1)).unwrap();
    let backup = engine.backup().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let restored = Engine::restore(&dir.path().join("new"), &backup, &passphrase(PASSPHRASE), dir_options()).unwrap();
    let import = restored.import_keys(&*store, |_| ()).unwrap();
    assert_eq!((import.imported, import.findings), (4, Vec::new()));
    assert!(restored.open_key(svm, volume(1)).unwrap().newest().ct_eq(key.newest()));
}

/// A rekey that was cancelled after its new KEK was made: keys are under the old one.
fn half_rekeyed() -> (Arc<MemoryStore>, SvmId) {
    let memory = common::unattended();
    let store = HoldingStore::over(memory.clone());
    let (engine, svm) = with_keys(&store);
    let old = memory.get(Table::Keys, &store_key(svm, volume(0))).unwrap().unwrap();
    let held = store.hold_before(|write| write.replaces());
    let job = engine.rekey_internal(svm).unwrap();
    held.reached();
    job.cancel();
    held.release();
    assert!(job.wait().is_err());
    common::put(&*memory, Table::Keys, &store_key(svm, volume(0)), &old);
    assert_eq!(kek_versions(&engine, svm), Some((2, Some(1))));
    (memory, svm)
}

#[test]
fn a_rekey_ends_though_the_seal_count_of_its_new_kek_is_lost() {
    let (store, svm) = half_rekeyed();
    common::delete(&*store, Table::Keks, &seal_key(svm, 2));
    let engine = common::open(&store);
    engine.create_key(svm, volume(100), XTS).unwrap();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    assert_eq!(kek_versions(&engine, svm), Some((2, None)));
    common::verify_clean(&engine);
}

#[test]
fn a_list_that_names_an_ended_job_keeps_nobody_from_a_rekey() {
    let memory = common::unattended();
    let store = HoldingStore::over(memory.clone());
    let (engine, svm) = with_keys(&store);
    let held = store.hold_before(|write| write.replaces());
    let job = engine.rekey_internal(svm).unwrap();
    held.reached();
    let list = memory.get(Table::Keks, svm.as_bytes()).unwrap().unwrap();
    job.cancel();
    held.release();
    assert!(job.wait().is_err());
    drop(engine);

    // The list comes back from a copy that was made while the job ran.
    common::put(&*memory, Table::Keks, svm.as_bytes(), &list);
    let engine = common::open(&memory);
    assert_eq!(engine.job(job.id()).unwrap().status, JobStatus::Cancelled);
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    assert_eq!(kek_versions(&engine, svm), Some((2, None)));
    common::verify_clean(&engine);
}

#[test]
fn an_svm_that_is_renamed_during_its_deletion_is_deleted() {
    let store = HoldingStore::over(common::unattended());
    let (engine, svm) = with_keys(&store);
    for number in 0..4 {
        engine.delete_key(svm, volume(number)).unwrap();
    }
    let list = svm.as_bytes().to_vec();
    let held = store.hold_before(move |write| write.deletes(Table::Keks, &list));
    thread::scope(|scope| {
        let deleting = scope.spawn(|| engine.delete_svm(svm));
        held.reached();
        engine.rename_svm(svm, &name("vs1")).unwrap();
        held.release();
        deleting.join().unwrap().unwrap();
    });
    assert!(matches!(engine.svm(svm), Err(SvmError::Unknown { .. })));
    engine.create_svm(&name("vs0")).unwrap();
    engine.create_svm(&name("vs1")).unwrap();
    common::verify_clean(&engine);
}

/// A store that applies the first commit to the table `keks` and loses the answer.
struct LosesAnAnswer {
    inner: Arc<MemoryStore>,
    lost: AtomicBool,
}

impl Store for LosesAnAnswer {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let changes = batch.clone().into_operations()?.changes;
        self.inner.commit(batch)?;
        let about_keks = changes.iter().any(|change| matches!(change.place(), (Table::Keks, _)));
        match about_keks && !self.lost.swap(true, Ordering::SeqCst) {
            true => Err(StoreError::Io(std::io::Error::other("the answer is lost"))),
            false => Ok(()),
        }
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.inner.replace_each(table, items, guard)
    }
}

#[test]
fn a_first_kek_whose_commit_was_not_answered_is_used() {
    let store = Arc::new(LosesAnAnswer { inner: common::unattended(), lost: AtomicBool::new(false) });
    let engine = common::open(&store);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    assert!(matches!(engine.create_key(svm, volume(1), XTS), Err(KeyError::Records(_))));
    engine.create_key(svm, volume(1), XTS).unwrap();
    assert_eq!(kek_versions(&engine, svm), Some((1, None)));
    common::verify_clean(&engine);
}

#[test]
fn a_hierarchy_is_made_in_an_empty_directory_only() {
    let dir = tempfile::tempdir().unwrap();
    for stranger in ["sealing.key", "letters.txt"] {
        let path = dir.path().join(stranger.replace('.', "-"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(stranger), b"").unwrap();
        let refused = Engine::create(&path, &name("cluster1"), dir_options()).map(drop);
        assert!(matches!(refused, Err(OpenEngineError::NotEmpty { .. })), "{refused:?}");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    }
}
