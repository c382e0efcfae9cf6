//! The cluster's onboard keystore is deleted. It must keep no KEK that protects keys.
//!
//! The deletion is announced in the keystore's own record first: whoever has a KEK kept by the keystore expects that record unchanged, so
//! from then on no KEK comes to it. Then it is announced in the record of each SVM whose KEKs it keeps, which every creation of a key
//! expects unchanged; only then are keys looked for, and where there is one, all is taken back. Where there is none, the KEKs are
//! dropped, and last the keystore's record. Each of these is one commit, and asking again goes on with what is left.

use std::sync::Arc;

use claviger_store::{Batch, Table};
use claviger_wrap::{KeyType, SvmId};

use crate::engine::{Core, Engine};
use crate::error::{Advice, Blame, Fault, chain};
use crate::guards::Refusal;
use crate::keks::without_keks;
use crate::key_error::KeyError;
use crate::key_record::parse_store_key;
use crate::keystores::{KeystoreError, Present};
use crate::live::{Keks, LiveSvm};
use crate::live_keystores::Keystores;
use crate::operations::is_conflict;
use crate::records::{Body, KekList, KeystoreRecord, Operation, Read, RecordError, SvmRecord, Task};

impl Engine {
    /// Deletes the cluster's onboard keystore, with the KEKs without keys that it keeps. Looked at in this order: encrypted volumes whose
    /// keys it protects, drives with keys, encrypted aggregates, encrypted core files; and that no KEK is being moved to it or from it.
    ///
    /// A deletion that was interrupted, or stopped because the store or the keeper failed, goes on when it is asked for again, or when the
    /// hierarchy is opened, unless something stands against it then. Until then no KEK can come to the keystore, and every key opens.
    ///
    /// # Errors
    /// [`DeleteOnboardError`]; where it is refused, nothing has changed.
    pub fn delete_onboard(&self) -> Result<(), DeleteOnboardError> {
        let core = &self.core;
        let _changing = core.keystore.changing();
        let present = core.keystore.present()?;
        let keystore = present.record.body.keystore;
        core.delete_onboard(present)?;
        tracing::info!(%keystore, "onboard keystore deleted");
        Ok(())
    }
}

impl Core {
    /// Goes on with a deletion that was interrupted, if nothing stands against it now.
    pub(crate) fn finish_onboard_deletion(&self) {
        let _changing = self.keystore.changing();
        let Ok(present) = self.keystore.present() else { return };
        if present.record.body.deleting
            && let Err(error) = self.delete_onboard(present)
        {
            tracing::warn!(%error, "the interrupted deletion of the onboard keystore was not completed");
        }
    }

    /// What can be seen before anything is announced: an announcement that has to be taken back would refuse creations for nothing.
    fn may_delete_onboard(&self, present: &Present) -> Result<(), DeleteOnboardError> {
        let keystore = present.record.body.keystore;
        let kept = |live: &&Arc<LiveSvm>| live.keks.load().is_kept_by(keystore);
        let svms = self.live.svms();
        for live in svms.values() {
            self.refuse_lost_keks(live, &live.keks.load()).map_err(DeleteOnboardError::Looking)?;
        }
        for live in svms.values().filter(kept) {
            if self.has_keys_of(live.id, KeyType::Vek)? {
                return Err(Refusal::EncryptedVolumes { svm: live.id }.into());
            }
        }
        for live in svms.values().filter(|live| kept(live) || matches!(live.keks.load().as_ref(), Keks::None)) {
            self.refuse_lost_volumes(live.id)?;
        }
        let has = |of| -> Result<bool, DeleteOnboardError> {
            svms.keys().try_fold(false, |found, svm| Ok(found || self.has_keys_of(*svm, of)?))
        };
        self.refuse_encrypted(has)?;
        for live in svms.values() {
            self.refuse_moves(live, present)?;
        }
        Ok(())
    }

    fn has_keys_of(&self, svm: SvmId, key_type: KeyType) -> Result<bool, DeleteOnboardError> {
        let prefix = [svm.as_bytes().as_slice(), &[key_type.number()]].concat();
        let found = self.scan_keys(&prefix, None, 1).map_err(|error| DeleteOnboardError::Looking(error.into()))?;
        Ok(!found.is_empty())
    }

    /// Refuses where an encrypted volume's key record is lost: it may come back from a copy, under a KEK that the keystore keeps.
    fn refuse_lost_volumes(&self, svm: SvmId) -> Result<(), DeleteOnboardError> {
        self.refuse_lost_volume_keys(svm, || Ok(())).map_err(|error| match error {
            KeyError::VolumeKeyMissing { .. } => Refusal::EncryptedVolumes { svm }.into(),
            error => DeleteOnboardError::Looking(error),
        })
    }

