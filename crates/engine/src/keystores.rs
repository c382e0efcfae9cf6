//! The onboard keystore of the cluster scope: created, unlocked, its passphrase changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use claviger_secret::{Arena, ArenaError};
use claviger_store::{Batch, Expect, Table};
use claviger_wrap::{
    GenerateError, Key256, Passphrase, PassphraseError, PassphraseRules, RandomError, SystemRandom, random_uuid,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::engine::{Core, Engine};
use crate::error::{Advice, Blame, Fault};
use crate::guards::Refusal;
use crate::keeper::{Keeper, KeeperError};
use crate::key_error::KeyError;
use crate::keys::closed;
use crate::live::{Closed, Keks, LiveSvm};
use crate::live_keystores::Keystores;
use crate::metered::Kind;
use crate::onboard::{self, OnboardKeeper};
use crate::own_keeper::NoKeeper;
use crate::records::{Attempts, Body, KeystoreRecord, OnboardRecord, Read, RecordError, Records, V1};

/// The first wrong passphrase of Common Criteria mode costs this wait, each further one twice the one before.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);

/// How an onboard keystore opens when a node starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnboardMode {
    /// By itself, with the store's sealing key. The passphrase has 32 to 256 bytes.
    Unattended,
    /// Common Criteria mode: with the passphrase, at every start. It has 64 to 256 bytes, and wrong ones cost growing waits.
    CommonCriteria,
}

impl OnboardMode {
    pub(crate) const fn rules(self) -> PassphraseRules {
        match self {
            Self::Unattended => PassphraseRules::Standard,
            Self::CommonCriteria => PassphraseRules::CommonCriteria,
        }
    }
}

/// The cluster's onboard keystore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnboardInfo {
    /// The keystore's UUID.
    pub id: Uuid,
    /// How it opens.
    pub mode: OnboardMode,
    /// Whether it waits for its passphrase.
    pub locked: bool,
    /// When it was made.
    pub created: Timestamp,
}

impl Engine {
    /// Makes the cluster's onboard keystore, enabled from now on.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`], [`KeystoreError::Refused`] where the facts of the node do not allow it,
    /// [`KeystoreError::Passphrase`] for its length; others as they say.
    pub fn create_onboard(&self, mode: OnboardMode, passphrase: &Passphrase) -> Result<OnboardInfo, KeystoreError> {
        self.create_onboard_beside(Beside::Nothing, mode, passphrase)
    }

    /// The same in a MetroCluster whose other site has an onboard keystore already, with the passphrase of that.
    ///
    /// # Errors
    /// As [`Engine::create_onboard`]; [`KeystoreError::Refused`] also where there is no other site, or it has no onboard keystore.
    pub fn synchronize_onboard(
        &self,
        mode: OnboardMode,
        passphrase: &Passphrase,
    ) -> Result<OnboardInfo, KeystoreError> {
        self.create_onboard_beside(Beside::ThePartners, mode, passphrase)
    }

    fn create_onboard_beside(
        &self,
        beside: Beside,
        mode: OnboardMode,
        passphrase: &Passphrase,
    ) -> Result<OnboardInfo, KeystoreError> {
        let core = &self.core;
        let _changing = core.keystore.changing();
        if !matches!(core.keystore.state.load().as_ref(), State::None) {
            return Err(KeystoreError::Exists);
        }
        // A second keystore beside KEKs whose own is lost would be in the way of its record's return from a copy.
        if core.live.svms().values().any(|svm| needs_the_clusters(svm)) {
            return Err(KeystoreError::Lost);
        }
        core.may_create_onboard(mode, beside)?;
        passphrase.check(mode.rules())?;
        let ckek = Key256::generate(&core.arena, &mut SystemRandom)?;
        let id = random_uuid(&mut SystemRandom)?;
        let common_criteria = mode == OnboardMode::CommonCriteria;
        let onboard = onboard::put_away(&core.arena, core.records.sealing(), id, common_criteria, &ckek, passphrase)?;
        let record = KeystoreRecord { version: V1, keystore: id, created: core.clock.now(), deleting: false, onboard };
        core.add_keystore(record, ckek)?;
        tracing::info!(%id, ?mode, "onboard keystore created");
        self.keystore().ok_or(KeystoreError::None)
    }

