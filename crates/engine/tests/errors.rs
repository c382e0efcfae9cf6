//! Every bad input has its own error, which says whose fault it is and what to do, and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use claviger::store::faults::Crash;
use claviger::store::{MemoryStore, OpenError};
use claviger::{
    Advice, Arena, ArenaError, ArenaOptions, Blame, Engine, Fault, InvalidSvmName, JobError, KeyAlgorithm, KeyError,
    KeyMemory, KeyRecordError, KeystoreError, NewKey, ObjectRef, OnboardMode, OpenEngineError, Options,
    PassphraseError, Protection, RecordError, RekeyError, SealingSource, Store, StoreError, StoreOptions, SvmError,
    SvmId, SvmName, Table,
};
use common::{
    LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE, bytes, chain, delete, name, passphrase, put, records, seal_key,
    store_key, verify_clean, versions, volume,
};
use uuid::Uuid;

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// An SVM with keys for volumes 1 and 2; the second one is in rotation.
fn engine() -> (Arc<MemoryStore>, Engine, SvmId) {
    let store = common::unattended();
    let engine = common::open(&store);
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    engine.create_key(svm, volume(1), XTS).unwrap();
    engine.create_key(svm, volume(2), XTS).unwrap();
    engine.begin_rotation(svm, volume(2)).unwrap();
    (store, engine, svm)
}

/// The call fails, and the store is byte for byte what it was.
#[track_caller]
fn refused<T, E: Blame>(store: &dyn Store, blame: (Fault, Advice), call: impl FnOnce() -> Result<T, E>) -> E {
    let before = records(store);
    let Err(error) = call() else { panic!("not refused") };
    assert!(records(store) == before, "something has changed: {error}");
    assert_eq!(error.blame(), blame, "{error:?}");
    assert_eq!((error.fault(), error.advice()), blame);
    assert!(!chain(&error).contains("passphrase of more than"));
    error
}

const CORRECT: (Fault, Advice) = (Fault::Caller, Advice::Correct);
const CREDENTIALS: (Fault, Advice) = (Fault::Caller, Advice::GiveCredentials);
const REPAIR: (Fault, Advice) = (Fault::Data, Advice::Repair);

macro_rules! assert_matches {
    ($value:expr, $($pattern:tt)+) => {{
        let value = &$value;
        assert!(matches!(value, $($pattern)+), "{value:?}");
    }};
}

#[test]
fn an_unknown_svm() {
    let (store, engine, _) = engine();
    let nobody = SvmId::from(Uuid::new_v4());
    let key = |error: KeyError| matches!(error, KeyError::UnknownSvm { svm } if svm == nobody);
    let new = NewKey { object: volume(1), algorithm: XTS };
    assert!(key(refused(&*store, CORRECT, || engine.create_key(nobody, volume(1), XTS))));
    assert!(key(refused(&*store, CORRECT, || engine.create_keys(nobody, &[new]))));
    assert!(key(refused(&*store, CORRECT, || engine.open_key(nobody, volume(1)))));
    assert!(key(refused(&*store, CORRECT, || engine.open_all(nobody, |_, _| ()))));
    assert!(key(refused(&*store, CORRECT, || engine.key(nobody, volume(1)))));
    assert!(key(refused(&*store, CORRECT, || engine.list_keys(nobody, None, 1))));
    assert!(key(refused(&*store, CORRECT, || engine.count_keys(nobody))));
    assert!(key(refused(&*store, CORRECT, || engine.delete_key(nobody, volume(1)))));
    assert!(key(refused(&*store, CORRECT, || engine.begin_rotation(nobody, volume(1)))));
    assert!(key(refused(&*store, CORRECT, || engine.finish_rotation(nobody, volume(1)))));
    assert!(key(refused(&*store, CORRECT, || engine.kek(nobody))));
    assert_matches!(
        refused(&*store, CORRECT, || engine.rekey_internal(nobody)),
        RekeyError::Key(KeyError::UnknownSvm { .. })
    );
    assert_matches!(refused(&*store, CORRECT, || engine.svm(nobody)), SvmError::Unknown { .. });
    assert_matches!(refused(&*store, CORRECT, || engine.svm_named("nobody")), SvmError::UnknownName { name } if name == "nobody");
    assert_matches!(refused(&*store, CORRECT, || engine.delete_svm(nobody)), SvmError::Unknown { .. });
    assert_matches!(refused(&*store, CORRECT, || engine.rename_svm(nobody, &name("x"))), SvmError::Unknown { .. });
}

