//! Keys: create, open, list, count, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_secret::{Burning, burned};
use claviger_store::{Batch, Entry, Expect, Expectation, Store, StoreError, Table};
use claviger_wrap::{
    KekVersion, KeyAlgorithm, KeyBlob, KeyPlace, KeyType, KeyVersion, Nonces, OpenError, PlainKey, SvmId, SystemRandom,
};

use crate::engine::{Core, Engine};
use crate::key_error::KeyError;
use crate::key_record::{KEY_LEN, KeyRecord, ObjectRef, parse_store_key, store_key};
use crate::live::{Closed, Keks, LiveKek, LiveSvm, OpenKeks};
use crate::records::{Body, KekList, Operation, RecordError};

/// A key in the clear. Its bytes lie in protected memory and are wiped when it is dropped.
#[derive(Debug)]
pub struct Key {
    version: KeyVersion,
    plain: PlainKey,
}

impl Key {
    /// The key's bytes: 64 for XTS-AES-256 (Key1 then Key2, IEEE 1619), 32 for AES-256.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.plain.expose()
    }

    /// Which of its object's keys it is.
    #[must_use]
    pub const fn version(&self) -> KeyVersion {
        self.version
    }

    /// The cipher that it is for.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.plain.algorithm()
    }

    /// Whether both are the same key, in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.version == other.version && self.plain.ct_eq(&other.plain)
    }
}

/// What opening an object's key gives. A rotation is visible here, so that nobody forgets that two keys are live.
#[derive(Debug)]
pub enum OpenKey {
    /// The object's only key.
    Current(Key),
    /// The storage stack re-encrypts the object: what it has not reached yet is under `old`, all else under `new`.
    Rotating {
        /// The key before the rotation.
        old: Key,
        /// The key that stays.
        new: Key,
    },
}

impl OpenKey {
    /// The key for new data.
    #[must_use]
    pub const fn newest(&self) -> &Key {
        match self {
            Self::Current(key) | Self::Rotating { new: key, .. } => key,
        }
    }

    /// Whether both are the same keys, each compared in constant time.
    pub(crate) fn ct_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Current(key), Self::Current(other)) => key.ct_eq(other),
            (Self::Rotating { old, new }, Self::Rotating { old: other_old, new: other_new }) => {
                old.ct_eq(other_old) && new.ct_eq(other_new)
            }
            (Self::Current(_), Self::Rotating { .. }) | (Self::Rotating { .. }, Self::Current(_)) => false,
        }
    }
}

/// What a key record says of itself, without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// What the key encrypts.
    pub object: ObjectRef,
    /// The cipher that it is for.
    pub algorithm: KeyAlgorithm,
    /// The newest version.
    pub version: KeyVersion,
    /// The version before, while a rotation runs.
    pub rotating_from: Option<KeyVersion>,
    /// The KEK that the newest version is under.
    pub kek_version: KekVersion,
}

/// How many keys there are, by type.
pub type KeyCounts = BTreeMap<KeyType, u64>;

impl Engine {
    /// Makes a key for `object` and returns it open. Durable when it returns.
    ///
    /// The SVM's first key makes the SVM's KEK.
    ///
    /// # Errors
    /// [`KeyError::Exists`]; [`KeyError::OfVolume`] for a named volume; others as they say. No key was made then.
    pub fn create_key(&self, svm: SvmId, object: ObjectRef, algorithm: KeyAlgorithm) -> Result<Key, KeyError> {
        let live = self.core.svm(svm)?;
        let plain = PlainKey::generate(&self.core.arena, algorithm, &mut SystemRandom)?;
        let place =
            KeyPlace { svm, key_type: object.key_type(), object: object.uuid().into(), version: KeyVersion::FIRST };
        let key = store_key(svm, object);
        loop {
            // Before a KEK is made for a key that is refused. What was seen is expected in the commit.
            let unowned = self.core.refuse_owned(svm, object, Batch::new())?;
            let committed = self.core.with_kek(&live, |keks| {
                let mut blob = Vec::new();
                let mut nonces = self.core.nonces(svm, &keks.current, 1)?;
                self.core.raise_once()?;
                burned(|burning| seal(burning, &keks.current, &plain, &place, &mut nonces, &mut blob))?;
                let batch = unowned.clone().require(Table::Keys, key, Expect::Absent).put(Table::Keys, key, blob);
                self.core.commit_under(keks, batch)
            })?;
            match committed {
                Committed::Done => return Ok(Key { version: KeyVersion::FIRST, plain }),
                Committed::RecordChanged { table: Table::Keys, .. } => return Err(KeyError::Exists { object }),
                // A volume with this UUID was made or changed meanwhile.
                Committed::RecordChanged { .. } => {}
            }
        }
    }