    /// The cluster's keystore, if there is one whose record opens.
    #[must_use]
    pub fn keystore(&self) -> Option<OnboardInfo> {
        match self.core.keystore.state.load().as_ref() {
            State::None | State::Damaged => None,
            State::Present(present) => Some(OnboardInfo {
                id: present.record.body.keystore,
                mode: match present.record.body.onboard.common_criteria {
                    true => OnboardMode::CommonCriteria,
                    false => OnboardMode::Unattended,
                },
                locked: present.keeper.is_none(),
                created: present.record.body.created,
            }),
        }
    }

    /// Gives the passphrase to a keystore that waits for it; then all its KEKs come into memory, and jobs that waited go
    /// on where [`Options::resume_jobs`](crate::Options::resume_jobs) says so. An open keystore checks the passphrase all
    /// the same.
    ///
    /// # Errors
    /// [`KeystoreError::WrongPassphrase`]; [`KeystoreError::TooSoon`] while the wait for an earlier wrong one lasts.
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<(), KeystoreError> {
        let core = &self.core;
        let changing = core.keystore.changing();
        let present = core.keystore.present()?;
        let (ckek, record) = core.try_passphrase(&present.record, passphrase)?;
        let keeper = Arc::new(OnboardKeeper::new(&core.arena, ckek)?);
        core.keystore.publish(record, Some(keeper));
        drop(changing);
        core.reopen_keks()?;
        if self.resumes {
            self.resume_what_can_be();
        }
        Ok(())
    }

    /// Puts the hierarchy under another passphrase: one key is wrapped again. Checked in this order: the existing
    /// passphrase, that the new one differs, its length.
    ///
    /// Backups made before open with the passphrase of their time.
    ///
    /// # Errors
    /// [`KeystoreError::WrongPassphrase`], [`KeystoreError::SamePassphrase`], [`KeystoreError::Passphrase`]; others as
    /// they say. The existing passphrase stays in force then.
    pub fn change_passphrase(&self, existing: &Passphrase, new: &Passphrase) -> Result<(), KeystoreError> {
        let core = &self.core;
        let _changing = core.keystore.changing();
        let present = core.keystore.present()?;
        let (ckek, record) = core.try_passphrase(&present.record, existing)?;
        core.keystore.publish(record.clone(), present.keeper.clone());
        if existing.ct_eq(new) {
            return Err(KeystoreError::SamePassphrase);
        }
        new.check(record.body.onboard.rules())?;

        let (id, common_criteria) = (record.body.keystore, record.body.onboard.common_criteria);
        let onboard = onboard::put_away(&core.arena, core.records.sealing(), id, common_criteria, &ckek, new)?;
        let (batch, changed) = core.keystore_as(&record, KeystoreRecord { onboard, ..record.body.clone() })?;
        core.commit(batch)?;
        core.keystore.publish(changed, present.keeper.clone());
        tracing::info!(%id, "passphrase changed");
        Ok(())
    }
}

/// What the new onboard keystore stands beside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// No other, or none that is known of.
    Nothing,
    /// That of the other site of a MetroCluster, which has the same passphrase.
    ThePartners,
}

/// The cluster's keystore in memory. Changes exclude each other; readers take no lock.
pub(crate) struct Keystore {
    state: ArcSwap<State>,
    changing: Mutex<()>,
}

enum State {
    /// There is none yet.
    None,
    /// Its record does not open.
    Damaged,
    Present(Box<Present>),
}

#[derive(Clone)]
pub(crate) struct Present {
    pub(crate) record: Read<KeystoreRecord>,
    /// `None` while it is locked, or where its CKEK does not open.
    pub(crate) keeper: Option<Arc<OnboardKeeper>>,
}

impl Keystore {
    /// There is none yet.
    pub(crate) fn none() -> Self {
        Self { state: ArcSwap::from_pointee(State::None), changing: Mutex::new(()) }
    }

