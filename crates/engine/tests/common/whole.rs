//! A small hierarchy with every kind of record, and what its keys are.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger::store::MemoryStore;
use claviger::store::faults::{Crash, Tear};
use claviger::{Engine, JobError, KeyAlgorithm, ObjectRef, Options, RecordName, Store, SvmId, Table};

use super::{Bytes, Records, copy_of, name, put, records, vault, versions, volume};

/// Its keys, each with its versions.
pub(crate) type Keys = BTreeMap<(SvmId, ObjectRef), Vec<(u32, Bytes)>>;

/// Three SVMs with keys of one and of two blobs: one that was rekeyed, one that was not, and one whose rekey was cut short
/// with its keys under both KEKs.
pub(crate) struct Whole {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) svms: [SvmId; 3],
    /// The one whose KEK is kept by a keystore of its own.
    pub(crate) own: Option<SvmId>,
    pub(crate) keys: Keys,
}

pub(crate) fn drive(number: u128) -> ObjectRef {
    ObjectRef::Drive(volume(number).uuid())
}

/// Nothing goes on by itself.
pub(crate) fn idle() -> Options {
    Options { resume_jobs: false, ..vault::options_with(&vault::vault()) }
}

impl Whole {
    pub(crate) fn new() -> Self {
        let store = super::unattended();
        let engine = super::open(&store);
        let mut keys = Keys::new();
        let svms = ["a", "b", "c"].map(|text| engine.create_svm(&name(text)).unwrap().id());
        for svm in svms {
            engine.create_key(svm, volume(1), KeyAlgorithm::XtsAes256).unwrap();
            engine.create_key(svm, volume(2), KeyAlgorithm::XtsAes256).unwrap();
            engine.create_key(svm, drive(3), KeyAlgorithm::Aes256).unwrap();
            engine.begin_rotation(svm, volume(1)).unwrap();
            engine.open_all(svm, |object, key| drop(keys.insert((svm, object), versions(&key.unwrap())))).unwrap();
        }
        engine.rekey_internal(svms[0]).unwrap().wait().unwrap();
        drop(engine);
        // The job and the new KEK are committed, and every second key is rewrapped.
        let crashing = super::dying(&store, Crash::Torn(Tear::EverySecond), 2);
        let engine = super::open(&crashing);
        let rekeyed = engine.rekey_internal(svms[2]).unwrap().wait();
        assert!(matches!(rekeyed, Err(JobError::Interrupted { .. })), "{rekeyed:?}");
        drop(engine);
        let whole = Self { store, svms, own: None, keys };
        let engine = whole.open();
        super::verify_clean(&engine);
        assert_eq!(super::kek_versions(&engine, svms[2]), Some((2, Some(1))));
        whole
    }

    /// The same, where the second SVM's KEK is kept by one of two keystores of its own, at a vault in memory.
    pub(crate) fn with_barbican() -> Self {
        let whole = Self::new();
        let engine = whole.open();
        let svm = whole.svms[1];
        vault::create(&engine, svm, "B", 2);
        let keystore = vault::create_enabled(&engine, svm, "A", 1);
        engine.migrate(svm, keystore).unwrap().wait().unwrap();
        super::verify_clean(&engine);
        drop(engine);
        Self { own: Some(svm), ..whole }
    }

    /// Every record.
    pub(crate) fn records(&self) -> Records {
        records(&*self.store)
    }

    pub(crate) fn open(&self) -> Engine {
        Engine::open_on(self.store.clone(), idle()).unwrap()
    }

    /// A copy of the store.
    pub(crate) fn copy(&self) -> Arc<MemoryStore> {
        Arc::new(copy_of(&*self.store))
    }

    /// A copy of the store in which one record has other bytes, and an engine on it.
    pub(crate) fn damaged(&self, table: Table, key: &[u8], value: &[u8]) -> (Arc<MemoryStore>, Engine) {
        let store = self.copy();
        put(&*store, table, key, value);
        let engine = Engine::open_on(store.clone(), idle()).unwrap_or_else(|error| {
            panic!("{table}/{key:02x?} keeps the hierarchy from opening: {error}");
        });
        (store, engine)
    }

    /// A copy in which the last byte of one record is changed.
    pub(crate) fn broken(&self, table: Table, key: &[u8]) -> (Arc<MemoryStore>, Engine) {
        let mut value = self.store.get(table, key).unwrap().unwrap();
        *value.last_mut().unwrap() ^= 1;
        self.damaged(table, key, &value)
    }

    /// The SVMs whose KEKs cannot be had without this record.
    pub(crate) fn svms_that_need(&self, record: &RecordName) -> Vec<SvmId> {
        match (record.table, record.key.len()) {
            (Table::Keystores, 16) => self.svms.into_iter().filter(|svm| self.own != Some(*svm)).collect(),
            (Table::Keystores, _) => self.own.into_iter().collect(),
            (Table::Keks, 16) => vec![SvmId::from_bytes(record.key.as_slice().try_into().unwrap())],
            // Identity, SVMs, names, jobs and counts of seals: no key needs them to open. A key needs no other.
            _ => Vec::new(),
        }
    }
}
