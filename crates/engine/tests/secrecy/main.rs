//! Nothing that the engine says, logs or keeps holds a byte of a secret: a run through all operations and errors, at the
//! most talkative level, and everything public printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod log;
mod objects;
mod own;
mod types;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::store::faults::{Crash, FaultClock, FaultyStore, Strike};
use claviger::{
    AnchorSource, ArenaOptions, Engine, KeyAlgorithm, KeyMemory, NewKey, ObjectRef, OnboardMode, OpenKey, Options,
    Passphrase, Protection, RedbStore, SealingSource, SledStore, StoreKind, SvmId, SvmName, Table,
};
use claviger_tests::heard::Heard;
use claviger_tests::secrets::Secrets;
use common::stores::HoldingStore;
use common::{copy_of, dir_options, name, put, records, volume};

const XTS: KeyAlgorithm = KeyAlgorithm::XtsAes256;

/// Of random letters, as no other text has them.
fn random_text(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    claviger_wrap::fill(&mut claviger_wrap::SystemRandom, &mut bytes).unwrap();
    bytes.iter().map(|byte| b'a' + byte % 26).collect()
}

fn passphrase(bytes: &[u8]) -> Passphrase {
    common::passphrase(bytes)
}

/// What the run has said, and the secrets that it must not have said.
struct Run {
    heard: Heard,
    secrets: Secrets,
    first: Vec<u8>,
    second: Vec<u8>,
    wrong: Vec<u8>,
}