    /// Reads the keystore's record, and opens it where it opens unattended.
    pub(crate) fn load(arena: &Arena, records: &Records) -> Result<Self, RecordError> {
        let mut found =
            records.scan_where::<KeystoreRecord>(&[], KeystoreRecord::is_key)?.into_iter().map(|scanned| scanned.read);
        let state = match (found.next(), found.next()) {
            (None, _) => State::None,
            (_, Some(_)) => {
                tracing::error!("the cluster has two keystore records; put the store back from a copy");
                State::Damaged
            }
            (Some(Err(error)), None) => {
                tracing::error!(%error, "the keystore's record does not open");
                State::Damaged
            }
            (Some(Ok(record)), None) => {
                let keeper = unattended_keeper(arena, records, &record.body).unwrap_or_else(|error| {
                    tracing::error!(%error, "the keystore does not open unattended");
                    None
                });
                State::Present(Box::new(Present { record, keeper: keeper.map(Arc::new) }))
            }
        };
        Ok(Self { state: ArcSwap::from_pointee(state), changing: Mutex::new(()) })
    }

    /// Its UUID, where its record opens.
    pub(crate) fn id(&self) -> Option<Uuid> {
        match self.state.load().as_ref() {
            State::Present(present) => Some(present.record.body.keystore),
            State::None | State::Damaged => None,
        }
    }

    /// Taken by whoever changes the keystore, from its first look until the change is published.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn present(&self) -> Result<Present, KeystoreError> {
        match self.state.load().as_ref() {
            State::None => Err(KeystoreError::None),
            State::Damaged => Err(KeystoreError::DamagedRecord),
            State::Present(present) => Ok(Present::clone(present)),
        }
    }

    /// Whether its record says that it is being deleted.
    pub(crate) fn is_being_deleted(&self) -> bool {
        self.present().is_ok_and(|present| present.record.body.deleting)
    }

    /// Waits until whoever changes the keystore has published it, and says whether its record is another than this one.
    pub(crate) fn has_changed(&self, seen: &Read<KeystoreRecord>) -> bool {
        drop(self.changing());
        self.present().map_or(true, |present| present.record.raw != seen.raw)
    }

    /// Publishes that the keystore has been deleted durably.
    pub(crate) fn publish_none(&self) {
        self.state.store(Arc::new(State::None));
    }

    pub(crate) fn publish(&self, record: Read<KeystoreRecord>, keeper: Option<Arc<OnboardKeeper>>) {
        self.state.store(Arc::new(State::Present(Box::new(Present { record, keeper }))));
    }
}

/// Whether KEKs of the SVM are kept by a keystore that is not its own, or nobody knows.
fn needs_the_clusters(svm: &LiveSvm) -> bool {
    let keystores = svm.keystores.load();
    let is_own = |keystore| keystores.get(keystore).is_some();
    match svm.keks.load().as_ref() {
        Keks::None => false,
        Keks::Damaged => true,
        keks => keks
            .list()
            .into_iter()
            .flat_map(|list| list.body.entries())
            .flat_map(|entry| &entry.kept)
            .any(|kept| !is_own(kept.keystore)),
    }
}

fn unattended_keeper(
    arena: &Arena,
    records: &Records,
    record: &KeystoreRecord,
) -> Result<Option<OnboardKeeper>, KeystoreError> {
    match onboard::unattended(records.sealing(), record.keystore, &record.onboard)? {
        Some(ckek) => Ok(Some(OnboardKeeper::new(arena, ckek)?)),
        None => Ok(None),
    }
}

impl Core {
    /// The keeper of this keystore, which is the cluster's or one of the SVM's own.
    pub(crate) fn keeper(&self, svm: &LiveSvm, keystore: Uuid) -> Result<Arc<dyn Keeper>, Closed> {
        match svm.keystores.load().as_ref() {
            Keystores::Damaged if self.keystore.id() != Some(keystore) => Err(Closed::KeystoresDamaged),
            keystores => match keystores.get(keystore) {
                Some(live) => self.own_keeper(svm.id, &live).map_err(|error| {
                    tracing::error!(svm = %svm.id, %keystore, %error, "the keystore has no keeper");
                    match error {
                        NoKeeper::Arena(_) => Closed::ArenaFull,
                        _ => Closed::NoKeeper,
                    }
                }),
                None => self.cluster_keeper_with(keystore),
            },
        }
    }

