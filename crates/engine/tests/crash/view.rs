//! All that can be seen of a hierarchy from outside: what a scenario is judged by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use claviger::store::MemoryStore;
use claviger::{
    CertificateInfo, Engine, KeystoreError, KeystoreInfo, ObjectRef, OnboardMode, Options, Store, SvmId, Table,
    VolumeEncryption,
};
use uuid::Uuid;

use crate::common::{self, Bytes, LONG_PASSPHRASE, OTHER_PASSPHRASE, PASSPHRASE, passphrase, versions};

/// A hierarchy; nothing of it where its creation was not completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) hierarchy: Option<Uuid>,
    pub(crate) keystore: Option<(Uuid, &'static [u8])>,
    /// How it opens.
    pub(crate) mode: Option<OnboardMode>,
    pub(crate) svms: BTreeMap<SvmId, Svm>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Svm {
    pub(crate) name: String,
    pub(crate) is_admin: bool,
    /// The current and the retiring version.
    pub(crate) kek: Option<(u32, Option<u32>)>,
    /// Which keystores keep each of them.
    pub(crate) kept: BTreeMap<u32, Vec<Uuid>>,
    /// Its own keystores, by name.
    pub(crate) keystores: BTreeMap<String, KeystoreInfo>,
    pub(crate) keys: BTreeMap<ObjectRef, Versions>,
    /// By name: which volume it is, and the newest version of its key.
    pub(crate) volumes: BTreeMap<String, (ObjectRef, Option<u32>)>,
    /// By name, and whether each has its private key.
    pub(crate) certificates: BTreeMap<String, bool>,
}

impl Svm {
    /// The keystore of its own that is enabled.
    pub(crate) fn enabled(&self) -> Option<Uuid> {
        self.keystores.values().find(|one| one.enabled).map(|one| one.id)
    }

    /// Makes the keystore of this name the enabled one, or none.
    pub(crate) fn enable(&mut self, name: Option<&str>) {
        self.keystores.iter_mut().for_each(|(own, one)| one.enabled = Some(own.as_str()) == name);
    }

    /// Has what one keystore keeps be kept by another.
    pub(crate) fn rekeep(&mut self, from: Uuid, to: Uuid) {
        self.kept.values_mut().flatten().filter(|keystore| **keystore == from).for_each(|keystore| *keystore = to);
    }

    /// Whether its KEK is kept by another keystore than its enabled one.
    pub(crate) fn is_mixed(&self) -> bool {
        self.enabled().is_some_and(|enabled| self.kept.values().flatten().any(|keystore| *keystore != enabled))
    }

    /// Makes these the live KEKs, kept as the current one is.
    pub(crate) fn live(&mut self, (current, retiring): (u32, Option<u32>)) {
        let kept = self.kek.and_then(|(current, _)| self.kept.get(&current)).cloned().expect("a KEK");
        self.kek = Some((current, retiring));
        self.kept = retiring.into_iter().chain([current]).map(|version| (version, kept.clone())).collect();
    }
}

/// The versions of an object's key with their bytes, the older first.
pub(crate) type Versions = Vec<(u32, Bytes)>;

/// The KEKs of some SVM are not in memory.
#[derive(Debug)]
pub(crate) struct Closed;

impl View {
    /// What `engine` shows, which runs on a store over `disk`. Every key must open, unless KEKs are not in memory.
    pub(crate) fn of(engine: &Engine, disk: &MemoryStore) -> Result<Self, Closed> {
        let keystore = engine.keystore().map(|keystore| match keystore.locked {
            true => Err(Closed),
            false => Ok((keystore.id, passphrase_of(engine, disk))),
        });
        let all = engine.keystores();
        let named = |one: &KeystoreInfo| (one.name.as_ref().unwrap().to_string(), one.clone());
        let certificates: Vec<_> =
            engine.certificates().unwrap().into_iter().map(|one| one.certificate.unwrap()).collect();
        let has_key = |one: &CertificateInfo| (one.name.to_string(), one.has_private_key);
        let svms = engine.svms().into_iter().map(|info| {
            let kek = engine.kek(info.id()).unwrap();
            if kek.is_some_and(|kek| !kek.in_memory) {
                return Err(Closed);
            }
            let mut keys = BTreeMap::new();
            engine.open_all(info.id(), |object, key| drop(keys.insert(object, versions(&key.unwrap())))).unwrap();
            let mut kept = BTreeMap::<_, Vec<_>>::new();
            for one in engine.kept_keks(info.id()).unwrap() {
                kept.entry(one.version.get()).or_default().push(one.keystore);
            }
            let page = engine.volumes(Some(info.id()), None, usize::MAX).unwrap();
            let volumes = page.volumes.into_iter().map(|one| {
                let volume = one.volume.unwrap();
                let key = match volume.encryption {
                    VolumeEncryption::Off => None,
                    VolumeEncryption::On { key, made: Some(_) } => Some(key.version.get()),
                    other => panic!("{}: {other:?}", volume.name),
                };
                (volume.name.to_string(), (ObjectRef::Volume(volume.id), key))
            });
            let svm = Svm {
                volumes: volumes.collect(),
                certificates: certificates.iter().filter(|one| one.scope == Some(info.id())).map(has_key).collect(),
                name: info.name().unwrap().to_string(),
                is_admin: info.is_admin(),
                kek: kek.map(|kek| (kek.version.get(), kek.retiring.map(|version| version.get()))),
                kept,
                keystores: all.iter().filter(|one| one.svm == Some(info.id())).map(named).collect(),
                keys,
            };
            Ok((info.id(), svm))
        });
        let hierarchy = Some(engine.identity().unwrap().0);
        let mode = engine.keystore().map(|keystore| keystore.mode);
        Ok(Self { hierarchy, keystore: keystore.transpose()?, mode, svms: svms.collect::<Result<_, _>>()? })
    }

    pub(crate) fn svm(&self, name: &str) -> Option<(SvmId, &Svm)> {
        self.svms.iter().find(|(_, svm)| svm.name == name).map(|(id, svm)| (*id, svm))
    }

    /// The same with a change to the SVM of this name.
    pub(crate) fn with(mut self, name: &str, change: impl FnOnce(&mut Svm)) -> Self {
        change(self.svms.values_mut().find(|svm| svm.name == name).expect("the scenario's SVM"));
        self
    }

    /// The same without the SVM of this name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.svms.retain(|_, svm| svm.name != name);
        self
    }

    /// The KEKs that must be with a keeper.
    pub(crate) fn live_keks(&self) -> Vec<(SvmId, u32)> {
        let versions =
            |kek: Option<(u32, Option<u32>)>| kek.into_iter().flat_map(|(new, old)| old.into_iter().chain([new]));
        self.svms.iter().flat_map(|(id, svm)| versions(svm.kek).map(|version| (*id, version))).collect()
    }
}

