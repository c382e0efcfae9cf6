//! SVM-KEKs: made with the first key, fetched at start, published after each change of their record.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_store::{Batch, Expect, StoreError, Table};
use claviger_wrap::{Kek, KekId, KekVersion, Nonces, SealCount, SvmId, SystemRandom};
use jiff::Timestamp;
use uuid::Uuid;

use crate::engine::{Core, Engine};
use crate::keeper::{Keeper, KeeperError, KekPlace, KeptKek};
use crate::key_error::KeyError;
use crate::keys::closed;
use crate::live::{Closed, Keks, LiveKek, LiveSvm, OpenKeks};
use crate::live_keystores::Keystores;
use crate::opening::{ToOpen, open_all};
use crate::records::{
    Body, KekEntry, KekList, Kept, KeystoreRecord, Operation, Read, RecordError, Scanned, SealRecord, SvmKeystores,
    SvmRecord, V1,
};

/// Seals reserved at a time: one more commit in 4,096 creations, and as many lost at each restart.
const RESERVATION: u64 = 4_096;

/// Of a KEK whose count is lost, half of the safe seals are taken for used.
pub(crate) const SEALS_OF_A_LOST_COUNT: u64 = SealCount::LIMIT / 2;

/// The reservations of all KEKs, as they were read.
pub(crate) type Reservations = BTreeMap<Vec<u8>, Read<SealRecord>>;

/// The KEK of an SVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekInfo {
    /// The version that new keys are under.
    pub version: KekVersion,
    /// Its name in blobs.
    pub id: KekId,
    /// When it was made.
    pub created: Timestamp,
    /// The version before, while keys may be under it: a rekey runs or has stopped half-way.
    pub retiring: Option<KekVersion>,
    /// Whether keys can be opened: all live versions are in memory.
    pub in_memory: bool,
}

impl Engine {
    /// The SVM's KEK; `None` before its first key.
    ///
    /// # Errors
    /// [`KeyError::UnknownSvm`]; [`KeyError::KekDamaged`] where its record does not open.
    pub fn kek(&self, svm: SvmId) -> Result<Option<KekInfo>, KeyError> {
        let live = self.core.svm(svm)?;
        let info = |list: &KekList, in_memory| KekInfo {
            version: list.current.kek_version,
            id: list.current.kek_id,
            created: list.current.created,
            retiring: list.retiring.as_ref().map(|entry| entry.kek_version),
            in_memory,
        };
        match live.keks.load().as_ref() {
            Keks::None => Ok(None),
            Keks::Open(open) => Ok(Some(info(&open.list.body, true))),
            Keks::Closed { list, .. } => Ok(Some(info(&list.body, false))),
            Keks::Damaged => Err(KeyError::KekDamaged { svm }),
        }
    }
}

impl Core {
    /// What is in the `keks` table: each SVM's list, and the reservations that open.
    pub(crate) fn read_keks(&self) -> Result<(Vec<Scanned<KekList>>, Reservations), StoreError> {
        let lists = self.records.scan_where(&[], KekList::is_key)?;
        let seals = self.records.scan_where(&[], |key| !KekList::is_key(key))?.into_iter();
        Ok((lists, seals.filter_map(|scanned| Some((scanned.key, scanned.read.ok()?))).collect()))
    }

    /// Fetches the KEKs of a list from their keepers. No lock is held.
    pub(crate) fn open_keks(&self, svm: &LiveSvm, list: Read<KekList>, reservations: &Reservations) -> Keks {
        self.opening(svm, list, reservations).open()
    }

    /// What it takes to fetch the KEKs of those of these SVMs that are `wanted`.
    pub(crate) fn to_open(
        &self,
        svms: impl IntoIterator<Item = Arc<LiveSvm>>,
        wanted: impl Fn(&Keks) -> bool,
    ) -> Result<Vec<ToOpen>, RecordError> {
        let (_, reservations) = self.read_keks()?;
        let to_open = |svm: Arc<LiveSvm>| {
            let closed = svm.keks.load_full();
            let list = closed.list().filter(|_| wanted(&closed))?.clone();
            let opening = self.opening(&svm, list, &reservations);
            Some(ToOpen { svm, closed, opening })
        };
        Ok(svms.into_iter().filter_map(to_open).collect())
    }

