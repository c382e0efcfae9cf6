//! A hierarchy to measure.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use claviger::store::{Expect, Outcome, Replacement};
use claviger::{AnchorSource, Options, SealingSource, Store, SvmId, Table};
use claviger::{
    Arena, ArenaOptions, Creation, Engine, Key256, KeyAlgorithm, KeyMemory, NewKey, ObjectRef, OnboardMode,
};
use uuid::Uuid;

/// Records that the engine reads or writes at a time.
pub const PAGE: usize = 1_024;

/// An engine with one SVM, over a store that its owner may use too.
pub struct Hierarchy {
    /// The engine.
    pub engine: Engine,
    /// Its one data SVM.
    pub svm: SvmId,
    /// The engine's store.
    pub store: Arc<dyn Store>,
    /// The volumes that have keys. Their UUIDs are random, so their order is not that of the store.
    pub volumes: Vec<ObjectRef>,
}

impl Hierarchy {
    /// A hierarchy over `store` with as many keys of XTS-AES-256 as `keys` says.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn new(store: Arc<dyn Store>, keys: usize) -> anyhow::Result<Self> {
        let arena = Arena::new(&ArenaOptions::default())?;
        let sealing = SealingSource::Provided(Key256::new(arena.bytes(Key256::LEN)?)?);
        let anchor = AnchorSource::DangerNone;
        let options = Options { memory: KeyMemory::Shared(arena), sealing, anchor, ..Options::default() };
        let engine = Engine::create_on(store.clone(), &"cluster".parse()?, options)?;
        let passphrase = engine.passphrase(b"the passphrase of a benchmark, 32 bytes and more")?;
        engine.create_onboard(OnboardMode::Unattended, &passphrase)?;
        let svm = engine.create_svm(&"svm".parse()?)?.id();
        let volumes: Vec<_> = (0..keys).map(|_| ObjectRef::Volume(Uuid::new_v4())).collect();
        create_all(&engine, svm, &volumes)?;
        Ok(Self { engine, svm, store, volumes })
    }

    /// The keys of the volumes' records (`docs/formats.md`, key record), in the order of `volumes`.
    #[must_use]
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.volumes.iter().map(|volume| record_of(self.svm, *volume)).collect()
    }

    /// Writes a copy of the volumes' records to `store`, in pages, as they were written here.
    ///
    /// # Errors
    /// Those of the stores.
    pub fn copy_records(&self, store: &dyn Store) -> anyhow::Result<()> {
        for records in self.records().chunks(PAGE) {
            let copy = |key: &Vec<u8>| {
                let value = self.store.get(Table::Keys, key)?.context("a volume has no record")?;
                Ok(Replacement { key: key.clone(), expect: Expect::Absent, value })
            };
            let items = records.iter().map(copy).collect::<anyhow::Result<Vec<_>>>()?;
            let outcomes = store.replace_each(Table::Keys, &items, &[])?;
            ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Replaced), "the copy had records already");
        }
        Ok(())
    }
}

/// Makes a key of XTS-AES-256 for each of `volumes`.
///
/// # Errors
/// Those of the engine.
pub fn create_all(engine: &Engine, svm: SvmId, volumes: &[ObjectRef]) -> anyhow::Result<()> {
    for some in volumes.chunks(10 * PAGE) {
        let new = |object: &ObjectRef| NewKey { object: *object, algorithm: KeyAlgorithm::XtsAes256 };
        let made = engine.create_keys(svm, &some.iter().map(new).collect::<Vec<_>>())?;
        ensure!(made.iter().all(|creation| *creation == Creation::Created), "a volume has a key already");
    }
    Ok(())
}

/// The key of a volume's record: SVM, key type, object.
#[must_use]
pub fn record_of(svm: SvmId, volume: ObjectRef) -> Vec<u8> {
    [svm.as_bytes().as_slice(), &[volume.key_type().number()], volume.uuid().as_bytes()].concat()
}