#[test]
fn an_svm_that_is_there_has_keys_or_must_stay() {
    let (store, engine, svm) = engine();
    let taken = |error: SvmError| matches!(error, SvmError::NameTaken { name } if name.as_str() == "vs0");
    assert!(taken(refused(&*store, CORRECT, || engine.create_svm(&name("vs0")))));
    let other = engine.create_svm(&name("vs1")).unwrap().id();
    assert!(taken(refused(&*store, CORRECT, || engine.rename_svm(other, &name("vs0")))));
    assert_matches!(refused(&*store, CORRECT, || engine.delete_svm(svm)), SvmError::HasKeys { .. });
    let admin = engine.svms()[0].id();
    assert_matches!(refused(&*store, CORRECT, || engine.delete_svm(admin)), SvmError::Admin);
    assert_matches!(refused(&*store, CORRECT, || engine.rekey_internal(other)), RekeyError::NoKeys { .. });
    let no_keys = refused(&*store, CORRECT, || engine.rekey_internal(other)).to_string();
    assert!(no_keys.starts_with("no volumes created yet"), "{no_keys}");
    // What needs no KEK makes none.
    refused(&*store, CORRECT, || engine.begin_rotation(other, volume(1)));
    refused(&*store, CORRECT, || engine.finish_rotation(other, volume(1)));
    assert_eq!(engine.kek(other).unwrap(), None);
}

#[test]
fn names_that_are_none() {
    let long = "a".repeat(SvmName::MAX_LEN);
    for good in ["a", "_", "A.b-c_9", &long] {
        assert_eq!(name(good).as_str(), good);
    }
    for bad in ["", "9a", "-a", ".a", "a b", "a/b", "ä", "a\n", &format!("{long}a")] {
        assert_eq!(bad.parse::<SvmName>(), Err(InvalidSvmName), "{bad:?}");
    }
}

#[test]
fn a_key_that_is_there_or_is_not() {
    let (store, engine, svm) = engine();
    let exists = refused(&*store, CORRECT, || engine.create_key(svm, volume(1), XTS));
    assert_matches!(exists, KeyError::Exists { object } if *object == volume(1));
    let missing = |error: KeyError| matches!(error, KeyError::Missing { object } if object == volume(9));
    assert!(missing(refused(&*store, CORRECT, || engine.open_key(svm, volume(9)))));
    assert!(missing(refused(&*store, CORRECT, || engine.key(svm, volume(9)))));
    assert!(missing(refused(&*store, CORRECT, || engine.delete_key(svm, volume(9)))));
    assert!(missing(refused(&*store, CORRECT, || engine.begin_rotation(svm, volume(9)))));
    assert!(missing(refused(&*store, CORRECT, || engine.finish_rotation(svm, volume(9)))));
    // Of another type, it is another object.
    let aggregate = ObjectRef::Aggregate(volume(1).uuid());
    assert_matches!(refused(&*store, CORRECT, || engine.open_key(svm, aggregate)), KeyError::Missing { .. });
    assert_matches!(refused(&*store, CORRECT, || engine.begin_rotation(svm, volume(2))), KeyError::Rotating { .. });
    assert_matches!(refused(&*store, CORRECT, || engine.finish_rotation(svm, volume(1))), KeyError::NotRotating { .. });
}

#[test]
fn a_job_that_is_unknown_or_has_ended() {
    let (store, engine, svm) = engine();
    let job = engine.rekey_internal(svm).unwrap();
    job.wait().unwrap();
    let ended = |error: JobError| matches!(error, JobError::Ended { job: named } if named == job.id());
    assert!(ended(refused(&*store, CORRECT, || engine.cancel_job(job.id()))));
    assert!(ended(refused(&*store, CORRECT, || engine.resume_job(job.id()))));
    for unknown in [Uuid::nil(), Uuid::new_v4()] {
        assert_matches!(refused(&*store, CORRECT, || engine.job(unknown)), JobError::Unknown { .. });
        assert_matches!(refused(&*store, CORRECT, || engine.cancel_job(unknown)), JobError::Unknown { .. });
        assert_matches!(refused(&*store, CORRECT, || engine.resume_job(unknown)), JobError::Unknown { .. });
    }
}