#[test]
fn nothing_that_is_said_logged_or_kept_holds_a_secret() {
    log::keep();
    let mut run = Run {
        heard: Heard::default(),
        secrets: Secrets::new().unwrap(),
        first: random_text(64),
        second: random_text(200),
        wrong: random_text(64),
    };
    for passphrase in [&run.first, &run.second, &run.wrong] {
        run.secrets.passphrase(passphrase);
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("hierarchy");
    run.unattended(&dir);
    run.backup(&dir, scratch.path());
    run.common_criteria(&scratch.path().join("common-criteria"));
    run.refusals(&dir, scratch.path());
    run.damage(&dir);
    run.own_keystores();
    run.volumes();
    run.certificates();

    let key = random_text(64);
    run.secrets.passphrase(&key);
    types::print_made_of(&mut run.heard, &common::arena(), key.as_slice().try_into().unwrap(), &run.first);
    assert_eq!(types::unheard(&run.heard), Vec::<String>::new(), "public types that were not printed");

    let log = log::kept();
    let text = String::from_utf8_lossy(&log);
    for part in ["TRACE sled", "job{job=", "PANIC ", "close", "passphrase changed", "ERROR"] {
        assert!(text.contains(part), "the log has nothing of {part:?}");
    }
    run.heard.bytes(&log);
    let plain = run.secrets.all().map(|secret| (secret.name.as_str(), secret.forms[0].1.as_slice()));
    assert!(plain.clone().count() > 60);
    assert_eq!(run.heard.find(plain), std::collections::BTreeSet::new());
}

impl Run {
    /// Prints all that an engine tells of itself, and learns what it holds. Nobody has it open then.
    fn close(&mut self, engine: Engine, dir: &Path) {
        let heard = &mut self.heard;
        for svm in engine.svms() {
            heard.debug(&svm);
            heard.display(svm.name().unwrap());
            heard.debug(&engine.count_keys(svm.id()).unwrap());
            if let Some(kek) = engine.kek(svm.id()).unwrap() {
                heard.debug(&kek);
            }
            for key in engine.list_keys(svm.id(), None, 100).unwrap() {
                heard.debug(&key.unwrap());
            }
        }
        heard.debug(&engine.keystore().unwrap());
        heard.debug(&engine.keystore().unwrap().mode);
        heard.debug(&engine.identity());
        heard.debug(&engine.memory());
        heard.debug(engine.arena());
        heard.debug(&engine.verify(|_| ()).unwrap());
        for job in engine.jobs().unwrap() {
            heard.debug(&job.operation);
            heard.debug(&job.status);
            heard.debug(&job.progress);
            heard.debug(&job);
        }
        drop(engine);
        self.secrets.learn_from(dir).unwrap();
    }

    fn unattended(&mut self, dir: &Path) {
        self.heard.debug(&dir_options());
        let engine = Engine::create(dir, &name("cluster1"), dir_options()).unwrap();
        self.heard.error(&engine.backup().unwrap_err());
        engine.create_onboard(OnboardMode::Unattended, &passphrase(&self.first)).unwrap();
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        for (number, object) in (1..).zip(objects()) {
            let algorithm = if number % 2 == 0 { KeyAlgorithm::Aes256 } else { XTS };
            self.heard.debug(&engine.create_key(svm, object, algorithm).unwrap());
        }
        let many: Vec<_> = (100..130).map(|number| NewKey { object: volume(number), algorithm: XTS }).collect();
        self.heard.debug(&engine.create_keys(svm, &many).unwrap());
        self.heard.debug(&engine.open_key(svm, volume(1)).unwrap());
        self.close(engine, dir);

        let engine = Engine::open(dir, dir_options()).unwrap();
        let rotating = engine.begin_rotation(svm, volume(1)).unwrap();
        let OpenKey::Rotating { .. } = rotating else { panic!("{rotating:?}") };
        self.heard.debug(&rotating);
        self.close(engine, dir);

        let engine = Engine::open(dir, dir_options()).unwrap();
        self.heard.debug(&engine.finish_rotation(svm, volume(1)).unwrap());
        let job = engine.rekey_internal(svm).unwrap();
        self.heard.debug(&job);
        self.heard.debug(&job.wait().unwrap());
        self.heard.error(&engine.cancel_job(job.id()).unwrap_err());
        engine.delete_key(svm, volume(100)).unwrap();
        engine.change_passphrase(&passphrase(&self.first), &passphrase(&self.second)).unwrap();
        engine.rename_svm(svm, &name("archive")).unwrap();
        let empty = engine.create_svm(&name("empty")).unwrap().id();
        engine.delete_svm(empty).unwrap();
        self.close(engine, dir);
        self.heard.debug(&SledStore::open_copy(&dir.join("store"), &dir_options().store_options).unwrap());

        // The anchor: damaged, and gone. And the store on the other database.
        let anchor = dir.join("anchor");
        let bytes = fs::read(&anchor).unwrap();
        fs::write(&anchor, [&bytes[..bytes.len() - 1], &[!bytes[bytes.len() - 1]]].concat()).unwrap();
        let error = Engine::open(dir, dir_options()).map(drop).unwrap_err();
        self.heard.error(&error);
        let claviger::OpenEngineError::Anchor { source } = error else { panic!("{error:?}") };
        self.heard.error(&source);
        fs::remove_file(&anchor).unwrap();
        self.heard.error(&Engine::open(dir, dir_options()).map(drop).unwrap_err());
        fs::write(&anchor, bytes).unwrap();
        let (kind, copy) = (StoreKind::Redb, dir.with_file_name("redb"));
        let engine = Engine::copy_store(dir, &copy, kind, dir_options(), |_| ()).unwrap();
        self.heard.display(engine.standing());
        self.close(engine, &copy);
        self.heard.debug(&RedbStore::open_copy(&copy.join("store"), &dir_options().store_options).unwrap());
        self.heard.display(&kind);
        self.heard.error(&"tape".parse::<StoreKind>().unwrap_err());
        let error = Engine::copy_store(&copy, dir, kind, dir_options(), |_| ()).map(drop).unwrap_err();
        self.heard.error(&error);
    }

    /// The backup, which goes out of the house, and the store itself, but for the sealing key.
    fn backup(&mut self, dir: &Path, scratch: &Path) {
        let engine = Engine::open(dir, dir_options()).unwrap();
        let backup = engine.backup().unwrap();
        self.heard.bytes(backup.as_bytes());
        let second = passphrase(&self.second);
        let restore = |text: &str, with: &Passphrase| {
            Engine::restore(&scratch.join("restored"), text, with, dir_options()).map(drop).unwrap_err()
        };
        self.heard.error(&restore(&backup, &passphrase(&self.wrong)));
        let changed = |from: &str, to: &str| restore(&backup.replacen(from, to, 1), &second);
        for error in
            [changed("BEGIN", "begin"), changed("Q0xWQ", "Q0xWX"), changed("Q0xWQ", "!"), changed("Q0xWQg", "Q0xWQgE")]
        {
            self.heard.error(&error);
            if let claviger::BackupError::Text(error) = &error {
                self.heard.error(error);
            }
        }
        self.close(engine, dir);
        let restored = Engine::restore(&scratch.join("restored"), &backup, &second, dir_options()).unwrap();
        let source = SledStore::open_copy(&dir.join("store"), &dir_options().store_options).unwrap();
        self.heard.debug(&restored.import_keys(&source, |_| ()).unwrap());
        self.heard.debug(&restored.import_keys(&source, |_| ()).unwrap());
        self.close(restored, &scratch.join("restored"));
        files(&dir.join("store"), &mut |bytes| self.heard.bytes(bytes));
    }

    fn common_criteria(&mut self, dir: &Path) {
        let engine = Engine::create(dir, &name("cluster2"), dir_options()).unwrap();
        let short = engine.passphrase(b"too short").unwrap();
        self.heard.error(&engine.create_onboard(OnboardMode::CommonCriteria, &short).unwrap_err());
        engine.create_onboard(OnboardMode::CommonCriteria, &passphrase(&self.first)).unwrap();
        self.heard.error(&engine.create_onboard(OnboardMode::CommonCriteria, &passphrase(&self.first)).unwrap_err());
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        engine.create_key(svm, volume(1), XTS).unwrap();
        drop(engine);

        let engine = Engine::open(dir, dir_options()).unwrap();
        self.heard.error(&engine.open_key(svm, volume(1)).unwrap_err());
        self.heard.error(&engine.create_key(svm, volume(2), XTS).unwrap_err());
        self.heard.error(&engine.rekey_internal(svm).unwrap_err());
        self.heard.error(&engine.backup().unwrap_err());
        engine.unlock(&passphrase(&self.first)).unwrap();
        self.heard.debug(&engine.open_key(svm, volume(1)).unwrap());
        self.heard.error(&engine.change_passphrase(&passphrase(&self.first), &passphrase(&self.first)).unwrap_err());
        self.heard.error(&engine.unlock(&passphrase(&self.wrong)).unwrap_err());
        self.heard.error(&engine.unlock(&passphrase(&self.first)).unwrap_err());
        self.close(engine, dir);
    }

    /// Errors of a hierarchy that is whole.
    fn refusals(&mut self, dir: &Path, scratch: &Path) {
        let heard = &mut self.heard;
        let engine = Engine::open(dir, dir_options()).unwrap();
        let svm = engine.svm_named("archive").unwrap().id();
        let nobody = SvmId::from(uuid::Uuid::nil());
        heard.error(&engine.create_key(svm, volume(1), XTS).unwrap_err());
        heard.error(&engine.open_key(nobody, volume(1)).unwrap_err());
        heard.error(&engine.open_key(svm, volume(99)).unwrap_err());
        heard.error(&engine.finish_rotation(svm, volume(1)).unwrap_err());
        heard.error(&engine.rekey_internal(nobody).unwrap_err());
        heard.error(&engine.rekey_internal(engine.svms()[0].id()).unwrap_err());
        heard.error(&engine.create_svm(&name("archive")).unwrap_err());
        heard.error(&engine.delete_svm(svm).unwrap_err());
        heard.error(&engine.svm(nobody).unwrap_err());
        heard.error(&engine.job(uuid::Uuid::nil()).unwrap_err());
        heard.error(&engine.delete_onboard().unwrap_err());
        heard.error(&engine.unlock(&passphrase(&self.wrong)).unwrap_err());
        heard.error(&engine.passphrase(b"\xff").unwrap_err());
        heard.error(&"9".parse::<SvmName>().unwrap_err());
        // The store is open, or there is one already, or none.
        heard.error(&Engine::open(dir, dir_options()).map(drop).unwrap_err());
        heard.error(&SledStore::open(&dir.join("store"), &dir_options().store_options).unwrap_err());
        drop(engine);
        heard.error(&Engine::create(dir, &name("cluster1"), dir_options()).map(drop).unwrap_err());
        heard.error(&Engine::open(scratch, dir_options()).map(drop).unwrap_err());

        // The sealing key: exposed, too long, another one, none.
        let sealing_key = dir.join("sealing.key");
        let bytes = fs::read(&sealing_key).unwrap();
        let mut open = || heard.error(&Engine::open(dir, dir_options()).map(drop).unwrap_err());
        fs::set_permissions(&sealing_key, fs::Permissions::from_mode(0o644)).unwrap();
        open();
        fs::set_permissions(&sealing_key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&sealing_key, [bytes.as_slice(), b"x"].concat()).unwrap();
        open();
        fs::write(&sealing_key, [&bytes[..36], &[!bytes[36]]].concat()).unwrap();
        open();
        fs::remove_file(&sealing_key).unwrap();
        open();
        fs::write(&sealing_key, bytes).unwrap();
        fs::set_permissions(&sealing_key, fs::Permissions::from_mode(0o600)).unwrap();

        // Key memory is full.
        let only = ArenaOptions { keys: 24, states: 24, accept: Protection::Unlocked };
        let full = Engine::open(dir, Options { memory: KeyMemory::Own(only), ..dir_options() }).unwrap();
        let _held: Vec<_> = std::iter::from_fn(|| full.arena().bytes(64).ok()).collect();
        heard.error(&full.open_key(svm, volume(1)).unwrap_err());
    }

    /// Every record damaged in several places, a store that fails at its writes, and one that panics.
    fn damage(&mut self, dir: &Path) {
        let sealing = fs::read(dir.join("sealing.key")).unwrap()[5..].to_vec();
        let whole = copy_of(&SledStore::open_copy(&dir.join("store"), &dir_options().store_options).unwrap());
        let options = || Options {
            sealing: SealingSource::Provided(sealing_key(&sealing)),
            anchor: AnchorSource::DangerNone,
            ..dir_options()
        };
        let open = |store: &MemoryStore| Engine::open_on(Arc::new(copy_of(store)), options());
        let svm = open(&whole).unwrap().svm_named("archive").unwrap().id();
        let heard = &mut self.heard;

        let mut seen_keys = 0;
        for (table, key, value) in records(&whole) {
            assert!(table == Table::Keys || value.starts_with(b"CLVS"), "{table} holds a record that is not sealed");
            seen_keys += u32::from(table == Table::Keys);
            if table == Table::Keys && seen_keys > 3 {
                continue;
            }
            for at in [0, 4, 8, value.len() / 2, value.len() - 1] {
                let mut changed = value.clone();
                changed[at] ^= 1;
                put(&whole, table, &key, &changed);
                match open(&whole) {
                    Ok(engine) => hear_damaged(heard, &engine, svm),
                    Err(error) => heard.error(&error),
                }
            }
            put(&whole, table, &key, &value);
        }

        for write in [1, 2, 4, 6] {
            let clock = FaultClock::striking([(write, Strike::Crash(Crash::Before))]);
            let store = FaultyStore::over(Arc::new(copy_of(&whole)), clock);
            let Ok(engine) = Engine::open_on(Arc::new(store), options()) else { continue };
            drop(engine.create_key(svm, volume(1_000), XTS).map_err(|error| heard.error(&error)));
            drop(engine.create_svm(&name("more")).map_err(|error| heard.error(&error)));
            if let Ok(job) = engine.rekey_internal(svm).map_err(|error| heard.error(&error)) {
                drop(job.wait().map_err(|error| heard.error(&error)));
            }
        }

        // An SVM whose only key is deleted has a note.
        let engine = Engine::open_on(Arc::new(copy_of(&whole)), options()).unwrap();
        let bare = engine.create_svm(&name("bare")).unwrap().id();
        engine.create_key(bare, volume(1), XTS).unwrap();
        engine.delete_key(bare, volume(1)).unwrap();
        hear_damaged(heard, &engine, svm);

        let store = HoldingStore::over(Arc::new(copy_of(&whole)));
        let engine = Engine::open_on(store.clone(), options()).unwrap();
        let _trap = store.hold_before(|write| if write.replaces() { panic!("the store panics") } else { false });
        heard.error(&engine.rekey_internal(svm).unwrap().wait().unwrap_err());
    }
}

/// What an engine says over a record that is damaged.
fn hear_damaged(heard: &mut Heard, engine: &Engine, svm: SvmId) {
    let report = engine.verify(|_| ()).unwrap();
    for finding in &report.findings {
        heard.display(finding);
        heard.display(&finding.problem);
        let subject = finding.record.subject();
        heard.display(&subject);
        heard.debug(&subject);
    }
    for unchecked in &report.unchecked {
        heard.display(unchecked);
        heard.debug(unchecked);
        heard.display(&unchecked.why);
        heard.debug(&unchecked.why);
    }
    for note in &report.notes {
        heard.display(note);
        heard.debug(note);
    }
    heard.debug(&report);
    let hear_key = |heard: &mut Heard, error: &claviger::KeyError| {
        heard.error(error);
        match error {
            claviger::KeyError::Layout { source, .. } => heard.error(source),
            claviger::KeyError::Keeper(keeper) => heard.error(keeper),
            claviger::KeyError::Records(records) => heard.error(records),
            _ => {}
        }
    };
    engine.open_all(svm, |_, key| drop(key.map_err(|error| hear_key(heard, &error)))).unwrap_or_default();
    drop(engine.create_key(svm, volume(1_000), XTS).map_err(|error| hear_key(heard, &error)));
    // The first key of an SVM wants a KEK, and that the keystore.
    if let Ok(fresh) = engine.create_svm(&name("fresh")) {
        drop(engine.create_key(fresh.id(), volume(1), XTS).map_err(|error| hear_key(heard, &error)));
    }
    match engine.backup() {
        Ok(backup) => heard.bytes(backup.as_bytes()),
        Err(error) => {
            heard.error(&error);
            if let claviger::BackupError::Records(records) = &error {
                heard.error(records);
            }
        }
    }
    drop(
        engine
            .create_onboard(OnboardMode::Unattended, &common::passphrase(&random_text(40)))
            .map_err(|error| heard.error(&error)),
    );
    match engine.rekey_internal(svm) {
        Ok(job) => drop(job.wait().map_err(|error| heard.error(&error))),
        Err(error) => heard.error(&error),
    }
}

fn objects() -> [ObjectRef; 3] {
    [volume(1), volume(2), ObjectRef::Drive(volume(1).uuid())]
}

fn sealing_key(bytes: &[u8]) -> claviger::Key256 {
    let mut slot = common::arena().bytes(bytes.len()).unwrap();
    slot.expose_mut().copy_from_slice(bytes);
    claviger::Key256::new(slot).unwrap()
}

/// Gives every file below `dir` to `hear`.
fn files(dir: &Path, hear: &mut impl FnMut(&[u8])) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, hear),
            false => hear(&fs::read(path).unwrap()),
        }
    }
}