    fn cluster_keeper_with(&self, keystore: Uuid) -> Result<Arc<dyn Keeper>, Closed> {
        match self.keystore.state.load().as_ref() {
            State::Present(present) if present.record.body.keystore == keystore => {
                let keeper = present.keeper.clone().ok_or(Closed::Locked)?;
                Ok(self.calls.to(Kind::Onboard, keeper))
            }
            State::Damaged => Err(Closed::Damaged),
            State::Present(_) | State::None => Err(Closed::NoKeystore),
        }
    }

    /// The keystore that keeps the KEK that the SVM is to get, and its keeper: its own that is enabled, or the cluster's.
    pub(crate) fn keeper_of_new(&self, svm: &LiveSvm) -> Result<(Uuid, Arc<dyn Keeper>), KeyError> {
        let own = match svm.keystores.load().as_ref() {
            Keystores::None => None,
            Keystores::There(there) => there.list.body.enabled,
            Keystores::Damaged => return Err(KeyError::KeystoresDamaged { svm: svm.id }),
        };
        match own {
            Some(keystore) => match self.keeper(svm, keystore) {
                Ok(keeper) => Ok((keystore, keeper)),
                Err(why) => Err(closed(svm.id, why)),
            },
            None => self.cluster_keeper(),
        }
    }

    /// The record of the cluster's keystore, where that is the one that is to keep a KEK of the SVM: whoever commits this expects it
    /// unchanged, so that the keystore is not deleted meanwhile. `None` where it is one of the SVM's own.
    pub(crate) fn cluster_record(
        &self,
        svm: &LiveSvm,
        keystore: Uuid,
    ) -> Result<Option<Read<KeystoreRecord>>, KeyError> {
        if svm.keystores.load().get(keystore).is_some() {
            return Ok(None);
        }
        loop {
            match self.keystore.present() {
                Ok(Present { record, .. }) if record.body.keystore != keystore => return Err(KeyError::NoKeystore),
                Ok(Present { record, .. }) if !record.body.deleting => return Ok(Some(record)),
                // Whether it comes to that, whoever deletes it will know.
                Ok(Present { record, .. }) if self.keystore.has_changed(&record) => {}
                Ok(_) => return Err(KeyError::KeystoreBeingDeleted),
                Err(_) => return Err(KeyError::NoKeystore),
            }
        }
    }

    /// The keeper of the cluster's keystore, which keeps the KEKs of SVMs without a keystore of their own.
    pub(crate) fn cluster_keeper(&self) -> Result<(Uuid, Arc<dyn Keeper>), KeyError> {
        match self.keystore.state.load().as_ref() {
            State::Present(present) => match &present.keeper {
                Some(keeper) => Ok((present.record.body.keystore, self.calls.to(Kind::Onboard, keeper.clone()))),
                None => Err(KeyError::KeystoreLocked),
            },
            State::None => Err(KeyError::NoKeystore),
            State::Damaged => Err(KeeperError::Damaged.into()),
        }
    }

    /// Makes a new keystore durable and publishes it.
    fn add_keystore(&self, record: KeystoreRecord, ckek: Key256) -> Result<(), KeystoreError> {
        let absent = Batch::new().require(Table::Keystores, record.key(), Expect::Absent);
        self.put_keystore(absent, record, ckek)
    }

    /// Puts a backup's keystore; again after an interrupted recovery, with the same outcome.
    pub(crate) fn restore_keystore(&self, record: KeystoreRecord, ckek: Key256) -> Result<(), KeystoreError> {
        self.put_keystore(Batch::new(), record, ckek)
    }

    fn put_keystore(&self, batch: Batch, record: KeystoreRecord, ckek: Key256) -> Result<(), KeystoreError> {
        let raw = self.records.seal(&record)?;
        let keeper = OnboardKeeper::new(&self.arena, ckek)?;
        let batch = batch.put(Table::Keystores, record.key(), raw.clone());
        self.commit(batch)?;
        self.keystore.publish(Read { body: record, raw }, Some(Arc::new(keeper)));
        Ok(())
    }