#[test]
fn a_blob_that_is_truncated_or_of_another_place() {
    let (store, engine, svm) = engine();
    let other = engine.create_svm(&name("vs1")).unwrap().id();
    engine.create_key(other, volume(1), XTS).unwrap();
    let key = store_key(svm, volume(1));
    let blob = store.get(Table::Keys, &key).unwrap().unwrap();

    let layout = |error| match error {
        KeyError::Layout { object, source } if object == volume(1) => source,
        error => panic!("{error:?}"),
    };
    for length in [0, 4, 63, 76, blob.len() - 1] {
        put(&*store, Table::Keys, &key, &blob[..length]);
        let source = layout(refused(&*store, REPAIR, || engine.open_key(svm, volume(1))));
        assert_matches!(source, KeyRecordError::Blob(_));
        layout(refused(&*store, REPAIR, || engine.begin_rotation(svm, volume(1))));
    }
    put(&*store, Table::Keys, &key, &[blob.as_slice(), &[0]].concat());
    assert_matches!(layout(refused(&*store, REPAIR, || engine.open_key(svm, volume(1)))), KeyRecordError::Blob(_));
    // The same blob twice is not a rotation.
    put(&*store, Table::Keys, &key, &[blob.as_slice(), &blob].concat());
    assert_matches!(layout(refused(&*store, REPAIR, || engine.open_key(svm, volume(1)))), KeyRecordError::Versions);

    let aggregate = ObjectRef::Aggregate(volume(1).uuid());
    for (in_svm, object) in [(svm, volume(7)), (svm, aggregate), (other, volume(1))] {
        put(&*store, Table::Keys, &store_key(in_svm, object), &blob);
        let error = refused(&*store, REPAIR, || engine.open_key(in_svm, object));
        assert_matches!(error, KeyError::Layout { source: KeyRecordError::OtherPlace { .. }, .. });
    }
    put(&*store, Table::Keys, &key, &blob);
    engine.open_key(svm, volume(1)).unwrap();
}

#[test]
fn a_kek_that_is_missing() {
    let (store, engine, svm) = engine();
    let old = store.get(Table::Keys, &store_key(svm, volume(1))).unwrap().unwrap();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    // A blob from before the rekey comes back, as out of an old copy.
    put(&*store, Table::Keys, &store_key(svm, volume(1)), &old);
    let error = refused(&*store, REPAIR, || engine.open_key(svm, volume(1)));
    assert_matches!(error, KeyError::NoSuchKek { version, .. } if version.get() == 1);
    assert_matches!(refused(&*store, REPAIR, || engine.begin_rotation(svm, volume(1))), KeyError::NoSuchKek { .. });
    drop(engine);

    // The whole KEK record is lost. A new one beside keys would be in the way when it comes back.
    let list = store.get(Table::Keks, svm.as_bytes()).unwrap().unwrap();
    delete(&*store, Table::Keks, svm.as_bytes());
    let engine = common::open(&store);
    let no_kek = |error| matches!(error, KeyError::NoKek { .. });
    assert!(no_kek(refused(&*store, REPAIR, || engine.open_key(svm, volume(2)))));
    assert!(no_kek(refused(&*store, REPAIR, || engine.create_key(svm, volume(3), XTS))));
    assert!(no_kek(refused(&*store, REPAIR, || engine.begin_rotation(svm, volume(2)))));
    assert_matches!(refused(&*store, CORRECT, || engine.delete_svm(svm)), SvmError::HasKeys { .. });
    drop(engine);
    put(&*store, Table::Keks, svm.as_bytes(), &list);
    common::open(&store).open_key(svm, volume(2)).unwrap();
}

