//! What the tests share: hierarchies on disk, keystores at a lab's Barbican, and keys as a test remembers them.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod child;
pub(crate) mod relay;
pub(crate) mod way;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use claviger::{
    Advice, Arena, ArenaOptions, Engine, Fault, JobError, Key, KeyAlgorithm, KeyMemory, KeystoreState, KeystoreStatus,
    NewKey, ObjectRef, OnboardMode, Options, Protection, StoreOptions, SvmId, Trouble,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use way::Way;

/// Key memory that all engines of a test share: locked memory is scarce.
pub(crate) fn arena() -> Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    let options = ArenaOptions { keys: 8_192, states: 1_024, accept: Protection::Unlocked };
    ARENA.get_or_init(|| Arena::new(&options).unwrap()).clone()
}

pub(crate) fn options() -> Options {
    Options {
        memory: KeyMemory::Shared(arena()),
        store_options: StoreOptions { cache_bytes: 4 << 20, reserve_bytes: 0 },
        ..Options::default()
    }
}

/// A hierarchy on disk.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::with_prefix("claviger-tests-").unwrap() }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("hierarchy")
    }

    /// Makes the hierarchy, with an onboard keystore.
    pub(crate) fn create(&self) -> Engine {
        let engine = Engine::create(&self.path(), &"cluster1".parse().unwrap(), options()).unwrap();
        onboard(&engine);
        engine
    }

    pub(crate) fn open(&self) -> Engine {
        self.open_with(options())
    }

    pub(crate) fn open_with(&self, options: Options) -> Engine {
        Engine::open(&self.path(), options).unwrap()
    }
}

pub(crate) const PASSPHRASE: &[u8] = b"a passphrase of more than thirty-two characters";

pub(crate) fn onboard(engine: &Engine) {
    let passphrase = engine.passphrase(PASSPHRASE).unwrap();
    engine.create_onboard(OnboardMode::Unattended, &passphrase).unwrap();
}

/// The cluster's onboard keystore.
pub(crate) fn cluster(engine: &Engine) -> Uuid {
    engine.keystore().unwrap().id
}

pub(crate) fn svm(engine: &Engine, name: &str) -> SvmId {
    engine.create_svm(&name.parse().unwrap()).unwrap().id()
}

/// An SVM whose keystore is at a Barbican, and is enabled.
pub(crate) fn tenant(engine: &Engine, name: &str, way: &Way) -> (SvmId, Uuid) {
    let svm = svm(engine, name);
    let keystore = keystore(engine, svm, "barbican", way);
    engine.enable(keystore).unwrap().wait().unwrap();
    (svm, keystore)
}

/// A keystore at a Barbican that is not enabled.
pub(crate) fn keystore(engine: &Engine, svm: SvmId, name: &str, way: &Way) -> Uuid {
    engine.create_barbican(svm, &name.parse().unwrap(), &way.settings()).unwrap().id
}

/// SHA-256 of a key's bytes.
pub(crate) type Digest = [u8; 32];

pub(crate) fn digest(key: &Key) -> Digest {
    Sha256::digest(key.expose()).into()
}

/// An SVM's keys, as they are to be.
pub(crate) struct Keys {
    pub(crate) svm: SvmId,
    pub(crate) all: Vec<(ObjectRef, Digest)>,
}

impl Keys {
    /// So many keys of volumes, made at once.
    pub(crate) fn make(engine: &Engine, svm: SvmId, count: usize) -> Self {
        let volumes = || ObjectRef::Volume(Uuid::new_v4());
        let new: Vec<_> =
            (0..count).map(|_| NewKey { object: volumes(), algorithm: KeyAlgorithm::XtsAes256 }).collect();
        engine.create_keys(svm, &new).unwrap();
        let digest = |object| digest(engine.open_key(svm, object).unwrap().newest());
        Self { svm, all: new.iter().map(|new| (new.object, digest(new.object))).collect() }
    }

    /// Makes one more.
    pub(crate) fn make_another(&mut self, engine: &Engine) {
        let object = ObjectRef::Volume(Uuid::new_v4());
        let key = engine.create_key(self.svm, object, KeyAlgorithm::XtsAes256).unwrap();
        self.all.push((object, digest(&key)));
    }

    /// Whether each opens with its bytes.
    pub(crate) fn open(&self, engine: &Engine) -> bool {
        self.all.iter().all(|key| self.opens(engine, key))
    }

    fn opens(&self, engine: &Engine, (object, wanted): &(ObjectRef, Digest)) -> bool {
        engine.open_key(self.svm, *object).is_ok_and(|opened| digest(opened.newest()) == *wanted)
    }

    /// Does `work` while a thread opens the keys in turn; each must open, each time.
    pub(crate) fn open_during<T>(&self, engine: &Engine, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let opener = scope.spawn(|| {
                let (mut opened, mut failed) = (0_u64, 0_u64);
                while !over.load(Ordering::Acquire) {
                    for key in &self.all {
                        match self.opens(engine, key) {
                            true => opened += 1,
                            false => failed += 1,
                        }
                    }
                    // The services have these cores too.
                    thread::park_timeout(Duration::from_millis(5));
                }
                (opened, failed)
            });
            let until_dropped = SetOnDrop(&over);
            let done = work();
            drop(until_dropped);
            let (opened, failed) = opener.join().unwrap();
            assert!(opened > 0 && failed == 0, "{opened} openings, {failed} failed");
            done
        })
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "still not: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

pub(crate) fn status(engine: &Engine, keystore: Uuid) -> KeystoreStatus {
    engine.keystore_status(keystore).unwrap()
}

pub(crate) fn state(engine: &Engine, keystore: Uuid) -> Option<KeystoreState> {
    status(engine, keystore).state
}

/// What this node has met at the keeper.
pub(crate) fn trouble(engine: &Engine, keystore: Uuid) -> Option<Trouble> {
    status(engine, keystore).nodes[0].trouble.as_ref().map(|trouble| trouble.what)
}

/// Why a job failed.
pub(crate) fn why<T>(ended: Result<T, JobError>) -> (String, Fault, Advice) {
    match ended {
        Err(JobError::Failed { message, fault, advice, .. }) => (message, fault, advice),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it succeeded"),
    }
}

pub(crate) fn verify_clean(engine: &Engine) {
    let report = engine.verify(|_| ()).unwrap();
    assert!(report.is_sound() && report.keys == report.opened, "{report:?}");
}
