//! Rollback is noticed: an epoch in the store, raised in the same commit as each structural change, and the anchor outside
//! the store that is raised after it, before the change is acknowledged.
//!
//! The anchor never runs ahead of the store, so a crash between the two leaves an anchor that is behind, which the next
//! change mends. A store that is behind its anchor is an older copy.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_store::{Batch, Expect, StoreError, Table};
use uuid::Uuid;

use crate::anchor::{Anchor, AnchorError};
use crate::engine::Core;
use crate::live::LiveSvm;
use crate::records::{Body, EpochRecord, NodeRecord, Read, RecordError, Records, V1};

/// What the store's epoch is, compared with what its anchor remembers.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Standing {
    /// The store is as new as its anchor knows it.
    #[default]
    Current,
    /// The store is an older copy: what changed between the two epochs is not in it.
    RolledBack {
        /// The store's epoch.
        store: u64,
        /// The epoch that it had reached.
        anchored: u64,
    },
    /// There is no anchor for this hierarchy, so that nobody knows whether the store is the newest.
    NotAnchored,
    /// The anchor was not read.
    Unread(AnchorError),
    /// The epoch's own record is damaged or missing, so that nobody knows whether the store is the newest.
    Lost,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the store is as new as its anchor"),
            Self::RolledBack { store, anchored } => {
                write!(f, "the store is an older copy: it is at epoch {store}, and had reached {anchored}")
            }
            Self::NotAnchored => f.write_str("the anchor is missing"),
            Self::Unread(error) => write!(f, "{error}"),
            Self::Lost => f.write_str("the epoch's record is damaged or missing"),
        }
    }
}

/// The epoch of an open hierarchy.
///
/// Any thread may commit a structural change at any time. Each expects the epoch that it raises, so that of two at the same
/// time one looks again; no lock is held meanwhile.
pub(crate) struct Epoch {
    state: Mutex<State>,
    /// Whether it was raised since the hierarchy was opened.
    raised: AtomicBool,
    /// `None` where the embedder wants none.
    anchor: Option<Arc<dyn Anchor>>,
    /// The epoch that the anchor is known to have reached. Raised by whoever holds `raising`.
    anchored: AtomicU64,
    /// The highest epoch that a commit of this process made durable. What is merely read may have been written by somebody who
    /// was not answered yet: an anchor there would be ahead of the store after a power cut.
    durable: AtomicU64,
    /// Held while the anchor is raised; opening keys never takes it.
    raising: Mutex<()>,
}

#[derive(Clone)]
enum State {
    /// The hierarchy is being made: nobody relies on it yet.
    Unborn,
    /// The store's record.
    At(Read<EpochRecord>),
    /// The record does not open.
    Lost,
}

impl Epoch {
    /// Of a hierarchy that is being made.
    pub(crate) fn unborn(anchor: Option<Arc<dyn Anchor>>) -> Self {
        Self::new(State::Unborn, true, anchor, 0)
    }

    /// Of the hierarchy in a store, and how that stands.
    pub(crate) fn load(
        anchor: Option<Arc<dyn Anchor>>,
        records: &Records,
        node: Option<&NodeRecord>,
    ) -> Result<(Self, Standing), StoreError> {
        let state = State::read(records)?;
        let store = match &state {
            State::At(record) => Some(record.body.epoch),
            State::Unborn | State::Lost => None,
        };
        let hierarchy = match &state {
            State::At(record) => Some(record.body.hierarchy),
            State::Unborn | State::Lost => node.map(|node| node.hierarchy),
        };
        let anchored = match (&anchor, hierarchy) {
            (Some(anchor), Some(hierarchy)) => anchor.epoch(hierarchy),
            (None, _) | (_, None) => Ok(store),
        };
        let (reached, standing) = match (store, anchored) {
            (_, Err(error)) => (0, Standing::Unread(error)),
            (None, Ok(reached)) => (reached.unwrap_or(0), Standing::Lost),
            (Some(_), Ok(None)) => (0, Standing::NotAnchored),
            (Some(store), Ok(Some(anchored))) if store < anchored => {
                (anchored, Standing::RolledBack { store, anchored })
            }
            (Some(_), Ok(Some(anchored))) => (anchored, Standing::Current),
        };
        Ok((Self::new(state, false, anchor, reached), standing))
    }