#[test]
fn a_passphrase_that_is_wrong_or_of_the_wrong_form() {
    let (store, engine, _) = engine();
    for bad in ["ä passphrase of more than thirty-two characters".as_bytes(), &[b'a'; 31][..30], b"a tab\tin it"] {
        let made = engine.passphrase(bad);
        match bad.len() {
            30 => assert!(made.is_ok(), "one that only opens something may be of any length"),
            _ => assert_matches!(made, Err(PassphraseError::NotAscii)),
        }
    }
    for length in [0, 257] {
        assert_matches!(engine.passphrase(&vec![b'a'; length]), Err(PassphraseError::Length { found, .. }) if *found == length);
    }
    let wrong = refused(&*store, CREDENTIALS, || engine.unlock(&passphrase(OTHER_PASSPHRASE)));
    assert_matches!(wrong, KeystoreError::WrongPassphrase);
    engine.unlock(&passphrase(PASSPHRASE)).unwrap();
    let exists = || engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE));
    assert_matches!(refused(&*store, CORRECT, exists), KeystoreError::Exists);

    let store = Arc::new(MemoryStore::default());
    let engine = Engine::create_on(store.clone(), &name("cluster1"), common::options()).unwrap();
    for (mode, length, least) in [(OnboardMode::Unattended, 31, 32), (OnboardMode::CommonCriteria, 63, 64)] {
        let short = || engine.create_onboard(mode, &passphrase(&vec![b'a'; length]));
        let error = refused(&*store, CORRECT, short);
        assert_matches!(error, KeystoreError::Passphrase(PassphraseError::Length { found, min, max: 256 }) if (*found, *min) == (length, least));
    }
    let svm = engine.svms()[0].id();
    assert_matches!(refused(&*store, CORRECT, || engine.create_key(svm, volume(1), XTS)), KeyError::NoKeystore);
    let any = passphrase(PASSPHRASE);
    assert_matches!(refused(&*store, CORRECT, || engine.unlock(&any)), KeystoreError::None);
    assert_matches!(refused(&*store, CORRECT, || engine.change_passphrase(&any, &any)), KeystoreError::None);
}

/// The existing passphrase first, then that the new one differs, then its length.
#[test]
fn a_change_of_the_passphrase_is_checked_in_order() {
    let (store, engine, svm) = engine();
    let [right, other, short] = [PASSPHRASE, OTHER_PASSPHRASE, b"too short"].map(passphrase);
    let change = |existing, new| move |engine: &Engine| engine.change_passphrase(existing, new);
    for new in [&short, &other, &right] {
        let error = refused(&*store, CREDENTIALS, || change(&other, new)(&engine));
        assert_matches!(error, KeystoreError::WrongPassphrase);
    }
    assert_matches!(refused(&*store, CREDENTIALS, || change(&short, &short)(&engine)), KeystoreError::WrongPassphrase);
    assert_matches!(refused(&*store, CORRECT, || change(&right, &right)(&engine)), KeystoreError::SamePassphrase);
    let error = refused(&*store, CORRECT, || change(&right, &short)(&engine));
    assert_matches!(error, KeystoreError::Passphrase(PassphraseError::Length { found: 9, min: 32, max: 256 }));

    let key = bytes(engine.open_key(svm, volume(1)).unwrap().newest());
    engine.change_passphrase(&right, &other).unwrap();
    assert_matches!(refused(&*store, CREDENTIALS, || engine.unlock(&right)), KeystoreError::WrongPassphrase);
    engine.unlock(&other).unwrap();
    drop(engine);
    let engine = common::open(&store);
    assert_eq!(bytes(engine.open_key(svm, volume(1)).unwrap().newest()), key);
    engine.unlock(&other).unwrap();
}

#[test]
fn common_criteria_mode_opens_with_the_passphrase() {
    let store = common::common_criteria();
    let engine = common::open(&store);
    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let key = bytes(&engine.create_key(svm, volume(1), XTS).unwrap());
    drop(engine);

    let engine = common::open(&store);
    let keystore = engine.keystore().unwrap();
    assert!(keystore.locked && keystore.mode == OnboardMode::CommonCriteria);
    assert!(!engine.kek(svm).unwrap().unwrap().in_memory);
    let locked = |error: KeyError| matches!(error, KeyError::Locked { svm: named } if named == svm);
    assert!(locked(refused(&*store, CREDENTIALS, || engine.open_key(svm, volume(1)))));
    assert!(locked(refused(&*store, CREDENTIALS, || engine.create_key(svm, volume(2), XTS))));
    assert!(locked(refused(&*store, CREDENTIALS, || engine.begin_rotation(svm, volume(1)))));
    assert_matches!(
        refused(&*store, CREDENTIALS, || engine.rekey_internal(svm)),
        RekeyError::Key(KeyError::Locked { .. })
    );
    assert_matches!(refused(&*store, CREDENTIALS, || engine.backup()), claviger::BackupError::Locked);
    let other = engine.create_svm(&name("vs1")).unwrap().id();
    assert_matches!(
        refused(&*store, CREDENTIALS, || engine.create_key(other, volume(1), XTS)),
        KeyError::KeystoreLocked
    );
    let report = engine.verify(|_| ()).unwrap();
    assert_eq!((report.findings, report.unchecked.len(), report.keys), (vec![], 1, 1));
    let unchecked = &report.unchecked[0];
    assert_eq!((unchecked.svm, unchecked.keys, unchecked.why), (svm, 1, claviger::Unavailable::Locked));

    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    assert_eq!(bytes(engine.open_key(svm, volume(1)).unwrap().newest()), key);
    engine.create_key(other, volume(1), XTS).unwrap();
    verify_clean(&engine);
    // What is short for this mode is refused.
    let short = engine.change_passphrase(&passphrase(LONG_PASSPHRASE), &passphrase(PASSPHRASE));
    assert_matches!(short, Err(KeystoreError::Passphrase(PassphraseError::Length { min: 64, .. })));
}