    /// Fetches again the KEKs that the cluster's keystore did not give while it was locked.
    pub(crate) fn reopen_keks(&self) -> Result<(), RecordError> {
        let cluster = self.keystore.id();
        let is_kept_by_it = |keks: &Keks| !keks.is_open() && cluster.is_some_and(|cluster| keks.is_kept_by(cluster));
        open_all(self.to_open(self.live.svms().values().cloned(), is_kept_by_it)?, || true, |_, _, _| ());
        Ok(())
    }

    /// Commits `record` in place of `old`, with what else `batch` holds, and publishes what `publish` makes of the KEKs that
    /// are in memory then: `old` may have been read before it was published.
    pub(crate) fn replace_keks(
        &self,
        svm: &LiveSvm,
        old: &Read<KekList>,
        record: KekList,
        batch: Batch,
        publish: impl FnOnce(&Keks, Read<KekList>) -> Keks,
    ) -> Result<Read<KekList>, RecordError> {
        let raw = self.records.seal(&record)?;
        let key = record.key();
        let batch = batch.require(Table::Keks, key.clone(), old.unchanged()).put(Table::Keks, key, raw.clone());
        let list = Read { body: record, raw };
        self.commit_and_publish(svm, batch, || {
            svm.keks.store(Arc::new(publish(&svm.keks.load(), list.clone())));
        })?;
        Ok(list)
    }

    /// Says durably which operation has the SVM to itself.
    pub(crate) fn set_operation(
        &self,
        svm: &LiveSvm,
        old: &Read<KekList>,
        operation: Option<Operation>,
    ) -> Result<Read<KekList>, RecordError> {
        let record = KekList { operation, ..old.body.clone() };
        self.replace_keks(svm, old, record, Batch::new(), with_list)
    }

    /// Makes a KEK and has it kept by these, fetched back and compared. Nothing is committed.
    pub(crate) fn make_kek(
        &self,
        svm: &LiveSvm,
        keepers: &[(Uuid, Arc<dyn Keeper>)],
        version: KekVersion,
    ) -> Result<(Kek, KekEntry), KeyError> {
        let kek = Kek::generate(&self.arena, version, &mut SystemRandom)?;
        let mut all = Vec::new();
        for (keystore, keeper) in keepers {
            match self.keep(svm, &kek, *keystore, keeper.as_ref()) {
                Ok(kept) => all.push(kept),
                Err(error) => {
                    self.discard_unused(svm, &all);
                    return Err(error);
                }
            }
        }
        let entry = KekEntry { kek_version: version, kek_id: kek.id(), created: self.clock.now(), kept: all };
        Ok((kek, entry))
    }

    /// Has a KEK kept, fetched back and compared. Nothing is committed.
    pub(crate) fn keep(&self, svm: &LiveSvm, kek: &Kek, keystore: Uuid, keeper: &dyn Keeper) -> Result<Kept, KeyError> {
        let place = KekPlace { svm: svm.id, version: kek.version() };
        let bytes = keeper.keep(kek.key(), place)?;
        let fetched = keeper.fetch(&bytes, place);
        let error = match fetched.map(|fetched| fetched.ct_eq(kek.key())) {
            Ok(true) => return Ok(Kept { keystore, bytes: bytes.bytes }),
            Ok(false) => KeyError::KeptOtherwise,
            Err(error) => error.into(),
        };
        if let Err(error) = keeper.discard(&bytes) {
            not_discarded(svm.id, &error);
        }
        Err(error)
    }

    /// The record of a new KEK's seals, with a first reservation.
    pub(crate) fn first_reservation(&self, svm: SvmId, version: KekVersion) -> Result<Read<SealRecord>, RecordError> {
        let body = SealRecord { version: V1, svm: svm.uuid(), kek_version: version, reserved: RESERVATION };
        let raw = self.records.seal(&body)?;
        Ok(Read { body, raw })
    }