    fn new(state: State, raised: bool, anchor: Option<Arc<dyn Anchor>>, anchored: u64) -> Self {
        Self {
            state: Mutex::new(state),
            raised: AtomicBool::new(raised),
            anchor,
            anchored: AtomicU64::new(anchored),
            durable: AtomicU64::new(0),
            raising: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a record of the store, unless a newer one is known.
    fn note(&self, new: State) {
        let mut state = self.state();
        match (&*state, &new) {
            (State::At(known), State::At(new)) if known.body.epoch >= new.body.epoch => {}
            _ => *state = new,
        }
    }

    /// Takes note that a commit of this process, which was answered, made this epoch durable.
    fn is_durable(&self, epoch: u64) {
        self.durable.fetch_max(epoch, Ordering::AcqRel);
    }

    /// Whether the anchor has reached what is durable.
    fn is_anchored(&self) -> bool {
        self.anchor.is_none() || self.durable.load(Ordering::Acquire) <= self.anchored.load(Ordering::Acquire)
    }

    /// Raises the anchor to what is durable, unless it is there.
    fn raise_anchor(&self, hierarchy: Uuid) -> Result<(), AnchorError> {
        let Some(anchor) = &self.anchor else { return Ok(()) };
        let _raising = self.raising.lock().unwrap_or_else(PoisonError::into_inner);
        let durable = self.durable.load(Ordering::Acquire);
        if self.anchored.load(Ordering::Acquire) < durable {
            anchor.raise(hierarchy, durable)?;
            self.anchored.store(durable, Ordering::Release);
        }
        Ok(())
    }

    /// The epoch after all that the store and the anchor know of. An anchor that only does not answer now may remember a higher
    /// one, and is left alone; one that is damaged, or of another hierarchy, remembers nothing of this one.
    fn after_all(&self, hierarchy: Uuid, store: u64) -> Result<u64, AnchorError> {
        let remembered = match self.anchor.as_ref().map(|anchor| anchor.epoch(hierarchy)) {
            None => None,
            Some(Ok(epoch)) => epoch,
            Some(Err(error @ (AnchorError::Damaged { .. } | AnchorError::OtherHierarchy { .. }))) => {
                tracing::warn!(%error, "the anchor is replaced");
                None
            }
            Some(Err(error @ (AnchorError::File { .. } | AnchorError::Other(_)))) => return Err(error),
        };
        let known = self.anchored.load(Ordering::Acquire);
        Ok(store.max(known).max(remembered.unwrap_or(0)).saturating_add(1))
    }
}

impl State {
    /// Refuses what cannot have come after `known`: nobody lowers an epoch, or makes the same one twice.
    fn refuse_behind(&self, known: &Read<EpochRecord>) -> Result<(), RecordError> {
        match self {
            Self::At(there) if there.body.epoch <= known.body.epoch && there.raw != known.raw => {
                Err(RecordError::RolledBack { store: there.body.epoch, known: known.body.epoch })
            }
            Self::At(_) | Self::Unborn | Self::Lost => Ok(()),
        }
    }

    fn read(records: &Records) -> Result<Self, StoreError> {
        match records.read::<EpochRecord>(EpochRecord::KEY) {
            Ok(Some(record)) => Ok(Self::At(record)),
            Ok(None) => {
                tracing::error!("the epoch's record is missing; structural changes are refused");
                Ok(Self::Lost)
            }
            Err(RecordError::Store(error)) => Err(error),
            Err(error) => {
                tracing::error!(%error, "the epoch's record does not open; structural changes are refused");
                Ok(Self::Lost)
            }
        }
    }
}

impl Core {
    /// Commits a structural change: what `batch` says, and that the epoch is one higher. Durable, and anchored, when it
    /// returns.
    ///
    /// Where the anchor cannot be raised after the commit, the change has been made and is acknowledged; the next one is
    /// refused until the anchor answers.
    pub(crate) fn commit(&self, batch: Batch) -> Result<(), RecordError> {
        // Where the change before could not be anchored, no other is made.
        self.catch_up()?;
        self.commit_unanchored(batch)?;
        self.anchor();
        Ok(())
    }

    /// The same for a change of what `svm` has in memory: `publish` is called with the commit durable. Opening a key may wait
    /// for the SVM's lock, so that is not held while the anchor is raised.
    pub(crate) fn commit_and_publish(
        &self,
        svm: &LiveSvm,
        batch: Batch,
        publish: impl FnOnce(),
    ) -> Result<(), RecordError> {
        self.catch_up()?;
        let changing = svm.changing();
        self.commit_unanchored(batch)?;
        publish();
        drop(changing);
        self.anchor();
        Ok(())
    }

    /// Raises the anchor after a commit. The change has been made, whether it answers or not.
    fn anchor(&self) {
        if let Err(error) = self.catch_up() {
            tracing::error!(%error, "the anchor was not raised; changes wait for it");
        }
    }

    fn commit_unanchored(&self, batch: Batch) -> Result<(), RecordError> {
        loop {
            let state = self.epoch.state().clone();
            let old = match state {
                State::Unborn => return Ok(self.records.store().commit(batch)?),
                State::Lost => return Err(RecordError::EpochLost),
                State::At(record) => record,
            };
            let body = EpochRecord { epoch: old.body.epoch.saturating_add(1), ..old.body.clone() };
            let raw = self.records.seal(&body)?;
            let with_epoch = batch.clone().require(EpochRecord::TABLE, body.key(), old.unchanged()).put(
                EpochRecord::TABLE,
                body.key(),
                raw.clone(),
            );
            match self.records.store().commit(with_epoch) {
                Ok(()) => {
                    self.epoch.is_durable(body.epoch);
                    self.epoch.note(State::At(Read { body, raw }));
                    self.epoch.raised.store(true, Ordering::Release);
                    return Ok(());
                }
                // Another change, of this process or of one that shares the store, was faster.
                Err(StoreError::Conflict { table: Table::Node, key }) if key == EpochRecord::KEY => {
                    let there = State::read(&self.records)?;
                    there.refuse_behind(&old)?;
                    self.epoch.note(there);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Raises the epoch once after an opening: whoever changes keys calls it first, so that a copy of the store that was
    /// made before the opening is told from the store as it is now. While the anchor is behind, no key is changed. A full disk
    /// is no reason not to delete.
    pub(crate) fn raise_once(&self) -> Result<(), RecordError> {
        if !self.epoch.raised.load(Ordering::Acquire) {
            match self.commit(Batch::new()) {
                Err(RecordError::Store(error @ StoreError::DiskFull { .. })) => {
                    tracing::warn!(%error, "the epoch was not raised; a change of keys goes on without");
                }
                raised => raised?,
            }
        }
        self.catch_up()
    }

    /// Raises the anchor to what is durable, unless it is there: then it takes no lock.
    fn catch_up(&self) -> Result<(), RecordError> {
        if self.epoch.is_anchored() {
            return Ok(());
        }
        let state = self.epoch.state().clone();
        match state {
            State::Unborn => Ok(()),
            State::At(record) => Ok(self.epoch.raise_anchor(record.body.hierarchy)?),
            State::Lost => Err(RecordError::EpochLost),
        }
    }

    /// The first epoch of a hierarchy that is being made or restored, as it will be committed with the record that completes
    /// it. The anchor is raised before, and so never missing beside a complete hierarchy.
    pub(crate) fn first_epoch(&self, hierarchy: Uuid) -> Result<Read<EpochRecord>, RecordError> {
        let body = EpochRecord { version: V1, hierarchy, epoch: self.epoch.after_all(hierarchy, 0)? };
        let raw = self.records.seal(&body)?;
        self.epoch.is_durable(body.epoch);
        self.epoch.raise_anchor(hierarchy)?;
        Ok(Read { body, raw })
    }

    /// The hierarchy is complete.
    pub(crate) fn begin_epochs(&self, record: Read<EpochRecord>) {
        self.epoch.note(State::At(record));
    }

    /// Goes on from the store as it is, whatever the anchor and the epoch's record say. The anchor follows. Where no record says
    /// which hierarchy it is, the epoch stays lost: there is nothing to make it anew from.
    pub(crate) fn accept_rollback(&self, node: Option<&NodeRecord>) -> Result<Standing, RecordError> {
        let state = self.epoch.state().clone();
        let (hierarchy, store, expect) = match (state, node) {
            (State::Unborn, _) => return Ok(Standing::Current),
            (State::At(record), _) => (record.body.hierarchy, record.body.epoch, record.unchanged()),
            (State::Lost, None) => {
                tracing::error!("the record of the hierarchy's identity is lost too; structural changes are refused");
                return Ok(Standing::Lost);
            }
            (State::Lost, Some(NodeRecord { hierarchy, .. })) => {
                let there = self.records.store().get(EpochRecord::TABLE, EpochRecord::KEY)?;
                (*hierarchy, 0, there.map_or(Expect::Absent, Expect::Exactly))
            }
        };
        let body = EpochRecord { version: V1, hierarchy, epoch: self.epoch.after_all(hierarchy, store)? };
        let raw = self.records.seal(&body)?;
        let batch = Batch::new().require(EpochRecord::TABLE, body.key(), expect).put(
            EpochRecord::TABLE,
            body.key(),
            raw.clone(),
        );
        self.records.store().commit(batch)?;
        self.epoch.is_durable(body.epoch);
        self.epoch.raise_anchor(hierarchy)?;
        tracing::warn!(epoch = body.epoch, "the store was accepted as it is, on purpose");
        self.epoch.note(State::At(Read { body, raw }));
        Ok(Standing::Current)
    }
}