    /// Opens the key of `object`: one read of the store and one decryption, nothing outside the node.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::Layout`], [`KeyError::NoSuchKek`] and [`KeyError::Damaged`] tell a key that is
    /// not there, a record that is no blob of this place, a blob whose KEK is gone, and damage; others as they say.
    pub fn open_key(&self, svm: SvmId, object: ObjectRef) -> Result<OpenKey, KeyError> {
        let live = self.core.svm(svm)?;
        let key = store_key(svm, object);
        loop {
            let keks = live.keks.load();
            let raw = self.core.read_key(&key, object)?;
            match self.core.open_record(&keks, svm, object, &raw) {
                // The first KEK may have been made, or a rekey have replaced the blob or the KEKs, between the two reads.
                Err(KeyError::NoSuchKek { .. } | KeyError::NoKek { .. }) if live.changed_since(&keks) => {}
                Err(KeyError::NoSuchKek { .. }) if self.core.read_key(&key, object)? != raw => {}
                result => return result,
            }
        }
    }

    /// What the record of `object` says of itself.
    ///
    /// # Errors
    /// [`KeyError::UnknownSvm`], [`KeyError::Missing`], [`KeyError::Layout`], [`KeyError::Records`].
    pub fn key(&self, svm: SvmId, object: ObjectRef) -> Result<KeyInfo, KeyError> {
        self.core.svm(svm)?;
        let raw = self.core.read_key(&store_key(svm, object), object)?;
        info(svm, object, &raw)
    }

    /// Up to `limit` keys of the SVM behind `after`, in the order of type and object. Fewer mean that there are no more.
    /// A record that is no key blob is an error in its place, and the others are listed.
    ///
    /// # Errors
    /// [`KeyError::UnknownSvm`], [`KeyError::Records`].
    pub fn list_keys(
        &self,
        svm: SvmId,
        after: Option<ObjectRef>,
        limit: usize,
    ) -> Result<Vec<Result<KeyInfo, KeyError>>, KeyError> {
        self.core.svm(svm)?;
        let after = after.map(|object| store_key(svm, object));
        let page = self.core.scan_keys(svm.as_bytes(), after.as_ref().map(<[u8; KEY_LEN]>::as_slice), limit)?;
        Ok(page.iter().map(info_of).collect())
    }

    /// How many keys the SVM has, by type. It reads every record's key.
    ///
    /// # Errors
    /// [`KeyError::UnknownSvm`], [`KeyError::Records`].
    pub fn count_keys(&self, svm: SvmId) -> Result<KeyCounts, KeyError> {
        self.core.svm(svm)?;
        let mut counts = KeyCounts::new();
        self.core.each_page::<KeyError>(svm.as_bytes(), |page| {
            for entry in page {
                if let Ok((_, object)) = parse_store_key(&entry.key) {
                    *counts.entry(object.key_type()).or_default() += 1;
                }
            }
            Ok(())
        })?;
        Ok(counts)
    }

    /// Deletes the key of `object`, both versions where a rotation runs. Nothing opens it any more; its
    /// wrapped bytes stay in the store's files until those are rewritten, so a deletion is no erasure.
    ///
    /// # Errors
    /// [`KeyError::UnknownSvm`], [`KeyError::Missing`], [`KeyError::Records`]; [`KeyError::OfVolume`] for the key of a named volume,
    /// which [`Engine::delete_volume`] deletes.
    pub fn delete_key(&self, svm: SvmId, object: ObjectRef) -> Result<(), KeyError> {
        self.core.svm(svm)?;
        let key = store_key(svm, object);
        self.core.read_key(&key, object)?;
        self.core.raise_once()?;
        loop {
            let raw = self.core.read_key(&key, object)?;
            let batch = Batch::new().require(Table::Keys, key, Expect::Exactly(raw)).delete(Table::Keys, key);
            let batch = self.core.refuse_owned(svm, object, batch)?;
            match self.core.records.store().commit(batch) {
                Ok(()) => return Ok(()),
                // A rekey or a rotation has replaced it in between.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(RecordError::from(error).into()),
            }
        }
    }
}

impl Core {
    pub(crate) fn svm(&self, svm: SvmId) -> Result<Arc<LiveSvm>, KeyError> {
        self.live.svm(svm).ok_or(KeyError::UnknownSvm { svm })
    }