    /// Refuses while a KEK of the SVM moves to the keystore or from it, or a move was interrupted.
    fn refuse_moves(&self, live: &LiveSvm, present: &Present) -> Result<(), DeleteOnboardError> {
        let keystores = live.keystores.load();
        let Keystores::There(there) = keystores.as_ref() else { return Ok(()) };
        let running = there.list.body.job.map(|job| self.running(job)).transpose();
        let Some(job) = running.map_err(|error| DeleteOnboardError::Looking(error.into()))?.flatten() else {
            return Ok(());
        };
        let keystore = present.record.body.keystore;
        match job.body.task {
            Task::Move { from, to, .. } if from == Some(keystore) || to == keystore => {
                Err(DeleteOnboardError::Busy { svm: live.id })
            }
            _ => Ok(()),
        }
    }

    /// Deletes the keystore, or goes on with that, unless something stands against it. `changing` of the keystore is held.
    fn delete_onboard(&self, present: Present) -> Result<(), DeleteOnboardError> {
        let is_begun = present.record.body.deleting;
        let marked = match self.may_delete_onboard(&present) {
            Ok(()) => self.mark(present, true)?,
            Err(refused) if is_begun => return Err(self.taken_back(present, refused)),
            Err(refused) => return Err(refused),
        };
        let announced = match self.announce_all(&marked) {
            Ok(announced) => announced,
            Err(refused) => return Err(self.taken_back(marked, refused)),
        };
        for Announced { live, list } in announced {
            self.drop_keks(&live, &list).map_err(|source| DeleteOnboardError::Kek { svm: live.id, source })?;
        }
        let record = &marked.record;
        let batch = Batch::new()
            .require(Table::Keystores, record.body.key(), record.unchanged())
            .delete(Table::Keystores, record.body.key());
        self.commit(batch).map_err(|source| DeleteOnboardError::Record { source })?;
        self.keystore.publish_none();
        Ok(())
    }

    /// Why the keystore is not deleted, with all announcements taken back. KEKs without keys that a deletion which was interrupted has
    /// dropped stay dropped: whoever makes a key makes a KEK.
    fn taken_back(&self, marked: Present, refused: DeleteOnboardError) -> DeleteOnboardError {
        match self.take_back(marked) {
            Ok(()) => refused,
            Err(error) => {
                tracing::error!(
                    error = chain(&refused),
                    "the onboard keystore is not deleted, and stays announced as if it were"
                );
                error.into()
            }
        }
    }

    /// Says durably whether the keystore is being deleted.
    fn mark(&self, present: Present, deleting: bool) -> Result<Present, RecordError> {
        if present.record.body.deleting == deleting {
            return Ok(present);
        }
        let body = KeystoreRecord { deleting, ..present.record.body.clone() };
        let (batch, record) = self.keystore_as(&present.record, body)?;
        self.commit(batch)?;
        self.keystore.publish(record.clone(), present.keeper.clone());
        Ok(Present { record, keeper: present.keeper })
    }

    /// Shuts every SVM whose KEKs the keystore keeps, and sees that none of them has keys.
    fn announce_all(&self, marked: &Present) -> Result<Vec<Announced>, DeleteOnboardError> {
        let mut announced = Vec::new();
        for live in self.live.svms().values() {
            if let Some(list) = self.announce(live, marked)? {
                announced.push(Announced { live: live.clone(), list });
            }
        }
        Ok(announced)
    }