    /// Makes the SVM's first KEK. Where another thread is faster, its KEK is used and this one is discarded.
    pub(crate) fn make_first_kek(&self, svm: &Arc<LiveSvm>) -> Result<(), KeyError> {
        // A new one beside keys whose KEK is lost would be in the way of the record's return from a copy.
        self.refuse_lost_keks(svm, &svm.keks.load())?;
        let record: Read<SvmRecord> =
            self.records.read(&SvmRecord::key_of(svm.id))?.ok_or(KeyError::UnknownSvm { svm: svm.id })?;
        let keks = svm.keks.load_full();
        if !matches!(keks.as_ref(), Keks::None) {
            return Ok(());
        }
        // Whoever changes which keystore is enabled changes this record.
        let keystores = svm.keystores.load_full();
        let expected = match keystores.as_ref() {
            Keystores::None => Expect::Absent,
            Keystores::There(there) => there.list.unchanged(),
            Keystores::Damaged => return Err(KeyError::KeystoresDamaged { svm: svm.id }),
        };
        let (keystore, keeper) = self.keeper_of_new(svm)?;
        let cluster = self.cluster_record(svm, keystore)?;
        let (kek, current) = self.make_kek(svm, &[(keystore, keeper)], KekVersion::FIRST)?;
        let reservation = self.first_reservation(svm.id, KekVersion::FIRST)?;
        let kept = current.kept.clone();
        let list = KekList { version: V1, svm: svm.id.uuid(), current, retiring: None, operation: None };
        let raw = self.records.seal(&list)?;
        let batch = Batch::new()
            .require(Table::Svms, record.body.key(), record.unchanged())
            .require(Table::Keks, list.key(), Expect::Absent)
            .require(Table::Keystores, SvmKeystores::key_of(svm.id), expected)
            .put(Table::Keks, list.key(), raw.clone())
            .put(Table::Keks, reservation.body.key(), reservation.raw.clone());
        let batch = expecting(batch, cluster.as_ref());

        let publish = || {
            kek.seals().raise(reservation.body.reserved);
            let current = Arc::new(LiveKek::new(kek, Some(reservation)));
            let list = Read { body: list, raw };
            svm.keks.store(Arc::new(Keks::Open(OpenKeks { list, current, retiring: None })));
        };
        match self.commit_and_publish(svm, batch, publish) {
            Ok(()) => {
                tracing::info!(svm = %svm.id, "first KEK made");
                Ok(())
            }
            Err(RecordError::Store(StoreError::Conflict { table, .. })) => {
                self.discard_unused(svm, &kept);
                self.adopt_first_kek(svm)?;
                // Renamed or deleted meanwhile, which the next look tells.
                let is_the_clusters = || cluster.is_some_and(|cluster| self.keystore.has_changed(&cluster));
                match table == Table::Svms || svm.has_changed(&keks, &keystores) || is_the_clusters() {
                    true => Ok(()),
                    // What is in memory is not what is in the store.
                    false => Err(KeyError::KeksChanged { svm: svm.id }),
                }
            }
            Err(error) => {
                if error.leaves_nothing() {
                    self.discard_unused(svm, &kept);
                }
                Err(error.into())
            }
        }
    }

    /// Refuses what relies on there being no KEK where there are keys whose KEKs are lost: the record may come back from a copy.
    pub(crate) fn refuse_lost_keks(&self, svm: &LiveSvm, keks: &Keks) -> Result<(), KeyError> {
        let svm_id = svm.id;
        match keks {
            Keks::Damaged => Err(KeyError::KekDamaged { svm: svm_id }),
            Keks::Closed { .. } | Keks::Open(_) => Ok(()),
            Keks::None => {
                let has_keys = !self.scan_keys(svm_id.as_bytes(), None, 1)?.is_empty();
                // A KEK is published before its first key is committed.
                match has_keys && matches!(svm.keks.load().as_ref(), Keks::None) {
                    true => Err(KeyError::NoKek { svm: svm_id }),
                    false => Ok(()),
                }
            }
        }
    }

    /// Publishes a first KEK that is in the store already: another thread has just committed it, or a commit whose answer
    /// was lost.
    pub(crate) fn adopt_first_kek(&self, svm: &LiveSvm) -> Result<(), KeyError> {
        let Some(list) = self.records.read::<KekList>(&KekList::key_of(svm.id))? else { return Ok(()) };
        let opened = self.open_keks(svm, list, &self.read_keks().map_err(RecordError::Store)?.1);
        // Whoever asks again asks the keeper again.
        if let Keks::Closed { why: why @ Closed::Keeper(_), .. } = opened {
            return Err(closed(svm.id, why));
        }
        let _changing = svm.changing();
        if matches!(svm.keks.load().as_ref(), Keks::None) {
            svm.keks.store(Arc::new(opened));
        }
        Ok(())
    }

    /// Has each keeper forget what it kept. One whose keystore is locked or lost is not asked: the onboard keeper has
    /// nothing but what the record holds.
    pub(crate) fn discard(&self, svm: &LiveSvm, kept: &[Kept]) -> Result<(), KeeperError> {
        for kept in kept {
            if let Ok(keeper) = self.keeper(svm, kept.keystore) {
                keeper.discard(&KeptKek { bytes: kept.bytes.clone() })?;
            }
        }
        Ok(())
    }