    /// Runs `work` with the SVM's KEKs, made if there are none, and again when they have changed meanwhile.
    pub(crate) fn with_kek<T>(
        &self,
        svm: &Arc<LiveSvm>,
        mut work: impl FnMut(&OpenKeks) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        loop {
            let keks = svm.keks.load_full();
            match keks.as_ref() {
                Keks::None => self.make_first_kek(svm)?,
                Keks::Closed { why, .. } => return Err(closed(svm.id, *why)),
                Keks::Damaged => return Err(closed(svm.id, Closed::Damaged)),
                Keks::Open(open) => match refuses_keys(&open.list.body).map_or_else(|| work(open), Err) {
                    // The KEKs, or the blob that was read after them, are of a rekey that came in between.
                    Err(KeyError::KeksChanged { .. } | KeyError::NoSuchKek { .. }) if svm.changed_since(&keks) => {}
                    // Where that is taken back, the SVM goes on.
                    Err(
                        KeyError::SvmBeingDeleted { .. }
                        | KeyError::KeystoreBeingDisabled { .. }
                        | KeyError::KeystoreBeingDeleted,
                    ) if svm.changed_since(&keks) => {}
                    result => return result,
                },
            }
        }
    }

    /// Commits `batch` on the expectation that the KEKs are those that it was sealed under.
    pub(crate) fn commit_under(&self, keks: &OpenKeks, batch: Batch) -> Result<Committed, KeyError> {
        let guard = guard(keks);
        match self.records.store().commit(batch.require(guard.table, guard.key, guard.expect)) {
            Ok(()) => Ok(Committed::Done),
            Err(StoreError::Conflict { table: Table::Keks, .. }) => {
                Err(KeyError::KeksChanged { svm: keks.list.body.svm.into() })
            }
            Err(StoreError::Conflict { table, key }) => Ok(Committed::RecordChanged { table, key }),
            Err(error) => Err(RecordError::from(error).into()),
        }
    }

    pub(crate) fn read_key(&self, key: &[u8], object: ObjectRef) -> Result<Vec<u8>, KeyError> {
        self.records.store().get(Table::Keys, key).map_err(RecordError::Store)?.ok_or(KeyError::Missing { object })
    }

