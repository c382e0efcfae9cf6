//! The backup is written down, everything burns, and a copied store opens again with the passphrase alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use claviger::store::{MemoryStore, Replacement, open_store, open_store_copy};
use claviger::{
    Advice, BackupError, BackupTextError, Blame, Engine, Fault, JobError, KeyAlgorithm, KeyError, KeystoreError,
    ObjectRef, OnboardMode, OpenEngineError, Problem, Subject, SvmId,
};
use common::stores::{HoldingStore, Write};
use common::{
    Bytes, LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE, dir_options, kek_versions, name, passphrase, verify_clean,
    versions, volume,
};
use sha2::{Digest as _, Sha256};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

type Keys = BTreeMap<(SvmId, ObjectRef), Vec<(u32, Bytes)>>;

/// Two SVMs with keys, of which one each is in rotation; one SVM without.
fn fill(engine: &Engine) -> Keys {
    let mut keys = Keys::new();
    engine.create_svm(&name("empty")).unwrap();
    for text in ["a", "b"] {
        let svm = engine.create_svm(&name(text)).unwrap().id();
        for number in 0..5 {
            engine.create_key(svm, volume(number), XTS).unwrap();
        }
        engine.begin_rotation(svm, volume(1)).unwrap();
        engine.open_all(svm, |object, key| drop(keys.insert((svm, object), versions(&key.unwrap())))).unwrap();
    }
    keys
}

fn all_open(engine: &Engine, keys: &Keys) {
    for (&(svm, object), expected) in keys {
        assert_eq!(versions(&engine.open_key(svm, object).unwrap()), *expected);
    }
}

fn restore(dir: &Path, backup: &str, secret: &[u8]) -> Result<Engine, BackupError> {
    Engine::restore(dir, backup, &passphrase(secret), dir_options())
}

#[test]
fn a_hierarchy_comes_back_from_its_backup_and_a_copied_store() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|path| dir.path().join(path));
    let engine = Engine::create(&old, &name("cluster1"), dir_options()).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase(PASSPHRASE)).unwrap();
    let keys = fill(&engine);
    let backup = engine.backup().unwrap();
    let (identity, svms) = (engine.identity(), engine.svms());
    drop(engine);

    let engine = restore(&new, &backup, PASSPHRASE).unwrap();
    assert_eq!((engine.identity(), engine.svms()), (identity, svms));
    assert_eq!(verify_clean(&engine).keys, 0);
    let copy = open_store_copy(&old.join("store"), &dir_options().store_options).unwrap();
    let import = engine.import_keys(&*copy, |_| ()).unwrap();
    assert_eq!((import.imported, import.present, import.findings), (10, 0, vec![]));
    let again = engine.import_keys(&*copy, |_| ()).unwrap();
    assert_eq!((again.imported, again.present, again.findings), (0, 10, vec![]));
    all_open(&engine, &keys);
    // It goes on: also by itself at its next start, with the sealing key of its own.
    engine.rekey_internal(keys.keys().next().unwrap().0).unwrap().wait().unwrap();
    let again = engine.import_keys(&*copy, |_| ()).unwrap();
    assert_eq!((again.imported, again.present, again.findings.len()), (0, 5, 5));
    drop(engine);
    let engine = Engine::open(&new, dir_options()).unwrap();
    all_open(&engine, &keys);
    assert_eq!(verify_clean(&engine).keys, 10);

    // A second hierarchy is not made over the first.
    assert!(matches!(restore(&old, &backup, PASSPHRASE), Err(BackupError::Open(OpenEngineError::Exists { .. }))));
    drop(engine);
    assert!(matches!(restore(&new, &backup, PASSPHRASE), Err(BackupError::Open(OpenEngineError::Exists { .. }))));
    all_open(&Engine::open(&new, dir_options()).unwrap(), &keys);
}