/// The passphrase that the keystore is under. Trying takes long, so the salt, which a backup shows, is remembered.
fn passphrase_of(engine: &Engine, disk: &MemoryStore) -> &'static [u8] {
    static KNOWN: Mutex<BTreeMap<Vec<u8>, &'static [u8]>> = Mutex::new(BTreeMap::new());
    let backup = engine.backup().unwrap();
    let body: String = backup.lines().filter(|line| !line.starts_with('-')).collect();
    let salt = BASE64.decode(body).unwrap()[10..42].to_vec();
    let known = KNOWN.lock().unwrap().get(&salt).copied();
    known.unwrap_or_else(|| {
        let found = the_one_that_unlocks(engine.keystore().unwrap().mode, disk);
        KNOWN.lock().unwrap().insert(salt, found);
        found
    })
}

/// The first that unlocks of those that scenarios in this mode use: what they change from comes before what they change
/// to. Tried on copies, as in Common Criteria mode a wrong one costs a wait.
fn the_one_that_unlocks(mode: OnboardMode, disk: &MemoryStore) -> &'static [u8] {
    let unlocks = |candidate: &&'static [u8]| {
        let copy = MemoryStore::default();
        for (table, key, value) in common::records(disk) {
            if matches!(table, Table::Node | Table::Keystores) {
                common::put(&copy, table, &key, &value);
            }
        }
        let copy: Arc<dyn Store> = Arc::new(copy);
        let engine = Engine::open_on(copy, Options { resume_jobs: false, ..common::options() }).unwrap();
        match patiently(|| engine.unlock(&passphrase(candidate))) {
            Ok(()) => true,
            Err(KeystoreError::WrongPassphrase) => false,
            Err(error) => panic!("{error:?}"),
        }
    };
    let candidates: &[&'static [u8]] = match mode {
        OnboardMode::Unattended => &[PASSPHRASE, OTHER_PASSPHRASE, LONG_PASSPHRASE],
        OnboardMode::CommonCriteria => &[LONG_PASSPHRASE, OTHER_PASSPHRASE],
    };
    candidates.iter().copied().find(unlocks).expect("a passphrase of the scenarios")
}

/// Waits as long as Common Criteria mode asks after a crash that came between the count of an attempt and its success.
pub(crate) fn patiently(mut attempt: impl FnMut() -> Result<(), KeystoreError>) -> Result<(), KeystoreError> {
    loop {
        match attempt() {
            Err(KeystoreError::TooSoon { wait }) => std::thread::sleep(wait),
            other => return other,
        }
    }
}