    pub(crate) fn scan_keys(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, RecordError> {
        Ok(self.records.store().scan(Table::Keys, prefix, after, limit)?)
    }

    /// Calls `visit` with all key records below `prefix`, a page at a time, in the order of their keys.
    pub(crate) fn each_page<E: From<RecordError>>(
        &self,
        prefix: &[u8],
        visit: impl FnMut(&[Entry]) -> Result<(), E>,
    ) -> Result<(), E> {
        each_page(self.records.store(), prefix, visit)
    }

    /// Opens all blobs of a record.
    pub(crate) fn open_record(
        &self,
        keks: &Keks,
        svm: SvmId,
        object: ObjectRef,
        raw: &[u8],
    ) -> Result<OpenKey, KeyError> {
        let open = open_keks(keks, svm)?;
        let record = KeyRecord::parse(svm, object, raw).map_err(|source| KeyError::Layout { object, source })?;
        self.open_blobs(open, object, &record)
    }

    /// Opens all blobs of a record whose place has been checked.
    pub(crate) fn open_blobs(
        &self,
        open: &OpenKeks,
        object: ObjectRef,
        record: &KeyRecord<'_>,
    ) -> Result<OpenKey, KeyError> {
        burned(|burning| {
            Ok(match record {
                KeyRecord::Current(blob) => OpenKey::Current(self.open_blob(burning, open, object, blob)?),
                KeyRecord::Rotating { old, new } => OpenKey::Rotating {
                    old: self.open_blob(burning, open, object, old)?,
                    new: self.open_blob(burning, open, object, new)?,
                },
            })
        })
    }

    /// Opens one blob whose place has been checked.
    pub(crate) fn open_blob(
        &self,
        burning: &Burning,
        keks: &OpenKeks,
        object: ObjectRef,
        blob: &KeyBlob<'_>,
    ) -> Result<Key, KeyError> {
        let header = blob.header();
        let no_such_kek = || KeyError::NoSuchKek { object, version: header.kek_version, id: header.kek_id };
        let live = keks.by_id(header.kek_id).ok_or_else(no_such_kek)?;
        match live.kek.open_among(burning, &self.arena, blob, &header.place) {
            Ok(plain) => Ok(Key { version: header.place.version, plain }),
            Err(OpenError::Arena(full)) => Err(full.into()),
            Err(OpenError::OtherKek { .. }) => Err(no_such_kek()),
            Err(_) => Err(KeyError::Damaged { object }),
        }
    }
}

/// Calls `visit` with all key records of `store` below `prefix`, a page at a time, in the order of their keys.
pub(crate) fn each_page<E: From<RecordError>>(
    store: &dyn Store,
    prefix: &[u8],
    mut visit: impl FnMut(&[Entry]) -> Result<(), E>,
) -> Result<(), E> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(Table::Keys, prefix, after.as_deref(), PAGE).map_err(RecordError::Store)?;
        visit(&page)?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

/// Why no key may be made under these KEKs now.
pub(crate) fn refuses_keys(list: &KekList) -> Option<KeyError> {
    let svm = list.svm.into();
    match list.operation {
        Some(Operation::Delete) => Some(KeyError::SvmBeingDeleted { svm }),
        Some(Operation::Disable { .. }) => Some(KeyError::KeystoreBeingDisabled { svm }),
        Some(Operation::DeleteKeystore) => Some(KeyError::KeystoreBeingDeleted),
        Some(Operation::Rekey { .. }) | None => None,
    }
}

/// The KEKs, if they are in memory.
pub(crate) fn open_keks(keks: &Keks, svm: SvmId) -> Result<&OpenKeks, KeyError> {
    match keks {
        Keks::Open(open) => Ok(open),
        Keks::Closed { why, .. } => Err(closed(svm, *why)),
        Keks::Damaged => Err(closed(svm, Closed::Damaged)),
        Keks::None => Err(closed(svm, Closed::NoKek)),
    }
}

/// What became of a commit under a KEK.
pub(crate) enum Committed {
    Done,
    /// This record was not as expected. Nothing was changed.
    RecordChanged {
        table: Table,
        key: Vec<u8>,
    },
}

/// Records read at a time.
pub(crate) const PAGE: usize = 1_024;

/// "The SVM's KEKs are still these."
pub(crate) fn guard(keks: &OpenKeks) -> Expectation {
    Expectation { table: Table::Keks, key: keks.list.body.key(), expect: keks.list.unchanged() }
}

pub(crate) fn seal(
    burning: &Burning,
    live: &LiveKek,
    plain: &PlainKey,
    place: &KeyPlace,
    nonces: &mut Nonces,
    out: &mut Vec<u8>,
) -> Result<(), KeyError> {
    let nonce = nonces.take().map_err(|_| KeyError::SealsExhausted { svm: place.svm })?;
    live.kek.seal_among(burning, plain, place, nonce, out).map_err(|_| KeyError::Sealing)
}

impl Key {
    pub(crate) const fn plain(&self) -> &PlainKey {
        &self.plain
    }

    pub(crate) const fn new(version: KeyVersion, plain: PlainKey) -> Self {
        Self { version, plain }
    }
}

fn info_of(entry: &Entry) -> Result<KeyInfo, KeyError> {
    let (svm, object) =
        parse_store_key(&entry.key).map_err(|source| KeyError::StoreKey { key: entry.key.clone(), source })?;
    info(svm, object, &entry.value)
}

/// What a key's record says of itself.
pub(crate) fn info(svm: SvmId, object: ObjectRef, raw: &[u8]) -> Result<KeyInfo, KeyError> {
    let record = KeyRecord::parse(svm, object, raw).map_err(|source| KeyError::Layout { object, source })?;
    let newest = record.newest().header();
    let rotating_from = match record {
        KeyRecord::Current(_) => None,
        KeyRecord::Rotating { old, .. } => Some(old.header().place.version),
    };
    Ok(KeyInfo {
        object,
        algorithm: newest.algorithm,
        version: newest.place.version,
        rotating_from,
        kek_version: newest.kek_version,
    })
}

pub(crate) fn closed(svm: SvmId, why: Closed) -> KeyError {
    match why {
        Closed::Locked => KeyError::Locked { svm },
        Closed::NoKeystore => KeyError::KeystoreLost { svm },
        Closed::NoKek => KeyError::NoKek { svm },
        Closed::Damaged => KeyError::KekDamaged { svm },
        Closed::NotFetched => KeyError::KekNotFetched { svm },
        Closed::Keeper(trouble) if trouble.is_refusal() => KeyError::KekRefused { svm, trouble },
        Closed::Keeper(trouble) => KeyError::KekUnreachable { svm, trouble },
        Closed::KeystoresDamaged => KeyError::KeystoresDamaged { svm },
        Closed::NoKeeper => KeyError::KeystoreUnusable { svm },
        Closed::ArenaFull => KeyError::KekWithoutRoom { svm },
    }
}
