//! Random operations on an engine and on a model of it that is too small to be wrong, compared after each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::{
    Creation, Engine, JobError, JobStatus, KeyAlgorithm, KeyError, KeyType, NewKey, NewVolume, ObjectRef, Options,
    RekeyError, SvmError, SvmId, VolumeEncryption, VolumeError,
};
use common::{Bytes, bytes, kek_versions, name, verify_clean, versions};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

const VOLUMES: [&str; 3] = ["v", "w", "x"];
const NAMES: [&str; 4] = ["cluster1", "a", "b", "c"];

#[derive(Clone, Debug)]
enum Op {
    CreateSvm(usize),
    RenameSvm(usize, usize),
    DeleteSvm(usize),
    Create(usize, ObjectRef, KeyAlgorithm),
    CreateMany(usize, Vec<(ObjectRef, KeyAlgorithm)>),
    Open(usize, ObjectRef),
    Delete(usize, ObjectRef),
    BeginRotation(usize, ObjectRef),
    FinishRotation(usize, ObjectRef),
    CreateVolume(usize, usize, u128, bool),
    DeleteVolume(u128),
    Rekey(usize),
    RekeyAndCancel(usize),
    RekeyAndReopen(usize, bool),
    Reopen,
}

fn svm() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 4 => Just(1), 2 => Just(2), 1 => Just(3)]
}

fn object() -> impl Strategy<Value = ObjectRef> {
    let kinds: [fn(Uuid) -> ObjectRef; 3] = [ObjectRef::Volume, ObjectRef::Aggregate, ObjectRef::Drive];
    (select(kinds.to_vec()), 0..3_u128).prop_map(|(kind, number)| kind(Uuid::from_u128(number)))
}

fn algorithm() -> impl Strategy<Value = KeyAlgorithm> {
    select(&[KeyAlgorithm::XtsAes256, KeyAlgorithm::Aes256])
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => svm().prop_map(Op::CreateSvm),
        1 => (svm(), svm()).prop_map(|(svm, name)| Op::RenameSvm(svm, name)),
        2 => svm().prop_map(Op::DeleteSvm),
        8 => (svm(), object(), algorithm()).prop_map(|(svm, object, algorithm)| Op::Create(svm, object, algorithm)),
        3 => (svm(), proptest::collection::vec((object(), algorithm()), 0..6))
            .prop_map(|(svm, keys)| Op::CreateMany(svm, keys)),
        4 => (svm(), object()).prop_map(|(svm, object)| Op::Open(svm, object)),
        5 => (svm(), object()).prop_map(|(svm, object)| Op::Delete(svm, object)),
        5 => (svm(), object()).prop_map(|(svm, object)| Op::BeginRotation(svm, object)),
        4 => (svm(), object()).prop_map(|(svm, object)| Op::FinishRotation(svm, object)),
        5 => (svm(), 0..VOLUMES.len(), 0..4_u128, any::<bool>())
            .prop_map(|(svm, name, number, encrypted)| Op::CreateVolume(svm, name, number, encrypted)),
        3 => (0..4_u128).prop_map(Op::DeleteVolume),
        3 => svm().prop_map(Op::Rekey),
        2 => svm().prop_map(Op::RekeyAndCancel),
        2 => (svm(), any::<bool>()).prop_map(|(svm, resume)| Op::RekeyAndReopen(svm, resume)),
        1 => Just(Op::Reopen),
    ]
}

/// What there must be.
#[derive(Default)]
struct Svm {
    id: Option<SvmId>,
    /// The current and the retiring KEK version.
    kek: Option<(u32, Option<u32>)>,
    keys: BTreeMap<ObjectRef, ModelKey>,
    /// By name: the volume's number, and whether it is encrypted.
    volumes: BTreeMap<&'static str, (u128, bool)>,
}

impl Svm {
    /// The name of this volume.
    fn named(&self, object: ObjectRef) -> Option<&'static str> {
        self.volumes
            .iter()
            .find(|(_, (number, _))| ObjectRef::Volume(Uuid::from_u128(*number)) == object)
            .map(|(name, _)| *name)
    }
}