    fn announce(&self, live: &Arc<LiveSvm>, marked: &Present) -> Result<Option<Read<KekList>>, DeleteOnboardError> {
        let (svm, keystore) = (live.id, marked.record.body.keystore);
        loop {
            let list = self.durable_keks(live).map_err(DeleteOnboardError::Looking)?;
            let Some(list) = list.filter(|list| list.body.is_kept_by(keystore)) else { return Ok(None) };
            let announced = match list.body.operation {
                Some(Operation::DeleteKeystore) => Ok(list),
                Some(Operation::Rekey { .. } | Operation::Delete | Operation::Disable { .. }) => {
                    return Err(DeleteOnboardError::Busy { svm });
                }
                None => self.set_operation(live, &list, Some(Operation::DeleteKeystore)),
            };
            let announced = match announced {
                Ok(announced) => announced,
                // Another operation was faster, or the SVM is gone.
                Err(error) if is_conflict(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let found = self.scan_keys(svm.as_bytes(), None, 1);
            let found = found.map_err(|error| DeleteOnboardError::Looking(error.into()))?;
            return match found.first().map(|entry| parse_store_key(&entry.key)) {
                None => self.refuse_lost_volumes(svm).map(|()| Some(announced)),
                Some(Ok((_, object))) => Err(match object.key_type() {
                    KeyType::Vek => Refusal::EncryptedVolumes { svm },
                    KeyType::Aek => Refusal::NaeAggregates,
                    KeyType::NseAk => Refusal::DrivesWithKeys,
                }
                .into()),
                // Nobody knows what it is the key of.
                Some(Err(_)) => Err(Refusal::EncryptedVolumes { svm }.into()),
            };
        }
    }

    /// The SVM's KEKs as the store has them: what is durable counts, whether it is published yet or not. Fails where they are lost.
    fn durable_keks(&self, live: &Arc<LiveSvm>) -> Result<Option<Read<KekList>>, KeyError> {
        let svm = live.id;
        let key = KekList::key_of(svm);
        match self.records.read::<KekList>(&key) {
            Ok(Some(list)) => {
                // Of a commit that is about to be published, or whose answer was lost: nobody else publishes that.
                if matches!(live.keks.load().as_ref(), Keks::None) {
                    self.adopt_first_kek(live)?;
                }
                Ok(Some(list))
            }
            Ok(None) => {
                let keks = live.keks.load_full();
                self.refuse_lost_keks(live, &keks)?;
                let is_there =
                    |table, key: &[u8]| Ok::<_, RecordError>(self.records.store().get(table, key)?.is_some());
                // In memory and in the store no more; an SVM's deletion takes both records in one commit.
                if keks.list().is_some()
                    && !is_there(Table::Keks, &key)?
                    && is_there(Table::Svms, &SvmRecord::key_of(svm))?
                {
                    return Err(KeyError::NoKek { svm });
                }
                Ok(None)
            }
            Err(error @ RecordError::Store(_)) => Err(error.into()),
            Err(_) => Err(KeyError::KekDamaged { svm }),
        }
    }

    /// Takes all announcements back, that of the keystore itself last.
    fn take_back(&self, marked: Present) -> Result<(), RecordError> {
        for live in self.live.svms().values() {
            loop {
                let keks = live.keks.load_full();
                let announced = keks.list().filter(|list| list.body.operation == Some(Operation::DeleteKeystore));
                let Some(list) = announced else { break };
                match self.set_operation(live, list, None) {
                    Ok(_) => break,
                    Err(error) if is_conflict(&error) && live.changed_since(&keks) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.mark(marked, false).map(drop)
    }

    /// Nothing is under these KEKs any more, and nothing will be. The keeper forgets them while the records still say what it has to
    /// forget.
    fn drop_keks(&self, live: &LiveSvm, list: &Read<KekList>) -> Result<(), KeyError> {
        for entry in list.body.entries() {
            self.discard(live, &entry.kept)?;
        }
        let batch = without_keks(Batch::new(), live.id, list);
        Ok(self.commit_and_publish(live, batch, || live.keks.store(Arc::new(Keks::None)))?)
    }
}

/// An SVM that takes no keys any more, and the KEKs that it has.
struct Announced {
    live: Arc<LiveSvm>,
    list: Read<KekList>,
}

/// Why the onboard keystore was not deleted. Where [`DeleteOnboardError::is_refusal`] says so, nothing has changed; otherwise the deletion has
/// begun, and goes on when it is asked for again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteOnboardError {
    /// The cluster has no onboard keystore.
    #[error("the cluster has no onboard keystore")]
    None,
    /// The keystore's record does not open.
    #[error("the keystore's record is damaged; restore a backup")]
    DamagedRecord,
    /// It protects keys, or the facts of the node do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another operation has the KEKs of an SVM that the keystore keeps.
    #[error(
        "another operation runs on the KEKs of SVM {svm}, or was interrupted; try again when it has ended, or repeat it"
    )]
    Busy {
        /// The SVM.
        svm: SvmId,
    },
    /// It could not be found out whether the keystore protects keys.
    #[error("it could not be found out whether the keystore protects keys")]
    Looking(#[source] KeyError),
    /// A KEK without keys was not dropped.
    #[error("the KEK of SVM {svm} was not dropped; delete the keystore again")]
    Kek {
        /// The SVM.
        svm: SvmId,
        /// Why.
        source: KeyError,
    },
    /// All is dropped but the keystore's own record.
    #[error("the keystore's record was not deleted; delete the keystore again")]
    Record {
        /// Why.
        source: RecordError,
    },
    /// The deletion could not be announced, or not be taken back.
    #[error("the deletion of the keystore was not written down; delete the keystore again")]
    Announcing(#[from] RecordError),
}

impl DeleteOnboardError {
    /// Whether the keystore stays: the deletion was refused, or could not be looked into, and whatever was announced is taken back.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::None | Self::DamagedRecord | Self::Refused(_) | Self::Busy { .. } | Self::Looking(_) => true,
            Self::Kek { .. } | Self::Record { .. } | Self::Announcing(_) => false,
        }
    }
}

impl From<KeystoreError> for DeleteOnboardError {
    fn from(error: KeystoreError) -> Self {
        match error {
            KeystoreError::None => Self::None,
            _ => Self::DamagedRecord,
        }
    }
}

impl Blame for DeleteOnboardError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::None => (Fault::Caller, Advice::Correct),
            Self::DamagedRecord => (Fault::Data, Advice::Repair),
            Self::Refused(refusal) => refusal.blame(),
            Self::Busy { .. } => (Fault::Caller, Advice::Retry),
            Self::Looking(error) | Self::Kek { source: error, .. } => error.blame(),
            Self::Record { source } | Self::Announcing(source) => source.blame(),
        }
    }
}