    /// Commits what is no structural change: how many attempts have failed. A keystore unlocks also where no epoch can be
    /// raised.
    fn count_attempts(
        &self,
        old: &Read<KeystoreRecord>,
        attempts: Option<Attempts>,
    ) -> Result<Read<KeystoreRecord>, RecordError> {
        let onboard = OnboardRecord { attempts, ..old.body.onboard.clone() };
        let (batch, counted) = self.keystore_as(old, KeystoreRecord { onboard, ..old.body.clone() })?;
        self.records.store().commit(batch)?;
        Ok(counted)
    }

    /// The batch that gives the keystore another record, and that as it will be read.
    pub(crate) fn keystore_as(
        &self,
        old: &Read<KeystoreRecord>,
        body: KeystoreRecord,
    ) -> Result<(Batch, Read<KeystoreRecord>), RecordError> {
        let raw = self.records.seal(&body)?;
        let batch = Batch::new().require(Table::Keystores, body.key(), old.unchanged()).put(
            Table::Keystores,
            body.key(),
            raw.clone(),
        );
        Ok((batch, Read { body, raw }))
    }

    /// Opens the CKEK with the passphrase. In Common Criteria mode the attempt is counted durably before it is made, and
    /// the count is taken back when it succeeds.
    pub(crate) fn try_passphrase(
        &self,
        record: &Read<KeystoreRecord>,
        passphrase: &Passphrase,
    ) -> Result<(Key256, Read<KeystoreRecord>), KeystoreError> {
        let onboard = &record.body.onboard;
        // A copy for reading counts nothing: whoever has the files can try passphrases without us.
        if !onboard.common_criteria || self.read_only {
            return Ok((onboard::by_passphrase(&self.arena, onboard, passphrase)?, record.clone()));
        }
        let now = self.clock.now();
        let wait = remaining_wait(onboard.attempts, now);
        if !wait.is_zero() {
            return Err(KeystoreError::TooSoon { wait });
        }
        let failed = onboard.attempts.map_or(0, |attempts| attempts.failed).saturating_add(1);
        let counted = self.count_attempts(record, Some(Attempts { failed, last: now }))?;
        let keeper = self.keystore.present().ok().and_then(|present| present.keeper);
        self.keystore.publish(counted.clone(), keeper);
        let ckek = onboard::by_passphrase(&self.arena, onboard, passphrase)?;
        Ok((ckek, self.count_attempts(&counted, None)?))
    }
}

/// How long the next attempt has to wait. A clock that was set back makes it wait no longer than the whole delay.
fn remaining_wait(attempts: Option<Attempts>, now: Timestamp) -> Duration {
    let Some(Attempts { failed, last }) = attempts else { return Duration::ZERO };
    let doublings = failed.saturating_sub(1).min(31);
    let delay = FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY);
    match Duration::try_from(now.duration_since(last)) {
        Ok(elapsed) => delay.saturating_sub(elapsed),
        Err(_) => delay,
    }
}