#[test]
fn a_wrong_passphrase_costs_a_wait_also_when_the_process_dies_over_it() {
    let disk = common::common_criteria();
    // The process dies when the count is written, before the passphrase is tried.
    let engine = common::open(&common::dying(&disk, Crash::After, 0));
    assert_matches!(engine.unlock(&passphrase(OTHER_PASSPHRASE)), Err(KeystoreError::Records(_)));
    drop(engine);
    let engine = common::open(&disk);
    let too_soon = refused(&*disk, (Fault::Caller, Advice::Retry), || engine.unlock(&passphrase(LONG_PASSPHRASE)));
    assert_matches!(too_soon, KeystoreError::TooSoon { .. });
}

#[test]
fn a_rekey_that_waits_for_the_passphrase_goes_on_with_it() {
    let disk = common::common_criteria();
    let engine = common::open(&disk);
    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let key = bytes(&engine.create_key(svm, volume(1), XTS).unwrap());
    drop(engine);
    // Unlocking writes twice, asking for the rekey once, and making the new KEK once more.
    let engine = common::open(&common::dying(&disk, Crash::Before, 4));
    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    let job = engine.rekey_internal(svm).unwrap();
    assert_matches!(job.wait(), Err(JobError::Interrupted { .. }));
    drop(engine);

    let engine = common::open(&disk);
    assert_matches!(refused(&*disk, CREDENTIALS, || engine.resume_job(job.id())), JobError::Locked { .. });
    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    match engine.resume_job(job.id()) {
        Ok(running) => drop(running.wait().unwrap()),
        Err(error) => assert_matches!(error, JobError::Ended { .. }),
    }
    assert_eq!(common::kek_versions(&engine, svm), Some((2, None)));
    assert_eq!(bytes(engine.open_key(svm, volume(1)).unwrap().newest()), key);
}

#[test]
fn an_arena_that_is_full() {
    let (store, made, svm) = engine();
    drop(made);
    let options = || {
        let arena = Arena::new(&ArenaOptions { keys: 24, states: 24, accept: Protection::Unlocked }).unwrap();
        // One slab, and no weaker one behind it.
        let only = ArenaOptions { keys: 24, states: 24, accept: arena.protection() };
        Options { memory: KeyMemory::Own(only), ..common::options() }
    };
    let engine = Engine::open_on(store.clone(), options()).unwrap();
    let mut held = Vec::new();
    let full = loop {
        match engine.open_key(svm, volume(1)) {
            Ok(key) => held.push(key),
            Err(error) => break error,
        }
    };
    let make_room = (Fault::Node, Advice::MakeRoom);
    assert_matches!(full, KeyError::Arena(ArenaError::Full { .. }));
    assert_eq!(full.blame(), make_room);
    let is_full = |error: KeyError| matches!(error, KeyError::Arena(ArenaError::Full { .. }));
    assert!(is_full(refused(&*store, make_room, || engine.create_key(svm, volume(3), XTS))));
    assert!(is_full(refused(&*store, make_room, || engine.finish_rotation(svm, volume(2)))));
    let usage = engine.memory();
    assert_eq!(usage.keys.used, usage.keys.capacity);

    // A rekey that finds no room fails, loses nothing, and goes on when it is asked for again.
    let failed = engine.rekey_internal(svm).unwrap().wait();
    assert_matches!(failed, Err(JobError::Failed { .. }));
    drop(held);
    engine.create_key(svm, volume(3), XTS).unwrap();
    engine.rekey_internal(svm).unwrap().wait().unwrap();
    assert_eq!(verify_clean(&engine).keys, 3);
    drop(engine);

    // Full at start: the KEKs do not come into memory, and the error says why.
    let arena = Arena::new(&ArenaOptions { keys: 64, states: 64, accept: Protection::Unlocked }).unwrap();
    let mut held: Vec<_> = std::iter::from_fn(|| arena.build(|| [0_u8; 1_000]).ok()).collect();
    let mut lacking = 0;
    while held.pop().is_some() {
        let options = Options { memory: KeyMemory::Shared(arena.clone()), ..common::options() };
        let Ok(engine) = Engine::open_on(store.clone(), options) else { continue };
        match engine.open_key(svm, volume(1)) {
            Ok(_) => break,
            Err(error) => {
                assert_matches!(
                    error,
                    KeyError::KekWithoutRoom { .. } | KeyError::Locked { .. } | KeyError::NoKeystore
                );
                lacking += u32::from(matches!(error, KeyError::KekWithoutRoom { .. }));
            }
        }
    }
    assert!(lacking > 0);
}