struct ModelKey {
    algorithm: KeyAlgorithm,
    /// One, or two while a rotation runs: the older first.
    versions: Vec<(u32, Bytes)>,
}

struct World {
    store: Arc<MemoryStore>,
    engine: Option<Engine>,
    /// By name, as in `NAMES`; one without an id does not exist.
    svms: [Svm; 4],
    nobody: SvmId,
}

impl World {
    fn new() -> Self {
        let store = common::unattended();
        let engine = common::open(&store);
        let mut svms: [Svm; 4] = Default::default();
        svms[0].id = Some(engine.svms()[0].id());
        Self { store, engine: Some(engine), svms, nobody: SvmId::from(Uuid::new_v4()) }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn reopen(&mut self, resume_jobs: bool) {
        self.engine = None;
        let options = Options { resume_jobs, ..common::options() };
        self.engine = Some(Engine::open_on(self.store.clone(), options).unwrap());
    }

    /// The SVM's id, or that of an SVM that does not exist.
    fn id(&self, svm: usize) -> SvmId {
        self.svms[svm].id.unwrap_or(self.nobody)
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::CreateSvm(svm) => self.create_svm(svm),
            Op::RenameSvm(svm, to) => self.rename_svm(svm, to),
            Op::DeleteSvm(svm) => self.delete_svm(svm),
            Op::Create(svm, object, algorithm) => self.create(svm, object, algorithm),
            Op::CreateMany(svm, ref keys) => self.create_many(svm, keys),
            Op::Open(svm, object) => self.open(svm, object),
            Op::Delete(svm, object) => self.delete(svm, object),
            Op::BeginRotation(svm, object) => self.begin_rotation(svm, object),
            Op::FinishRotation(svm, object) => self.finish_rotation(svm, object),
            Op::CreateVolume(svm, name, number, encrypted) => self.create_volume(svm, VOLUMES[name], number, encrypted),
            Op::DeleteVolume(number) => self.delete_volume(number),
            Op::Rekey(svm) => self.rekey(svm, |_, job| job.wait().map(drop)),
            Op::RekeyAndCancel(svm) => self.rekey(svm, |_, job| {
                job.cancel();
                job.wait().map(drop)
            }),
            Op::RekeyAndReopen(svm, resume) => self.rekey(svm, |world, job| {
                world.reopen(resume);
                match world.engine().resume_job(job.id()) {
                    Ok(resumed) => resumed.wait().map(drop),
                    Err(JobError::Ended { .. }) => {
                        assert_eq!(world.engine().job(job.id()).unwrap().status, JobStatus::Succeeded);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }),
            Op::Reopen => self.reopen(true),
        }
    }

    fn create_svm(&mut self, svm: usize) {
        match (self.engine().create_svm(&name(NAMES[svm])), self.svms[svm].id) {
            (Ok(made), None) => self.svms[svm].id = Some(made.id()),
            (Err(SvmError::NameTaken { name }), Some(_)) => assert_eq!(name.as_str(), NAMES[svm]),
            (result, known) => panic!("{known:?}: {result:?}"),
        }
    }

    fn rename_svm(&mut self, svm: usize, to: usize) {
        let result = self.engine().rename_svm(self.id(svm), &name(NAMES[to]));
        match (result, self.svms[svm].id, self.svms[to].id) {
            (Err(SvmError::Unknown { svm }), None, _) => assert_eq!(svm, self.nobody),
            (Ok(()), Some(_), _) if svm == to => {}
            (Ok(()), Some(_), None) => self.svms.swap(svm, to),
            (Err(SvmError::NameTaken { name }), Some(_), Some(_)) => assert_eq!(name.as_str(), NAMES[to]),
            (result, from, to) => panic!("{from:?} to {to:?}: {result:?}"),
        }
    }

    fn delete_svm(&mut self, svm: usize) {
        let admin = self.admin();
        let result = self.engine().delete_svm(self.id(svm));
        let model = &mut self.svms[svm];
        match result {
            Err(SvmError::Unknown { svm }) => assert_eq!((model.id, svm), (None, self.nobody)),
            Err(SvmError::Admin) => assert_eq!(model.id, Some(admin)),
            Err(SvmError::HasVolumes { svm }) => {
                assert_eq!(model.id, Some(svm));
                assert!(!model.volumes.is_empty());
            }
            Err(SvmError::HasKeys { svm }) => {
                assert_eq!(model.id, Some(svm));
                assert!(!model.keys.is_empty() && model.volumes.is_empty());
            }
            Ok(()) => {
                assert!(model.id.is_some_and(|id| id != admin) && model.keys.is_empty() && model.volumes.is_empty());
                *model = Svm::default();
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn admin(&self) -> SvmId {
        self.engine().svms().iter().find(|svm| svm.is_admin()).unwrap().id()
    }

    fn create(&mut self, svm: usize, object: ObjectRef, algorithm: KeyAlgorithm) {
        let result = self.engine().create_key(self.id(svm), object, algorithm);
        let named = self.svms[svm].named(object);
        let Svm { id, kek, keys, .. } = &mut self.svms[svm];
        match (result, id.is_some(), keys.contains_key(&object)) {
            (Err(KeyError::UnknownSvm { svm }), false, _) => assert_eq!(svm, self.nobody),
            (Err(KeyError::OfVolume { object: of, name }), true, _) if named == Some(name.as_str()) => {
                assert_eq!(of, object);
            }
            (result, ..) if named.is_some() => panic!("{result:?}"),
            (Err(KeyError::Exists { object: named }), true, true) => assert_eq!(named, object),
            (Ok(key), true, false) => {
                assert_eq!((key.algorithm(), key.version().get()), (algorithm, 1));
                assert_eq!(key.expose().len(), algorithm.key_len());
                keys.insert(object, ModelKey { algorithm, versions: vec![(1, bytes(&key))] });
                kek.get_or_insert((1, None));
            }
            (result, ..) => panic!("{result:?}"),
        }
    }

    fn create_many(&mut self, svm: usize, wanted: &[(ObjectRef, KeyAlgorithm)]) {
        let new: Vec<_> = wanted.iter().map(|&(object, algorithm)| NewKey { object, algorithm }).collect();
        let result = self.engine().create_keys(self.id(svm), &new);
        let engine = self.engine.as_ref().unwrap();
        let is_named = wanted.iter().any(|(object, _)| self.svms[svm].named(*object).is_some());
        let Svm { id, kek, keys, .. } = &mut self.svms[svm];
        let Some(id) = *id else {
            assert!(matches!(result, Err(KeyError::UnknownSvm { .. })), "{result:?}");
            return;
        };
        if is_named {
            assert!(matches!(result, Err(KeyError::OfVolume { .. })), "{result:?}");
            return;
        }
        let creations = result.unwrap();
        assert_eq!(creations.len(), wanted.len());
        for (&(object, algorithm), creation) in wanted.iter().zip(creations) {
            let expected = if keys.contains_key(&object) { Creation::Exists } else { Creation::Created };
            assert_eq!(creation, expected);
            kek.get_or_insert((1, None));
            keys.entry(object).or_insert_with(|| {
                // The call does not return the keys. From now on each is what it is now.
                let opened = engine.open_key(id, object).unwrap();
                assert_eq!(opened.newest().algorithm(), algorithm);
                ModelKey { algorithm, versions: versions(&opened) }
            });
        }
    }

    fn open(&self, svm: usize, object: ObjectRef) {
        let result = self.engine().open_key(self.id(svm), object);
        match (result, self.svms[svm].id, self.svms[svm].keys.get(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) => {}
            (Err(KeyError::Missing { object: named }), Some(_), None) => assert_eq!(named, object),
            (Ok(opened), Some(_), Some(key)) => assert_eq!(versions(&opened), key.versions),
            (result, ..) => panic!("{result:?}"),
        }
    }

    fn delete(&mut self, svm: usize, object: ObjectRef) {
        let result = self.engine().delete_key(self.id(svm), object);
        if self.svms[svm].named(object).is_some() && self.svms[svm].keys.contains_key(&object) {
            assert!(matches!(result, Err(KeyError::OfVolume { .. })), "{result:?}");
            return;
        }
        match (result, self.svms[svm].id, self.svms[svm].keys.remove(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _)
            | (Err(KeyError::Missing { .. }), Some(_), None)
            | (Ok(()), Some(_), Some(_)) => {}
            (result, ..) => panic!("{result:?}"),
        }
    }

    fn begin_rotation(&mut self, svm: usize, object: ObjectRef) {
        let result = self.engine().begin_rotation(self.id(svm), object);
        let Svm { id, keys, .. } = &mut self.svms[svm];
        match (result, *id, keys.get_mut(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) => {}
            (Err(KeyError::Missing { .. }), Some(_), None) => {}
            (Err(KeyError::Rotating { .. }), Some(_), Some(key)) => assert_eq!(key.versions.len(), 2),
            (Ok(opened), Some(_), Some(key)) => {
                let opened = versions(&opened);
                assert_eq!(opened[..1], key.versions[..]);
                assert_eq!(opened[1].0, opened[0].0 + 1);
                assert_eq!(opened[1].1.len(), key.algorithm.key_len());
                assert_ne!(opened[0].1, opened[1].1);
                key.versions = opened;
            }
            (result, ..) => panic!("{result:?}"),
        }
    }

    fn finish_rotation(&mut self, svm: usize, object: ObjectRef) {
        let result = self.engine().finish_rotation(self.id(svm), object);
        let Svm { id, keys, .. } = &mut self.svms[svm];
        match (result, *id, keys.get_mut(&object)) {
            (Err(KeyError::UnknownSvm { .. }), None, _) => {}
            (Err(KeyError::Missing { .. }), Some(_), None) => {}
            (Err(KeyError::NotRotating { .. }), Some(_), Some(key)) => assert_eq!(key.versions.len(), 1),
            (Ok(kept), Some(_), Some(key)) => {
                key.versions.remove(0);
                assert_eq!(key.versions, [(kept.version().get(), bytes(&kept))]);
            }
            (result, ..) => panic!("{result:?}"),
        }
    }

    fn create_volume(&mut self, svm: usize, text: &'static str, number: u128, encrypted: bool) {
        let (id, object) = (Uuid::from_u128(number), ObjectRef::Volume(Uuid::from_u128(number)));
        let new = NewVolume { id: Some(id), encrypted, ..NewVolume::encrypted(text.parse().unwrap()) };
        let result = self.engine().create_volume(self.id(svm), &new);
        let is_there = self.svms.iter().any(|svm| svm.named(object).is_some());
        let model = &self.svms[svm];
        let (is_taken, has_key) = (model.volumes.contains_key(text), model.keys.contains_key(&object));
        match result {
            Err(VolumeError::UnknownSvm { .. }) => assert_eq!(model.id, None),
            Err(VolumeError::Exists { volume }) => assert!(is_there && volume == id),
            Err(VolumeError::NameTaken { name, .. }) => assert!(is_taken && name.as_str() == text),
            Err(VolumeError::Key(KeyError::Exists { .. })) => assert!(has_key),
            Ok(made) => {
                assert!(model.id == Some(made.svm) && !is_there && !is_taken);
                assert!(!has_key);
                let engine = self.engine.as_ref().unwrap();
                let model = &mut self.svms[svm];
                if encrypted {
                    let versions = versions(&engine.open_key(made.svm, object).unwrap());
                    model.keys.insert(object, ModelKey { algorithm: KeyAlgorithm::XtsAes256, versions });
                    model.kek.get_or_insert((1, None));
                }
                model.volumes.insert(text, (number, encrypted));
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn delete_volume(&mut self, number: u128) {
        let id = Uuid::from_u128(number);
        let result = self.engine().delete_volume(id);
        let object = ObjectRef::Volume(id);
        match (result, self.svms.iter_mut().find_map(|svm| Some((svm.named(object)?, svm)))) {
            (Err(VolumeError::Unknown { volume }), None) => assert_eq!(volume, id),
            (Ok(()), Some((name, svm))) => {
                svm.volumes.remove(name);
                svm.keys.remove(&object);
            }
            (result, known) => panic!("{result:?} of {:?}", known.map(|(name, _)| name)),
        }
    }

    fn rekey(&mut self, svm: usize, end: impl FnOnce(&mut Self, claviger::Job) -> Result<(), JobError>) {
        let id = self.id(svm);
        let (job, before) = match (self.engine().rekey_internal(id), self.svms[svm].id, self.svms[svm].kek) {
            (Err(RekeyError::Key(KeyError::UnknownSvm { .. })), None, _) => return,
            (Err(RekeyError::NoKeys { .. }), Some(_), None) => return,
            (Ok(job), Some(_), Some(kek)) => (job, kek),
            (result, ..) => panic!("{result:?}"),
        };
        // One that stopped half-way goes on to the version that it made.
        let target = before.1.map_or(before.0 + 1, |_| before.0);
        let ended = end(self, job);
        let now = kek_versions(self.engine(), id).unwrap();
        match ended {
            Ok(()) => assert_eq!(now, (target, None)),
            Err(JobError::Cancelled { .. }) => assert!(now == before || now == (target, Some(target - 1)), "{now:?}"),
            Err(error) => panic!("{error:?}"),
        }
        self.svms[svm].kek = Some(now);
    }

    /// Everything that the engine tells is what the model says.
    fn check(&self) {
        let engine = self.engine();
        let existing = || NAMES.iter().zip(&self.svms).filter(|(_, svm)| svm.id.is_some());
        assert_eq!(engine.svms().len(), existing().count());
        for (svm_name, svm) in existing() {
            let id = svm.id.unwrap();
            assert_eq!(engine.svm_named(svm_name).unwrap(), engine.svm(id).unwrap());
            assert_eq!(engine.svm(id).unwrap().name().unwrap().as_str(), *svm_name);
            assert_eq!(kek_versions(engine, id), svm.kek);

            let listed: Vec<_> = engine.list_keys(id, None, 100).unwrap().into_iter().map(Result::unwrap).collect();
            assert_eq!(listed.len(), svm.keys.len());
            for (info, (&object, key)) in listed.iter().zip(&svm.keys) {
                let (newest, older) = key.versions.split_last().unwrap();
                assert_eq!((info.object, info.algorithm, info.version.get()), (object, key.algorithm, newest.0));
                assert_eq!(info.rotating_from.map(|version| version.get()), older.first().map(|older| older.0));
                let live = svm.kek.unwrap();
                assert!(info.kek_version.get() == live.0 || Some(info.kek_version.get()) == live.1);
                assert_eq!(engine.key(id, object).unwrap(), *info);
            }
            let mut volumes = BTreeMap::new();
            for listed in engine.volumes(Some(id), None, 100).unwrap().volumes {
                let volume = listed.volume.unwrap();
                let is_encrypted = match volume.encryption {
                    VolumeEncryption::Off => false,
                    VolumeEncryption::On { key, made } => {
                        assert_eq!(
                            (key, made.is_some()),
                            (engine.key(id, ObjectRef::Volume(volume.id)).unwrap(), true)
                        );
                        true
                    }
                    other => panic!("{other:?}"),
                };
                volumes.insert(volume.name.to_string(), (volume.id.as_u128(), is_encrypted));
            }
            let expected: BTreeMap<_, _> =
                svm.volumes.iter().map(|(name, volume)| (name.to_string(), *volume)).collect();
            assert_eq!(volumes, expected);
            let mut counts: BTreeMap<KeyType, u64> = BTreeMap::new();
            svm.keys.keys().for_each(|object| *counts.entry(object.key_type()).or_default() += 1);
            assert_eq!(engine.count_keys(id).unwrap(), counts);

            let mut opened = BTreeMap::new();
            let visited = engine.open_all(id, |object, key| {
                opened.insert(object, versions(&key.unwrap()));
            });
            let expected = svm.keys.iter().map(|(&object, key)| (object, key.versions.clone())).collect();
            assert_eq!((visited.unwrap(), opened), (svm.keys.len() as u64, expected));
        }
        let report = verify_clean(engine);
        assert_eq!(report.keys, self.svms.iter().map(|svm| svm.keys.len() as u64).sum::<u64>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_engine_does_what_its_model_does(ops in proptest::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.reopen(true);
        world.check();
    }
}