    /// Has the keeper forget a KEK that no record ever named. Where it does not answer, that KEK stays with it: nothing is
    /// under it, and the caller has a better error to tell.
    pub(crate) fn discard_unused(&self, svm: &LiveSvm, kept: &[Kept]) {
        if let Err(error) = self.discard(svm, kept) {
            not_discarded(svm.id, &error);
        }
    }

    /// Nonces for `seals` blobs under `live`, reserving more durably where needed.
    pub(crate) fn nonces(&self, svm: SvmId, live: &LiveKek, seals: usize) -> Result<Nonces, KeyError> {
        loop {
            match live.kek.nonces(seals, &mut SystemRandom) {
                Ok(nonces) => return Ok(nonces),
                Err(claviger_wrap::NonceError::Random(error)) => return Err(error.into()),
                Err(_) => self.reserve(svm, live, seals)?,
            }
        }
    }

    fn reserve(&self, svm: SvmId, live: &LiveKek, seals: usize) -> Result<(), KeyError> {
        let seals = u64::try_from(seals).unwrap_or(u64::MAX);
        let mut reservation = live.reservation();
        if live.kek.seals().has(seals) {
            // Another thread has just reserved more.
            return Ok(());
        }
        let reserved =
            live.kek.seals().next_reservation(seals, RESERVATION).map_err(|_| KeyError::SealsExhausted { svm })?;
        let body = SealRecord { version: V1, svm: svm.uuid(), kek_version: live.kek.version(), reserved };
        let expect = match reservation.as_ref() {
            Some(old) => old.unchanged(),
            // Lost: whatever is in its place now.
            None => {
                let there = self.records.store().get(Table::Keks, &body.key()).map_err(RecordError::Store)?;
                there.map_or(Expect::Absent, Expect::Exactly)
            }
        };
        let raw = self.records.seal(&body)?;
        let batch = Batch::new().require(Table::Keks, body.key(), expect).put(Table::Keks, body.key(), raw.clone());
        match self.commit(batch) {
            Ok(()) => {}
            // Nobody else writes it: a rekey has dropped the KEK.
            Err(RecordError::Store(StoreError::Conflict { .. })) => return Err(KeyError::KeksChanged { svm }),
            Err(error) => return Err(error.into()),
        }
        live.kek.seals().raise(reserved);
        *reservation = Some(Read { body, raw });
        Ok(())
    }
}

pub(crate) fn not_discarded(svm: SvmId, error: &KeeperError) {
    tracing::warn!(%svm, %error, "a KEK that is not used was not discarded");
}

/// Adds to `batch` that the cluster's keystore, where it is the one that keeps a KEK, is still this one.
pub(crate) fn expecting(batch: Batch, cluster: Option<&Read<KeystoreRecord>>) -> Batch {
    match cluster {
        Some(record) => batch.require(Table::Keystores, record.body.key(), record.unchanged()),
        None => batch,
    }
}

/// Adds to `batch` that the SVM has these KEKs no longer: nothing is under them any more, and nothing will be.
pub(crate) fn without_keks(batch: Batch, svm: SvmId, list: &Read<KekList>) -> Batch {
    let key = KekList::key_of(svm);
    let batch = batch.require(Table::Keks, key.clone(), list.unchanged()).delete(Table::Keks, key);
    list.body
        .entries()
        .fold(batch, |batch, entry| batch.delete(Table::Keks, SealRecord::key_of(svm, entry.kek_version)))
}

/// The same KEKs with a new record.
pub(crate) fn with_list(keks: &Keks, list: Read<KekList>) -> Keks {
    match keks {
        Keks::Open(open) => {
            Keks::Open(OpenKeks { list, current: open.current.clone(), retiring: open.retiring.clone() })
        }
        Keks::Closed { why, .. } => Keks::Closed { list, why: *why },
        // A record that has just been replaced was there and opened.
        Keks::None | Keks::Damaged => Keks::Closed { list, why: Closed::NoKeystore },
    }
}

#[cfg(test)]
mod tests {
    use claviger_secret::{Arena, ArenaOptions, Protection};
    use claviger_store::{MemoryStore, Store};
    use claviger_wrap::{Key256, KeyAlgorithm};
    use uuid::Uuid;