#[test]
fn a_sealing_key_that_is_missing_exposed_malformed_or_another_stores() {
    let dir = tempfile::tempdir().unwrap();
    let [here, there] = ["here", "there"].map(|path| dir.path().join(path));
    for path in [&here, &there] {
        drop(Engine::create(path, &name("cluster1"), common::dir_options()).unwrap());
    }
    let key = here.join("sealing.key");
    let bytes = fs::read(&key).unwrap();
    assert_eq!((bytes.len(), &bytes[..5]), (37, b"CLVK\x01".as_slice()));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let open = || Engine::open(&here, common::dir_options()).map(drop);
    let refused = |blame: (Fault, Advice)| {
        let error = open().unwrap_err();
        assert_eq!(error.blame(), blame, "{error:?}");
        error
    };

    for mode in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        assert_matches!(refused(CORRECT), OpenEngineError::SealingKeyExposed { mode: found, .. } if *found == mode);
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for malformed in
        [&bytes[..36], &[bytes.as_slice(), &[0]].concat(), b"CLVK\x02", &[&b"CLVX"[..], &bytes[4..]].concat()]
    {
        fs::write(&key, malformed).unwrap();
        assert_matches!(refused(REPAIR), OpenEngineError::SealingKeyFormat { .. });
    }
    fs::remove_file(&key).unwrap();
    assert_matches!(refused(REPAIR), OpenEngineError::SealingKeyFile { .. });
    fs::copy(there.join("sealing.key"), &key).unwrap();
    assert_matches!(refused(CREDENTIALS), OpenEngineError::OtherSealingKey);
    fs::write(&key, bytes).unwrap();
    open().unwrap();

    let on_memory = Options { sealing: SealingSource::BesideStore, ..common::options() };
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::default());
    assert_matches!(
        Engine::create_on(memory, &name("cluster1"), on_memory).map(drop),
        Err(OpenEngineError::NoSealingKey)
    );
    let other = Options { sealing: SealingSource::Provided(common::sealing_key(0x11)), ..common::options() };
    let other = Engine::open_on(common::unattended(), other).map(drop);
    assert_matches!(other, Err(OpenEngineError::OtherSealingKey));
}

#[test]
fn a_store_that_is_missing_there_already_locked_or_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hierarchy");
    let open = || Engine::open(&path, common::dir_options()).map(drop);
    assert_matches!(open(), Err(OpenEngineError::Store(OpenError::Missing { .. })));

    let engine = Engine::create(&path, &name("cluster1"), common::dir_options()).unwrap();
    let locked = open().unwrap_err();
    assert_matches!(locked, OpenEngineError::Store(OpenError::Locked { pid: Some(pid), .. }) if *pid == std::process::id());
    assert_eq!(locked.blame(), (Fault::Node, Advice::Retry));
    drop(engine);
    open().unwrap();
    let again = Engine::create(&path, &name("cluster2"), common::dir_options()).map(drop).unwrap_err();
    assert_matches!(again, OpenEngineError::Exists { dir: Some(dir) } if *dir == path);
    assert_eq!(again.blame(), CORRECT);

    let log = path.join("store/sled/db");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, vec![0xa5; whole.len()]).unwrap();
    let damaged = open().unwrap_err();
    assert_matches!(damaged, OpenEngineError::Store(OpenError::Damaged { .. }));
    assert_eq!(damaged.blame(), REPAIR);
}