#[test]
fn a_backup_opens_with_the_passphrase_of_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::unattended();
    let engine = common::open(&store);
    let keys = fill(&engine);
    let before = engine.backup().unwrap();
    engine.change_passphrase(&passphrase(PASSPHRASE), &passphrase(OTHER_PASSPHRASE)).unwrap();
    let after = engine.backup().unwrap();
    for (backup, right, wrong) in [(&before, PASSPHRASE, OTHER_PASSPHRASE), (&after, OTHER_PASSPHRASE, PASSPHRASE)] {
        let place = dir.path().join(format!("{}", right.len()));
        let error = restore(&place, backup, wrong).map(drop).unwrap_err();
        assert!(matches!(error, BackupError::Text(BackupTextError::WrongPassphrase)), "{error:?}");
        assert_eq!(error.blame(), (Fault::Caller, Advice::GiveCredentials));
        assert!(!place.exists(), "nothing is made with a wrong passphrase");
        let restored = restore(&place, backup, right).unwrap();
        assert_eq!(restored.import_keys(&*store, |_| ()).unwrap().imported, 10);
        all_open(&restored, &keys);
    }
}

#[test]
fn a_backup_from_before_a_rekey_names_each_key_that_it_cannot_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::unattended();
    let engine = common::open(&store);
    let keys = fill(&engine);
    let backup = engine.backup().unwrap();
    let a = engine.svm_named("a").unwrap().id();
    engine.rekey_internal(a).unwrap().wait().unwrap();
    let late = engine.create_svm(&name("late")).unwrap().id();
    engine.create_key(late, volume(1), XTS).unwrap();

    let restored = restore(&dir.path().join("new"), &backup, PASSPHRASE).unwrap();
    let import = restored.import_keys(&*store, |_| ()).unwrap();
    assert_eq!((import.imported, import.findings.len()), (5, 6));
    for finding in import.findings {
        let Subject::Key(svm, object) = finding.record.subject() else { panic!("{finding}") };
        match finding.problem {
            Problem::MissingKek => assert!(svm == a && keys.contains_key(&(a, object))),
            Problem::Inconsistent => assert_eq!((svm, object), (late, volume(1))),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_cancelled_rekey_leaves_two_keks_and_the_backup_has_both() {
    let dir = tempfile::tempdir().unwrap();
    let store = HoldingStore::over(common::unattended());
    let engine = common::open(&store);
    let keys = fill(&engine);
    let a = engine.svm_named("a").unwrap().id();
    let pass = store.hold_before(|write| write.replaces());
    let job = engine.rekey_internal(a).unwrap();
    pass.reached();
    job.cancel();
    pass.release();
    assert!(matches!(job.wait(), Err(JobError::Cancelled { .. })));
    assert_eq!(kek_versions(&engine, a), Some((2, Some(1))));
    // One key more under the new KEK, and one whose two versions are under one each.
    let half = ObjectRef::Drive(volume(7).uuid());
    engine.create_key(a, half, XTS).unwrap();
    let mut keys = keys;
    keys.insert((a, half), versions(&engine.open_key(a, half).unwrap()));

    let restored = restore(&dir.path().join("new"), &engine.backup().unwrap(), PASSPHRASE).unwrap();
    assert_eq!(kek_versions(&restored, a), Some((2, Some(1))));
    assert_eq!(restored.import_keys(&*store, |_| ()).unwrap().imported, 11);
    all_open(&restored, &keys);
    restored.rekey_internal(a).unwrap().wait().unwrap();
    assert_eq!(kek_versions(&restored, a), Some((2, None)));
    all_open(&restored, &keys);
    verify_clean(&restored);
}

/// A blob that is imported under a KEK while a rekey drops that KEK would never open again.
#[test]
fn an_import_that_a_rekey_overtakes_loses_nothing() {
    let source = common::unattended();
    let engine = common::open(&source);
    let keys = fill(&engine);
    let a = engine.svm_named("a").unwrap().id();
    drop(engine);
    // The same hierarchy without its keys, but for one that makes the rekey possible.
    let target = Arc::new(common::copy_of(&*source));
    for &(svm, object) in keys.keys() {
        common::delete(&*target, claviger::Table::Keys, &common::store_key(svm, object));
    }
    let target: Arc<HoldingStore<MemoryStore>> = HoldingStore::over(target);
    let engine = common::open(&target);
    let of_a = move |item: &Replacement| item.key.starts_with(a.as_bytes());
    let put = target.hold_before(move |write| matches!(write, Write::ReplaceEach { items } if items.iter().all(of_a)));
    let import = thread::scope(|scope| {
        let import = scope.spawn(|| engine.import_keys(&*source, |_| ()).unwrap());
        put.reached();
        engine.rekey_internal(a).unwrap().wait().unwrap();
        put.release();
        import.join().unwrap()
    });
    // Their KEK is gone, so they are refused, and not lost: the source has them.
    assert_eq!((import.imported, import.findings.len()), (5, 5));
    assert!(import.findings.iter().all(|finding| finding.problem == Problem::MissingKek));
    verify_clean(&engine);
    assert!(matches!(engine.open_key(a, volume(1)), Err(KeyError::Missing { .. })));
}

#[test]
fn common_criteria_mode_is_restored_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::common_criteria();
    let engine = common::open(&store);
    assert!(matches!(engine.backup(), Err(BackupError::Locked)));
    engine.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    let keys = fill(&engine);
    let backup = engine.backup().unwrap();

    let restored = restore(dir.path(), &backup, LONG_PASSPHRASE).unwrap();
    restored.import_keys(&*store, |_| ()).unwrap();
    all_open(&restored, &keys);
    drop(restored);
    let restored = Engine::open(dir.path(), dir_options()).unwrap();
    let keystore = restored.keystore().unwrap();
    assert!(keystore.locked && keystore.mode == OnboardMode::CommonCriteria);
    restored.unlock(&passphrase(LONG_PASSPHRASE)).unwrap();
    all_open(&restored, &keys);
}

#[test]
fn a_restore_that_was_interrupted_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let store = common::unattended();
    let engine = common::open(&store);
    let keys = fill(&engine);
    let backup = engine.backup().unwrap();

    drop(restore(dir.path(), &backup, PASSPHRASE).unwrap());
    // All but the last commit.
    let unfinished = open_store(&dir.path().join("store"), &dir_options().store_options).unwrap();
    common::delete(&*unfinished, claviger::Table::Node, b"hierarchy");
    drop(unfinished);
    assert!(matches!(Engine::open(dir.path(), dir_options()), Err(OpenEngineError::Unfinished { .. })));
    // Not something else in its place.
    assert!(matches!(Engine::create(dir.path(), &name("x"), dir_options()), Err(OpenEngineError::Exists { .. })));
    let restored = restore(dir.path(), &backup, PASSPHRASE).unwrap();
    restored.import_keys(&*store, |_| ()).unwrap();
    all_open(&restored, &keys);
    verify_clean(&restored);
}