    use super::*;
    use crate::key_record::ObjectRef;
    use crate::keystores::OnboardMode;
    use crate::options::{AnchorSource, KeyMemory, Options, SealingSource};

    fn options(arena: &Arena) -> Options {
        let mut key = arena.bytes(Key256::LEN).unwrap();
        key.expose_mut().fill(7);
        Options {
            memory: KeyMemory::Shared(arena.clone()),
            sealing: SealingSource::Provided(Key256::new(key).unwrap()),
            anchor: AnchorSource::DangerNone,
            ..Options::default()
        }
    }

    #[test]
    fn a_kek_that_has_made_all_its_seals_makes_no_more_and_a_rekey_helps() {
        let arena = Arena::new(&ArenaOptions { keys: 64, states: 32, accept: Protection::Unlocked }).unwrap();
        let store = Arc::new(MemoryStore::default());
        let engine = Engine::create_on(store.clone(), &"cluster1".parse().unwrap(), options(&arena)).unwrap();
        let passphrase = engine.passphrase(b"a passphrase of more than thirty-two characters").unwrap();
        engine.create_onboard(OnboardMode::Unattended, &passphrase).unwrap();
        let svm = engine.create_svm(&"vs0".parse().unwrap()).unwrap().id();
        let create = |engine: &Engine, number| {
            engine.create_key(svm, ObjectRef::Volume(Uuid::from_u128(number)), KeyAlgorithm::XtsAes256).map(drop)
        };
        create(&engine, 1).unwrap();

        // Two seals are left. What is reserved at a start counts as used.
        let spent =
            SealRecord { version: V1, svm: svm.uuid(), kek_version: KekVersion::FIRST, reserved: SealCount::LIMIT - 2 };
        let raw = engine.core.records.seal(&spent).unwrap();
        store.commit(Batch::new().put(Table::Keks, spent.key(), raw)).unwrap();
        drop(engine);
        let engine = Engine::open_on(store.clone(), options(&arena)).unwrap();
        create(&engine, 2).unwrap();
        create(&engine, 3).unwrap();
        assert!(matches!(create(&engine, 4), Err(KeyError::SealsExhausted { .. })));
        let object = ObjectRef::Volume(Uuid::from_u128(1));
        assert!(matches!(engine.begin_rotation(svm, object), Err(KeyError::SealsExhausted { .. })));
        assert!(engine.open_key(svm, object).is_ok());
        drop(engine);

        let engine = Engine::open_on(store, options(&arena)).unwrap();
        assert!(matches!(create(&engine, 4), Err(KeyError::SealsExhausted { .. })));
        engine.rekey_internal(svm).unwrap().wait().unwrap();
        create(&engine, 4).unwrap();
        assert_eq!(engine.verify(|_| ()).unwrap().findings, []);
    }

    #[test]
    fn a_kek_that_the_keeper_gives_back_for_another_is_refused() {
        let arena = Arena::new(&ArenaOptions { keys: 64, states: 32, accept: Protection::Unlocked }).unwrap();
        let store = Arc::new(MemoryStore::default());
        let engine = Engine::create_on(store.clone(), &"cluster1".parse().unwrap(), options(&arena)).unwrap();
        let passphrase = engine.passphrase(b"a passphrase of more than thirty-two characters").unwrap();
        engine.create_onboard(OnboardMode::Unattended, &passphrase).unwrap();
        let object = ObjectRef::Volume(Uuid::from_u128(1));
        let [a, b] = ["a", "b"].map(|name| {
            let svm = engine.create_svm(&name.parse().unwrap()).unwrap().id();
            engine.create_key(svm, object, KeyAlgorithm::XtsAes256).unwrap();
            svm
        });
        let list = |svm| engine.core.records.read::<KekList>(&KekList::key_of(svm)).unwrap().unwrap().body;
        let mut exchanged = list(a);
        exchanged.current.kept = list(b).current.kept;
        let raw = engine.core.records.seal(&exchanged).unwrap();
        store.commit(Batch::new().put(Table::Keks, exchanged.key(), raw)).unwrap();
        drop(engine);

        let engine = Engine::open_on(store, options(&arena)).unwrap();
        assert!(matches!(engine.open_key(a, object), Err(KeyError::KekDamaged { .. })));
        let made = engine.create_key(a, ObjectRef::Volume(Uuid::from_u128(2)), KeyAlgorithm::XtsAes256);
        assert!(matches!(made, Err(KeyError::KekDamaged { .. })));
        engine.open_key(b, object).unwrap();
    }
}
