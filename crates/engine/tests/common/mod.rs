//! What the tests share: a hierarchy to begin with, stores that hold a write back or die at it, and what a key is.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod forge;
pub(crate) mod stores;
pub(crate) mod vault;
pub(crate) mod whole;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use claviger::store::faults::{Crash, FaultClock, FaultyStore, Strike};
use claviger::store::{Batch, Entry, MemoryStore};
use claviger::{
    AnchorSource, Arena, ArenaOptions, Engine, Key, Key256, KeyMemory, ObjectRef, OnboardMode, OpenKey, Options,
    Passphrase, Protection, Report, SealingSource, Store, StoreKind, StoreOptions, SvmId, SvmName, Table,
};
use uuid::Uuid;

pub(crate) const PASSPHRASE: &[u8] = b"a passphrase of more than thirty-two characters";
pub(crate) const LONG_PASSPHRASE: &[u8] =
    b"a passphrase of more than sixty-four characters, as Common Criteria mode asks";
pub(crate) const OTHER_PASSPHRASE: &[u8] =
    b"another passphrase of more than sixty-four characters, which differs from it";

pub(crate) const TABLES: [Table; 8] = Table::ALL;

/// Key memory that all tests of a process share: locked memory is scarce.
pub(crate) fn arena() -> Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    let options = ArenaOptions { keys: 32_768, states: 1_024, accept: Protection::Unlocked };
    ARENA.get_or_init(|| Arena::new(&options).unwrap()).clone()
}

pub(crate) fn passphrase(bytes: &[u8]) -> Passphrase {
    Passphrase::copy_from(&arena(), bytes).unwrap()
}

/// The sealing key of all hierarchies on a store that a test brings.
pub(crate) fn sealing_key(byte: u8) -> Key256 {
    let mut bytes = arena().bytes(Key256::LEN).unwrap();
    bytes.expose_mut().fill(byte);
    Key256::new(bytes).unwrap()
}

/// For a store that a test brings.
pub(crate) fn options() -> Options {
    Options { sealing: SealingSource::Provided(sealing_key(0x5e)), anchor: AnchorSource::DangerNone, ..dir_options() }
}

/// For a store in a directory.
pub(crate) fn dir_options() -> Options {
    Options {
        memory: KeyMemory::Shared(arena()),
        sealing: SealingSource::BesideStore,
        store: StoreKind::default(),
        store_options: StoreOptions { cache_bytes: 4 << 20, reserve_bytes: 0 },
        job_retention: Duration::from_secs(3_600),
        resume_jobs: true,
        ..Options::default()
    }
}

pub(crate) fn name(text: &str) -> SvmName {
    text.parse().unwrap()
}

pub(crate) fn volume(number: u128) -> ObjectRef {
    ObjectRef::Volume(Uuid::from_u128(number))
}

/// A hierarchy with an unattended keystore. Deriving keys from the passphrase takes long, so it is made once and copied.
pub(crate) fn unattended() -> Arc<MemoryStore> {
    static MADE: OnceLock<MemoryStore> = OnceLock::new();
    Arc::new(copy_of(MADE.get_or_init(|| made(OnboardMode::Unattended, PASSPHRASE))))
}

/// A hierarchy in Common Criteria mode.
pub(crate) fn common_criteria() -> Arc<MemoryStore> {
    static MADE: OnceLock<MemoryStore> = OnceLock::new();
    Arc::new(copy_of(MADE.get_or_init(|| made(OnboardMode::CommonCriteria, LONG_PASSPHRASE))))
}

fn made(mode: OnboardMode, secret: &[u8]) -> MemoryStore {
    let store = Arc::new(MemoryStore::default());
    let engine = Engine::create_on(store.clone(), &name("cluster1"), options()).unwrap();
    engine.create_onboard(mode, &passphrase(secret)).unwrap();
    drop(engine);
    Arc::into_inner(store).unwrap()
}

/// Opens what is in `store`.
pub(crate) fn open(store: &Arc<impl Store + 'static>) -> Engine {
    Engine::open_on(store.clone(), options()).unwrap()
}

/// A store over `disk` that dies at the write after `writes` have succeeded.
pub(crate) fn dying<S: Store>(disk: &Arc<S>, crash: Crash, writes: usize) -> Arc<FaultyStore<S>> {
    Arc::new(FaultyStore::over(disk.clone(), FaultClock::striking([(writes, Strike::Crash(crash))])))
}

/// Every record of a store.
pub(crate) type Records = Vec<(Table, Vec<u8>, Vec<u8>)>;

pub(crate) fn records(store: &dyn Store) -> Records {
    let all = TABLES.map(|table| (table, store.scan(table, &[], None, usize::MAX).unwrap()));
    let record = |table: Table, Entry { key, value }: Entry| (table, key, value);
    all.into_iter().flat_map(|(table, page)| page.into_iter().map(move |entry| record(table, entry))).collect()
}

pub(crate) fn copy_of(store: &dyn Store) -> MemoryStore {
    let copy = MemoryStore::default();
    for (table, key, value) in records(store) {
        put(&copy, table, &key, &value);
    }
    copy
}

pub(crate) fn put(store: &dyn Store, table: Table, key: &[u8], value: &[u8]) {
    store.commit(Batch::new().put(table, key, value)).unwrap();
}

pub(crate) fn delete(store: &dyn Store, table: Table, key: &[u8]) {
    store.commit(Batch::new().delete(table, key)).unwrap();
}

/// The store key of an object's key record (`docs/formats.md`, key record).
pub(crate) fn store_key(svm: SvmId, object: ObjectRef) -> Vec<u8> {
    [svm.as_bytes().as_slice(), &[object.key_type().number()], object.uuid().as_bytes()].concat()
}

/// The store key of the record that counts a KEK's seals (`docs/formats.md`, records).
pub(crate) fn seal_key(svm: SvmId, kek_version: u32) -> Vec<u8> {
    [svm.as_bytes().as_slice(), &kek_version.to_be_bytes()].concat()
}

/// A key as a test remembers it.
pub(crate) type Bytes = Vec<u8>;

pub(crate) fn bytes(key: &Key) -> Bytes {
    key.expose().to_vec()
}

/// Versions and bytes of an opened key, the older first.
pub(crate) fn versions(opened: &OpenKey) -> Vec<(u32, Bytes)> {
    let version = |key: &Key| (key.version().get(), bytes(key));
    match opened {
        OpenKey::Current(key) => vec![version(key)],
        OpenKey::Rotating { old, new } => vec![version(old), version(new)],
    }
}

/// A verification that found nothing wrong.
pub(crate) fn verify_clean(engine: &Engine) -> Report {
    let report = engine.verify(|_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.keys, report.further_findings), (report.opened, 0));
    report
}

/// The current and the retiring KEK version.
pub(crate) fn kek_versions(engine: &Engine, svm: SvmId) -> Option<(u32, Option<u32>)> {
    let kek = engine.kek(svm).unwrap()?;
    assert!(kek.in_memory);
    Some((kek.version.get(), kek.retiring.map(|version| version.get())))
}

/// The error with all its causes, as text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
