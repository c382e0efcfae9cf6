//! Keystores of SVMs in a backup, in a copied store, and on another node.

use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    Engine, KeyMemory, KeystoreState, Options, SealingSource, Store, StoreKind, Subject, Table, Unavailable,
};

use crate::common::vault::{self, CREDENTIAL_SECRET, options_with, secret_url};
use crate::common::{self, PASSPHRASE, bytes, dir_options, passphrase, sealing_key, verify_clean, volume};
use crate::stage::{Stage, XTS};

fn keystores_key(stage: &Stage) -> Vec<u8> {
    [&[1], stage.svm.as_bytes().as_slice()].concat()
}

/// As another node has it: with a sealing key of its own.
fn elsewhere(vault: &claviger::faults::Vault) -> Options {
    Options { sealing: SealingSource::Provided(sealing_key(0x77)), ..options_with(vault) }
}

#[test]
fn keystores_and_keks_come_back_elsewhere() {
    let stage = Stage::with_keys();
    // Two KEKs, of which the older one retires still.
    let trap = stage.store.hold_before(|write| write.replaces());
    let job = stage.engine.rekey_internal(stage.svm).unwrap();
    trap.reached();
    job.cancel();
    trap.release();
    job.wait().unwrap_err();
    assert_eq!(common::kek_versions(&stage.engine, stage.svm), Some((2, Some(1))));
    let backup = stage.engine.backup().unwrap();

    let store = Arc::new(MemoryStore::default());
    let restored =
        Engine::restore_on(store.clone(), &backup, &passphrase(PASSPHRASE), elsewhere(&stage.vault)).unwrap();
    assert_eq!(restored.keystores(), stage.engine.keystores());
    assert_eq!(restored.kept_keks(stage.svm).unwrap(), stage.engine.kept_keks(stage.svm).unwrap());
    assert_eq!(restored.keystore_status(stage.own[0]).unwrap().state, Some(KeystoreState::Active));
    let import = restored.import_keys(&*stage.store.inner, |_| ()).unwrap();
    assert_eq!((import.imported, import.findings), (3, vec![]));
    drop(restored);
    // Also at its next start, with the credentials under its own sealing key.
    let restored = Engine::open_on(store.clone(), elsewhere(&stage.vault)).unwrap();
    for (number, key) in (0..).zip(&stage.keys) {
        assert_eq!(bytes(restored.open_key(stage.svm, volume(number)).unwrap().newest()), *key);
    }
    verify_clean_but_for_the_rekey(&restored);
    restored.rekey_internal(stage.svm).unwrap().wait().unwrap();
    restored.rekey_external(stage.own[0], &secret_url(3)).unwrap().wait().unwrap();
    restored.check_keystore(stage.own[1], |_| ()).unwrap();
    let raw = |store: &dyn Store| store.get(Table::Keystores, &keystores_key(&stage)).unwrap().unwrap();
    assert_ne!(raw(&*store), raw(&*stage.store.inner));
}

fn verify_clean_but_for_the_rekey(engine: &Engine) {
    let report = engine.verify(|_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

/// The job of an operation that runs stays behind, and holds nobody elsewhere.
#[test]
fn a_backup_that_is_made_while_an_operation_runs_holds_nobody() {
    let stage = Stage::with_keys();
    let trap = stage.hold_job();
    let job = stage.engine.switch(stage.svm, stage.own[1]).unwrap();
    trap.reached();
    let backup = stage.engine.backup().unwrap();
    trap.release();
    job.wait().unwrap();
    let store = Arc::new(MemoryStore::default());
    let restored = Engine::restore_on(store, &backup, &passphrase(PASSPHRASE), elsewhere(&stage.vault)).unwrap();
    assert_eq!(restored.jobs().unwrap(), []);
    assert_eq!(vault::keepers_of(&restored, stage.svm), [stage.own[0]]);
    restored.import_keys(&*stage.store.inner, |_| ()).unwrap();
    verify_clean(&restored);
    restored.migrate(stage.svm, stage.cluster()).unwrap().wait().unwrap();
    verify_clean(&restored);
}

#[test]
fn what_a_backup_says_of_credentials_opens_with_its_passphrase_alone() {
    let stage = Stage::with_keys();
    let backup = stage.engine.backup().unwrap();
    // Nothing of a credential is in the text, nor in the store.
    let contains = |haystack: &[u8]| haystack.windows(CREDENTIAL_SECRET.len()).any(|part| part == CREDENTIAL_SECRET);
    assert!(!contains(backup.as_bytes()));
    assert!(common::records(&*stage.store.inner).iter().all(|(.., value)| !contains(value)));
    let wrong = Engine::restore_on(
        Arc::new(MemoryStore::default()),
        &backup,
        &passphrase(common::OTHER_PASSPHRASE),
        elsewhere(&stage.vault),
    );
    assert!(wrong.is_err());
}

/// On a machine that does not reach the vault, the KEKs that are there are told as unchecked; those of the cluster are checked.
#[test]
fn a_backup_is_verified_offline_as_far_as_that_goes() {
    let stage = Stage::with_keys();
    let other = stage.engine.create_svm(&common::name("vs1")).unwrap().id();
    stage.engine.create_key(other, volume(0), XTS).unwrap();
    let backup = stage.engine.backup().unwrap();
    let memory = KeyMemory::Shared(common::arena());
    let report =
        Engine::verify_backup(&backup, &passphrase(PASSPHRASE), Some(&*stage.store.inner), memory, |_| ()).unwrap();
    assert_eq!((report.findings.as_slice(), report.keys, report.opened), ([].as_slice(), 4, 1));
    let [unchecked] = report.unchecked.try_into().unwrap();
    assert_eq!((unchecked.svm, unchecked.keys, unchecked.why), (stage.svm, 3, Unavailable::KeeperUnreachable));
    assert_eq!(unchecked.depends_on.subject(), Subject::SvmKeystores(stage.svm));
}

#[test]
fn a_store_is_copied_with_its_keystores() {
    let parent = tempfile::tempdir().unwrap();
    let vault = vault::vault();
    let options = || Options { keeper_faults: vault::keepers_with(&vault), ..dir_options() };
    let from = parent.path().join("from");
    let engine = Engine::create(&from, &common::name("cluster1"), options()).unwrap();
    engine.create_onboard(claviger::OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&common::name("vs0")).unwrap().id();
    let own = vault::create_enabled(&engine, svm, "A", 1);
    let key = bytes(&engine.create_key(svm, volume(0), XTS).unwrap());
    let (keystores, kept) = (engine.keystores(), engine.kept_keks(svm).unwrap());
    drop(engine);
    for kind in StoreKind::ALL {
        let to = parent.path().join(kind.to_string());
        let copy = Engine::copy_store(&from, &to, kind, options(), |_| ()).unwrap();
        assert_eq!((copy.keystores(), copy.kept_keks(svm).unwrap()), (keystores.clone(), kept.clone()));
        assert!(copy.verify(|_| ()).unwrap().is_sound());
        drop(copy);
        let engine = Engine::open(&to, options()).unwrap();
        assert_eq!(bytes(engine.open_key(svm, volume(0)).unwrap().newest()), key);
        engine.rekey_external(own, &secret_url(2)).unwrap().wait().unwrap();
        verify_clean(&engine);
        drop(engine);
        // A copy for reading fetches too, and writes nothing.
        let read = Engine::open_copy(&to, options()).unwrap();
        assert!(read.kek(svm).unwrap().unwrap().in_memory);
        assert!(read.disable(own).is_err());
    }
}