/// Why a keystore could not be made, unlocked or changed. Nothing has changed then, unless the store failed: see
/// [`StoreError`](claviger_store::StoreError).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The cluster has a keystore already.
    #[error("the cluster has an onboard keystore already")]
    Exists,
    /// There are KEKs, and the record of the keystore that keeps them is missing.
    #[error("the record of the cluster's keystore is missing; put it back from a copy, or restore a backup")]
    Lost,
    /// The cluster has no keystore.
    #[error("the cluster has no keystore; create the onboard keystore first")]
    None,
    /// The facts of the node do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The keystore waits for its passphrase.
    #[error("the keystore is locked; unlock it with the passphrase first")]
    Locked,
    /// The passphrase is not the keystore's.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Common Criteria mode: wrong passphrases cost growing waits.
    #[error("after a wrong passphrase, the next one is accepted in {} s", wait.as_secs().saturating_add(1))]
    TooSoon {
        /// How long from now.
        wait: Duration,
    },
    /// The new passphrase is the existing one.
    #[error("the new passphrase is the same as the existing one; choose another")]
    SamePassphrase,
    /// The passphrase is too short or too long.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The passphrase or sealing key is right, and the CKEK does not open.
    #[error("the keystore's CKEK is damaged; restore a backup")]
    DamagedCkek,
    /// The keystore's record does not open.
    #[error("the keystore's record is damaged; restore a backup")]
    DamagedRecord,
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No key could be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The store failed.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl Blame for KeystoreError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Exists | Self::None | Self::SamePassphrase | Self::Passphrase(_) => (Fault::Caller, Advice::Correct),
            Self::Refused(refusal) => refusal.blame(),
            Self::Locked | Self::WrongPassphrase => (Fault::Caller, Advice::GiveCredentials),
            Self::TooSoon { .. } => (Fault::Caller, Advice::Retry),
            Self::DamagedCkek | Self::DamagedRecord | Self::Lost => (Fault::Data, Advice::Repair),
            Self::Arena(error) => error.blame(),
            Self::Random(_) | Self::Generate(_) => (Fault::Node, Advice::Retry),
            Self::Records(error) => error.blame(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use claviger_secret::{ArenaOptions, Protection};
    use claviger_store::MemoryStore;

    use super::*;
    use crate::clock::Clock;
    use crate::options::{AnchorSource, KeyMemory, Options, SealingSource};

    const RIGHT: &[u8] = b"the right passphrase, with more than the sixty-four characters it must have";
    const WRONG: &[u8] = b"the wrong passphrase, with more than the sixty-four characters it must have";

    struct Node {
        store: Arc<MemoryStore>,
        arena: Arena,
        engine: Engine,
    }

    impl Node {
        fn new() -> Self {
            let arena = Arena::new(&ArenaOptions { keys: 64, states: 32, accept: Protection::Unlocked }).unwrap();
            let store = Arc::new(MemoryStore::default());
            let admin = "cluster1".parse().unwrap();
            let engine = Engine::create_on(store.clone(), &admin, options(&arena)).unwrap();
            engine.create_onboard(OnboardMode::CommonCriteria, &engine.passphrase(RIGHT).unwrap()).unwrap();
            let mut node = Self { store, arena, engine };
            node.reopen(0);
            node
        }

        fn reopen(&mut self, now: i64) {
            self.engine = Engine::open_on(self.store.clone(), options(&self.arena)).unwrap();
            self.at(now);
        }

        fn at(&mut self, now: i64) {
            Arc::get_mut(&mut self.engine.core).unwrap().clock = Arc::new(Clock::Manual(AtomicI64::new(now)));
        }

        fn unlock(&self, passphrase: &[u8]) -> Result<(), KeystoreError> {
            self.engine.unlock(&self.engine.passphrase(passphrase).unwrap())
        }

        /// The wait that is asked for, in seconds.
        fn wait(&self) -> u64 {
            match self.unlock(RIGHT) {
                Err(KeystoreError::TooSoon { wait }) => wait.as_secs(),
                other => panic!("{other:?}"),
            }
        }
    }

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
    fn wrong_passphrases_cost_growing_waits_that_a_restart_does_not_shorten() {
        let mut node = Node::new();
        let mut now = 1_000;
        node.at(now);
        for wait in [1, 2, 4] {
            assert!(matches!(node.unlock(WRONG), Err(KeystoreError::WrongPassphrase)));
            assert_eq!(node.wait(), wait);
            node.reopen(now);
            assert_eq!(node.wait(), wait);
            now += i64::try_from(wait).unwrap() - 1;
            node.at(now);
            assert_eq!(node.wait(), 1);
            now += 1;
            node.at(now);
        }
        // A clock that was set back does not open a door, and does not close it for longer than the whole wait.
        assert!(matches!(node.unlock(WRONG), Err(KeystoreError::WrongPassphrase)));
        node.at(now - 100_000);
        assert_eq!(node.wait(), 8);
        node.at(now + 8);
        node.unlock(RIGHT).unwrap();
        // The right one ends the row.
        assert!(matches!(node.unlock(WRONG), Err(KeystoreError::WrongPassphrase)));
        assert_eq!(node.wait(), 1);
        assert!(!node.engine.keystore().unwrap().locked);
    }

    #[test]
    fn no_wait_is_longer_than_a_quarter_of_an_hour() {
        let now = Timestamp::from_second(1_000).unwrap();
        let waits = [1, 10, 11, 40, u32::MAX].map(|failed| remaining_wait(Some(Attempts { failed, last: now }), now));
        assert_eq!(waits.map(|wait| wait.as_secs()), [1, 512, 900, 900, 900]);
        assert_eq!(remaining_wait(None, now), Duration::ZERO);
    }
}