#[test]
fn a_hierarchy_that_was_never_made() {
    let empty = Arc::new(MemoryStore::default());
    assert_matches!(
        Engine::open_on(empty, common::options()).map(drop),
        Err(OpenEngineError::Unfinished { dir: None })
    );
    // One whose first record is lost is not made anew over what is left.
    let (store, engine, svm) = engine();
    drop(engine);
    let node = store.get(Table::Node, b"hierarchy").unwrap().unwrap();
    delete(&*store, Table::Node, b"hierarchy");
    assert_matches!(
        Engine::open_on(store.clone(), common::options()).map(drop),
        Err(OpenEngineError::Unfinished { .. })
    );
    let anew =
        refused(&*store, CORRECT, || Engine::create_on(store.clone(), &name("other"), common::options()).map(drop));
    assert_matches!(anew, OpenEngineError::Exists { .. });
    put(&*store, Table::Node, b"hierarchy", &node);
    common::open(&store).open_key(svm, volume(1)).unwrap();
}

#[test]
fn a_disk_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::create(dir.path(), &name("cluster1"), common::dir_options()).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let key = bytes(&engine.create_key(svm, volume(1), XTS).unwrap());
    engine.create_key(svm, volume(2), XTS).unwrap();
    drop(engine);

    let store_options = StoreOptions { reserve_bytes: u64::MAX, ..common::dir_options().store_options };
    let engine = Engine::open(dir.path(), Options { store_options, ..common::dir_options() }).unwrap();
    let full = |error: &RecordError| matches!(error, RecordError::Store(StoreError::DiskFull { .. }));
    let make_room = (Fault::Node, Advice::MakeRoom);
    let created = engine.create_key(svm, volume(3), XTS).unwrap_err();
    assert_eq!(created.blame(), make_room);
    assert_matches!(created, KeyError::Records(error) if full(error));
    assert_matches!(engine.begin_rotation(svm, volume(1)), Err(KeyError::Records(error)) if full(error));
    assert_matches!(engine.create_svm(&name("vs1")), Err(SvmError::Records(error)) if full(error));
    assert_matches!(engine.rekey_internal(svm), Err(RekeyError::Records(error)) if full(error));
    let (right, other) = (passphrase(PASSPHRASE), passphrase(OTHER_PASSPHRASE));
    assert_matches!(engine.change_passphrase(&right, &other), Err(KeystoreError::Records(error)) if full(error));
    // Reading goes on, and what makes room is allowed.
    assert_eq!(versions(&engine.open_key(svm, volume(1)).unwrap()), [(1, key)]);
    engine.delete_key(svm, volume(2)).unwrap();
    drop(engine);

    let engine = Engine::open(dir.path(), common::dir_options()).unwrap();
    engine.unlock(&right).unwrap();
    engine.create_key(svm, volume(3), XTS).unwrap();
    assert_eq!(verify_clean(&engine).keys, 2);
}

#[test]
fn a_copy_that_is_for_reading_only() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::create(dir.path(), &name("cluster1"), common::dir_options()).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
    let svm = engine.create_svm(&name("vs0")).unwrap().id();
    let key = bytes(&engine.create_key(svm, volume(1), XTS).unwrap());
    drop(engine);
    let copy = Engine::open_copy(dir.path(), common::dir_options()).unwrap();
    assert_eq!(versions(&copy.open_key(svm, volume(1)).unwrap()), [(1, key)]);
    verify_clean(&copy);
    let error = copy.create_key(svm, volume(2), XTS).unwrap_err();
    assert_eq!(error.blame(), CORRECT);
    assert_matches!(error, KeyError::Records(RecordError::Store(StoreError::ReadOnly)));
    // The original is free meanwhile.
    Engine::open(dir.path(), common::dir_options()).unwrap().create_key(svm, volume(2), XTS).unwrap();
}

#[test]
fn a_count_of_seals_that_is_missing() {
    let (store, engine, svm) = engine();
    drop(engine);
    delete(&*store, Table::Keks, &seal_key(svm, 1));
    let engine = common::open(&store);
    engine.open_key(svm, volume(1)).unwrap();
    assert_eq!(engine.verify(|_| ()).unwrap().findings.len(), 1);
    // Half of the safe seals are taken for used, and a new count is begun.
    engine.create_key(svm, volume(3), XTS).unwrap();
    verify_clean(&engine);
}