#[test]
fn a_hierarchy_without_a_keystore_has_no_backup() {
    let store = Arc::new(MemoryStore::default());
    let engine = Engine::create_on(store, &name("cluster1"), common::options()).unwrap();
    assert!(matches!(engine.backup(), Err(BackupError::Keystore(KeystoreError::None))));
}

/// Between the marks.
fn decode(text: &str) -> Vec<u8> {
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64.decode(base64).unwrap()
}

/// In lines of another length than ours.
fn encode(bytes: &[u8]) -> String {
    let base64 = BASE64.encode(bytes);
    let lines = base64.as_bytes().chunks(100).map(|line| std::str::from_utf8(line).unwrap());
    format!("-----BEGIN BACKUP-----\n{}\n-----END BACKUP-----\n", lines.collect::<Vec<_>>().join("\n"))
}

/// Somebody changed a field, and made the digest anew.
fn changed(text: &str, at: usize, new: &[u8]) -> String {
    let mut bytes = decode(text);
    bytes[at..at + new.len()].copy_from_slice(new);
    let signed = bytes.len() - 32;
    let digest = Sha256::digest(&bytes[..signed]);
    bytes[signed..].copy_from_slice(&digest);
    encode(&bytes)
}

#[test]
fn each_damage_of_the_text_has_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("new");
    let backup = common::open(&common::unattended()).backup().unwrap();
    let error = |text: &str| {
        let error = restore(&place, text, PASSPHRASE).map(drop).unwrap_err();
        assert!(!place.exists(), "nothing is made of a damaged backup");
        match error {
            BackupError::Text(error) => error,
            error => panic!("{error:?}"),
        }
    };
    macro_rules! shows {
        ($text:expr, $($pattern:tt)+) => {{
            let shown = error(&$text);
            assert!(matches!(shown, $($pattern)+), "{shown:?}");
        }};
    }
    let bytes = decode(&backup);

    shows!("", BackupTextError::NoMarks);
    shows!(backup.replace("BEGIN", "BEGUN"), BackupTextError::NoMarks);
    shows!(backup.replace("END", "AND"), BackupTextError::NoMarks);
    shows!(backup.replacen('\n', "\n*", 1), BackupTextError::Base64(_));
    // A line too few: the text is not cut where a backup may end.
    let lines: Vec<_> = backup.lines().collect();
    let line_less = [&lines[..3], &lines[4..]].concat().join("\n");
    shows!(line_less, BackupTextError::Damaged);
    for length in [0, 31, 32, 149] {
        shows!(encode(&bytes[..length]), BackupTextError::Truncated);
    }
    shows!(encode(&bytes[..bytes.len() - 1]), BackupTextError::Damaged);
    for at in (6..bytes.len()).step_by(37) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        shows!(encode(&flipped), BackupTextError::Damaged);
    }

    shows!(changed(&backup, 0, b"CLVX"), BackupTextError::Magic);
    shows!(changed(&backup, 4, &[2]), BackupTextError::Format { found: 2 });
    shows!(changed(&backup, 5, &[0]), BackupTextError::Suite { found: 0 });
    for iterations in [0, 599_999, 10_000_001, u32::MAX] {
        let text = changed(&backup, 6, &iterations.to_be_bytes());
        shows!(text, BackupTextError::Iterations { found } if found == iterations);
    }
    shows!(changed(&backup, 114, &1_u32.to_be_bytes()), BackupTextError::Truncated);
    // With the digest made anew, what the passphrase protects still shows the change.
    shows!(changed(&backup, 6, &600_001_u32.to_be_bytes()), BackupTextError::WrongPassphrase);
    shows!(changed(&backup, 10, &[!bytes[10]]), BackupTextError::WrongPassphrase);
    shows!(changed(&backup, 42, &[!bytes[42]]), BackupTextError::WrongPassphrase);
    shows!(changed(&backup, 74, &[!bytes[74]]), BackupTextError::Damaged);
    shows!(changed(&backup, 118, &[!bytes[118]]), BackupTextError::Body(_));
    shows!(changed(&backup, 140, &[!bytes[140]]), BackupTextError::Body(_));
}

#[test]
fn the_text_survives_mail_and_notes() {
    let dir = tempfile::tempdir().unwrap();
    let backup = common::open(&common::unattended()).backup().unwrap();
    assert!(backup.lines().all(|line| line.len() <= 64));
    let texts = [
        backup.replace('\n', "\r\n"),
        backup.lines().map(|line| format!("    {line}  \n\n")).collect(),
        format!("The key backup of cluster1, keep it safe:\n{backup}\n-- \nThe operator\n"),
        encode(&decode(&backup)),
    ];
    for (number, text) in texts.iter().enumerate() {
        restore(&dir.path().join(number.to_string()), text, PASSPHRASE).unwrap();
    }
}
