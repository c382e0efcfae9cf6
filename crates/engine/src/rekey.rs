//! rekey-internal: a new KEK for an SVM, and every key of it re-wrapped, while keys are created, opened and deleted.
//!
//! The steps are those of [`RekeyStep`]; each ends in one commit, and a step that is run again from its start does no
//! harm. No blob can appear under the old KEK once the new one is current: whoever seals a blob commits it on the
//! expectation that the `keks` record is still the one that the KEK came from. So when one whole pass finds nothing under
//! the old KEK, nothing ever will be, and it is dropped.

use std::sync::Arc;

use claviger_secret::{Burning, burned};
use claviger_store::{Batch, Entry, Expect, Outcome, Replacement, StoreError, Table};
use claviger_wrap::{KeyBlob, Nonces, SvmId, SystemRandom, VersionExhausted, random_uuid};
use uuid::Uuid;

use crate::engine::{Core, Engine};
use crate::error::{Advice, Blame, Fault};
use crate::jobs::{Cell, Halt, Job, Progress};
use crate::key_error::KeyError;
use crate::key_record::{KeyRecord, ObjectRef, parse_store_key};
use crate::keys::{PAGE, closed, guard, open_keks, seal};
use crate::live::{Closed, Keks, LiveKek, LiveSvm, OpenKeks};
use crate::live_keystores::Keystores;
use crate::operations::{self, Halted, Work};
use crate::records::{
    Body, JobRecord, KekList, Kept, Operation, Phase, Read, RecordError, RekeyStep, SealRecord, SvmKeystores, Task, V1,
};
use crate::status::KeystoreState;

/// The cursor is made durable once in so many pages: it only saves time.
const PAGES_PER_CURSOR: usize = 16;

impl Engine {
    /// Gives the SVM a new KEK and re-wraps all its keys. Returns at once with the job.
    ///
    /// A rekey of this SVM that was interrupted goes on with its own job; one that was cancelled or has failed goes on to
    /// the same new KEK with a new job.
    ///
    /// # Errors
    /// [`RekeyError`]; nothing has changed then.
    pub fn rekey_internal(&self, svm: SvmId) -> Result<Job, RekeyError> {
        let live = self.core.svm(svm)?;
        loop {
            let (keks, keystores) = (live.keks.load_full(), live.keystores.load_full());
            let open = match keks.as_ref() {
                Keks::None => return Err(RekeyError::NoKeys { svm }),
                Keks::Closed { why, .. } => return Err(closed(svm, *why).into()),
                Keks::Damaged => return Err(closed(svm, Closed::Damaged).into()),
                Keks::Open(open) => open,
            };
            let started = match open.list.body.operation {
                Some(Operation::Delete) => Err(KeyError::SvmBeingDeleted { svm }.into()),
                Some(Operation::DeleteKeystore) => Err(KeyError::KeystoreBeingDeleted.into()),
                Some(Operation::Disable { .. }) => {
                    Err(RekeyError::KeystoreBusy { svm, state: KeystoreState::Disabling })
                }
                Some(Operation::Rekey { job }) => match self.core.records.read::<JobRecord>(job.as_bytes()) {
                    Ok(Some(record)) if record.body.is_running() => Ok(self.jobs.run(&self.core, record)?),
                    Err(error @ RecordError::Store(_)) => Err(error.into()),
                    // The job's record is lost, or ended without freeing the SVM. The KEKs say where a new job goes on.
                    Ok(_) | Err(_) => self.start_rekey(&live, open),
                },
                None => self.start_rekey(&live, open),
            };
            match started {
                // Another thread has begun a rekey: both get its job.
                Err(RekeyError::Key(KeyError::KeksChanged { .. })) if live.changed_since(&keks) => {}
                // An operation on its keystores has begun: the next look finds it.
                Err(RekeyError::KeystoresChanged) if live.has_changed(&keks, &keystores) => {}
                started => return started,
            }
        }
    }

    fn start_rekey(&self, svm: &LiveSvm, open: &OpenKeks) -> Result<Job, RekeyError> {
        self.core.forget_old_jobs()?;
        let record = self.core.start_rekey(svm, open)?;
        tracing::info!(svm = %svm.id, job = %record.body.job, "rekey begins");
        Ok(self.jobs.run(&self.core, record)?)
    }
}

impl Core {
    /// Commits the job's record, and in the `keks` record that the SVM is taken.
    fn start_rekey(&self, svm: &LiveSvm, open: &OpenKeks) -> Result<Read<JobRecord>, RekeyError> {
        let keystores = svm.keystores.load_full();
        let unchanged = match keystores.as_ref() {
            Keystores::None => Expect::Absent,
            Keystores::Damaged => return Err(KeyError::KeystoresDamaged { svm: svm.id }.into()),
            Keystores::There(there) => {
                let SvmKeystores { enabled, job, .. } = there.list.body;
                if let Some(job) = job
                    && self.running(job)?.is_some()
                {
                    let state = self.state_while(job);
                    return Err(RekeyError::KeystoreBusy { svm: svm.id, state });
                }
                if let Some(keystore) = enabled
                    && !open.list.body.is_kept_by(keystore)
                {
                    return Err(RekeyError::Mixed { svm: svm.id, keystore });
                }
                there.list.unchanged()
            }
        };
        let job = random_uuid(&mut SystemRandom).map_err(RecordError::Random)?;
        let step = match open.retiring {
            // An earlier rekey stopped half-way: go on to the KEK that it made.
            Some(_) => RekeyStep::Rewrap { cursor: Vec::new() },
            None => {
                open.current.kek.version().next()?;
                RekeyStep::Make
            }
        };
        let record = JobRecord {
            version: V1,
            job,
            task: Task::RekeyInternal { svm: svm.id.uuid(), step },
            started: self.clock.now(),
            done: 0,
            total: None,
            phase: Phase::Running,
        };
        let batch = Batch::new().require(Table::Keystores, SvmKeystores::key_of(svm.id), unchanged);
        let (batch, record) = self.put_job(batch, None, record)?;
        let list = KekList { operation: Some(Operation::Rekey { job }), ..open.list.body.clone() };
        self.replace_keks(svm, &open.list, list, batch, |_, list| Keks::Open(OpenKeks { list, ..open.clone() }))
            .map_err(|error| busy(error, svm.id))?;
        Ok(record)
    }
}

impl Core {
    /// The record with all its blobs under the current KEK. Takes a nonce for each that was not.
    pub(crate) fn rewrap(
        &self,
        burning: &Burning,
        open: &OpenKeks,
        object: ObjectRef,
        record: &KeyRecord<'_>,
        nonces: &mut Nonces,
    ) -> Result<Vec<u8>, KeyError> {
        let mut value = Vec::new();
        for blob in record.blobs() {
            match is_under(open, blob) {
                true => value.extend_from_slice(blob.as_bytes()),
                false => {
                    let key = self.open_blob(burning, open, object, blob)?;
                    seal(burning, &open.current, key.plain(), &blob.header().place, nonces, &mut value)?;
                }
            }
        }
        Ok(value)
    }
}

fn busy(error: RecordError, svm: SvmId) -> RekeyError {
    match error {
        RecordError::Store(StoreError::Conflict { table: Table::Keystores, .. }) => RekeyError::KeystoresChanged,
        RecordError::Store(StoreError::Conflict { .. }) => KeyError::KeksChanged { svm }.into(),
        error => error.into(),
    }
}

/// Runs the job to its end, or until it must stop.
pub(crate) fn run(work: &mut Work<'_>, svm: Arc<LiveSvm>) -> Result<(), Halted> {
    let Work { core, cell, record } = work;
    Rekey { core, cell, svm, record }.steps()
}

struct Rekey<'a> {
    core: &'a Core,
    cell: &'a Cell,
    svm: Arc<LiveSvm>,
    record: &'a mut Read<JobRecord>,
}

impl Rekey<'_> {
    fn steps(&mut self) -> Result<(), Halted> {
        loop {
            let Task::RekeyInternal { step, .. } = &self.record.body.task else { return Ok(()) };
            match (step.clone(), self.cell.halt()) {
                _ if !self.record.body.is_running() => return Ok(()),
                (_, Some(Halt::Close)) => return Err(Halted::Close),
                // The old KEK is dropped already: there is nothing left that could be cancelled.
                (RekeyStep::Discard { kept }, _) => {
                    operations::discard(self.core, self.record, &self.svm, &kept)?;
                    tracing::info!(keys = self.record.body.done, "the rekey is complete");
                }
                (_, Some(Halt::Cancel)) => return Err(Halted::Cancel),
                (RekeyStep::Make, None) => self.make()?,
                (RekeyStep::Rewrap { cursor }, None) => self.rewrap(cursor)?,
            }
        }
    }

    /// The new KEK is made, kept, fetched back and compared. One commit makes it current.
    fn make(&mut self) -> Result<(), Halted> {
        let keks = self.svm.keks.load_full();
        let open = self.open(&keks)?;
        let version = open.current.kek.version().next().map_err(|_| self.changed())?;
        let mut keepers = Vec::new();
        for Kept { keystore, .. } in &open.list.body.current.kept {
            let keeper = self.core.keeper(&self.svm, *keystore).map_err(|why| closed(self.svm.id, why))?;
            keepers.push((*keystore, keeper));
        }
        let (kek, entry) = self.core.make_kek(&self.svm, &keepers, version)?;
        let kept = entry.kept.clone();
        let reservation = self.core.first_reservation(self.svm.id, version)?;

        let step = RekeyStep::Rewrap { cursor: Vec::new() };
        let (batch, record) = self.next(Batch::new(), step, self.record.body.done)?;
        let batch = batch.require(Table::Keks, reservation.body.key(), Expect::Absent).put(
            Table::Keks,
            reservation.body.key(),
            reservation.raw.clone(),
        );
        let list = &open.list.body;
        let list = KekList { current: entry, retiring: Some(list.current.clone()), ..list.clone() };
        let made = self.core.replace_keks(&self.svm, &open.list, list, batch, |_, list| {
            kek.seals().raise(reservation.body.reserved);
            let current = Arc::new(LiveKek::new(kek, Some(reservation)));
            Keks::Open(OpenKeks { list, current, retiring: Some(open.current.clone()) })
        });
        if let Err(error) = made {
            if error.leaves_nothing() {
                self.core.discard_unused(&self.svm, &kept);
            }
            return Err(error.into());
        }
        *self.record = record;
        Ok(())
    }

    /// Every key is re-wrapped, and one whole pass finds none under the old KEK. One commit drops that.
    fn rewrap(&mut self, cursor: Vec<u8>) -> Result<(), Halted> {
        self.pass(cursor)?;
        while self.pass(Vec::new())? > 0 {}

        let keks = self.svm.keks.load_full();
        let open = self.open(&keks)?;
        let list = &open.list.body;
        let Some(retiring) = &list.retiring else { return Err(self.changed().into()) };
        let step = RekeyStep::Discard { kept: retiring.kept.clone() };
        let (batch, record) = self.next(Batch::new(), step, self.record.body.done)?;
        let batch = batch.delete(Table::Keks, SealRecord::key_of(self.svm.id, retiring.kek_version));
        let list = KekList { retiring: None, ..list.clone() };
        self.core.replace_keks(&self.svm, &open.list, list, batch, |_, list| {
            Keks::Open(OpenKeks { list, current: open.current.clone(), retiring: None })
        })?;
        *self.record = record;
        Ok(())
    }

    /// One pass over all records behind `cursor`. Returns how many were found under another KEK than the current one.
    fn pass(&mut self, cursor: Vec<u8>) -> Result<u64, Halted> {
        let is_whole = cursor.is_empty();
        let (mut seen, mut found) = (0, 0);
        let mut after = cursor;
        for pages in 1.. {
            self.check_halt()?;
            let page = self.core.scan_keys(self.svm.id.as_bytes(), some(&after), PAGE)?;
            let keks = self.svm.keks.load_full();
            let open = self.open(&keks)?;
            let is_last = page.len() < PAGE;
            seen += page.len() as u64;
            if let Some(last) = page.last() {
                after.clone_from(&last.key);
            }
            let items = self.rewrapped(open, page)?;
            found += items.len() as u64;
            self.replace(open, &items)?;
            if is_last {
                break;
            }
            if pages % PAGES_PER_CURSOR == 0 && found > 0 {
                let step = RekeyStep::Rewrap { cursor: after.clone() };
                let (batch, record) = self.next(Batch::new(), step, self.record.body.done)?;
                self.core.records.store().commit(batch).map_err(RecordError::Store)?;
                *self.record = record;
            }
        }
        if is_whole {
            self.record.body.total = Some(seen);
            self.show_progress();
        }
        Ok(found)
    }

    /// The records of a page that are not under the current KEK yet, re-wrapped.
    fn rewrapped(&self, open: &OpenKeks, page: Vec<Entry>) -> Result<Vec<Replacement>, KeyError> {
        let mut found = Vec::new();
        let mut seals = 0;
        for entry in page {
            let (_, record) = parse(&entry)?;
            let blobs = stale(open, &record);
            if blobs > 0 {
                found.push(entry);
                seals += blobs;
            }
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut nonces = self.core.nonces(self.svm.id, &open.current, seals)?;
        let mut rewrap = |burning: &Burning, entry: Entry| {
            let (object, record) = parse(&entry)?;
            let value = self.core.rewrap(burning, open, object, &record, &mut nonces)?;
            Ok(Replacement { key: entry.key, expect: Expect::Exactly(entry.value), value })
        };
        burned(|burning| found.into_iter().map(|entry| rewrap(burning, entry)).collect())
    }

    fn replace(&mut self, open: &OpenKeks, items: &[Replacement]) -> Result<(), Halted> {
        if items.is_empty() {
            return Ok(());
        }
        let outcomes =
            self.core.records.store().replace_each(Table::Keys, items, &[guard(open)]).map_err(RecordError::Store)?;
        for outcome in outcomes {
            match outcome {
                Outcome::Replaced => self.record.body.done += 1,
                // Deleted, rotated or finished meanwhile: the next pass looks at it again.
                Outcome::Changed => {}
                Outcome::Refused => return Err(self.changed().into()),
            }
        }
        self.show_progress();
        Ok(())
    }

    fn show_progress(&self) {
        self.cell.progress(Progress { done: self.record.body.done, total: self.record.body.total });
    }

    /// The job's record at its next step, and the batch that commits it.
    fn next(&self, batch: Batch, step: RekeyStep, done: u64) -> Result<(Batch, Read<JobRecord>), RecordError> {
        let task = Task::RekeyInternal { svm: self.svm.id.uuid(), step };
        let body = JobRecord { task, done, ..self.record.body.clone() };
        self.core.put_job(batch, Some(self.record), body)
    }

    fn open<'k>(&self, keks: &'k Keks) -> Result<&'k OpenKeks, KeyError> {
        open_keks(keks, self.svm.id)
    }

    fn changed(&self) -> KeyError {
        KeyError::KeksChanged { svm: self.svm.id }
    }

    fn check_halt(&self) -> Result<(), Halted> {
        match self.cell.halt() {
            None => Ok(()),
            Some(Halt::Close) => Err(Halted::Close),
            Some(Halt::Cancel) => Err(Halted::Cancel),
        }
    }
}

fn parse(entry: &Entry) -> Result<(ObjectRef, KeyRecord<'_>), KeyError> {
    let layout = |source| KeyError::StoreKey { key: entry.key.clone(), source };
    let (svm, object) = parse_store_key(&entry.key).map_err(layout)?;
    let record = KeyRecord::parse(svm, object, &entry.value).map_err(|source| KeyError::Layout { object, source })?;
    Ok((object, record))
}

/// How many of the record's blobs are not under the current KEK.
pub(crate) fn stale(open: &OpenKeks, record: &KeyRecord<'_>) -> usize {
    record.blobs().filter(|blob| !is_under(open, blob)).count()
}

fn is_under(open: &OpenKeks, blob: &KeyBlob<'_>) -> bool {
    blob.header().kek_id == open.current.kek.id()
}

fn some(after: &[u8]) -> Option<&[u8]> {
    Some(after).filter(|after| !after.is_empty())
}

/// Why a rekey could not begin. Nothing has changed then, unless the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// The SVM has no KEK yet: no key was ever made in it.
    #[error("no volumes created yet for SVM {svm}; there is nothing to rekey")]
    NoKeys {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM's KEK is kept by the cluster's keystore, and another is enabled for the SVM.
    #[error("the KEK of SVM {svm} is still kept by the cluster's keystore; migrate it to keystore {keystore} first")]
    Mixed {
        /// The SVM.
        svm: SvmId,
        /// Its enabled keystore.
        keystore: Uuid,
    },
    /// An operation on the SVM's keystores runs, or was interrupted.
    #[error("the keystore of SVM {svm} is {}; try again when that has ended, or repeat it where it was interrupted", state.as_str())]
    KeystoreBusy {
        /// The SVM.
        svm: SvmId,
        /// What the operation makes of the keystore.
        state: KeystoreState,
    },
    /// The SVM's keystores changed meanwhile.
    #[error("the keystores of the SVM were changed at the same time; try again")]
    KeystoresChanged,
    /// The SVM has had all KEK versions that there are.
    #[error("the SVM cannot be rekeyed any more")]
    Versions(#[from] VersionExhausted),
    /// The SVM's keys are not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No thread could be started for the job; it can be resumed.
    #[error("no thread could be started for the job; it can be resumed")]
    Thread(#[from] std::io::Error),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl Blame for RekeyError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::NoKeys { .. } | Self::Versions(_) | Self::Mixed { .. } => (Fault::Caller, Advice::Correct),
            Self::KeystoreBusy { .. } | Self::KeystoresChanged => (Fault::Caller, Advice::Retry),
            Self::Key(error) => error.blame(),
            Self::Thread(_) => (Fault::Node, Advice::Retry),
            Self::Records(error) => error.blame(),
        }
    }
}

#[cfg(test)]
mod tests {
    use claviger_secret::{Arena, ArenaOptions, Protection};
    use claviger_store::MemoryStore;
    use claviger_wrap::{Key256, KeyAlgorithm};
    use uuid::Uuid;

    use super::*;
    use crate::bulk::NewKey;
    use crate::keystores::OnboardMode;
    use crate::options::{AnchorSource, KeyMemory, Options, SealingSource};

    #[test]
    fn the_total_is_known_once_a_whole_pass_has_seen_all_keys() {
        let arena = Arena::new(&ArenaOptions { keys: 64, states: 32, accept: Protection::Unlocked }).unwrap();
        let sealing = SealingSource::Provided(Key256::new(arena.bytes(Key256::LEN).unwrap()).unwrap());
        let anchor = AnchorSource::DangerNone;
        let options = Options { memory: KeyMemory::Shared(arena), sealing, anchor, ..Options::default() };
        let engine = Engine::create_on(Arc::new(MemoryStore::default()), &"cluster".parse().unwrap(), options).unwrap();
        let passphrase = engine.passphrase(b"a passphrase of more than thirty-two characters").unwrap();
        engine.create_onboard(OnboardMode::Unattended, &passphrase).unwrap();
        let svm = engine.create_svm(&"vs0".parse().unwrap()).unwrap().id();
        // A page and a half.
        let keys = (PAGE + PAGE / 2) as u64;
        let new =
            |number| NewKey { object: ObjectRef::Volume(Uuid::from_u128(number)), algorithm: KeyAlgorithm::Aes256 };
        engine.create_keys(svm, &(0..u128::from(keys)).map(new).collect::<Vec<_>>()).unwrap();

        let mut seen = Vec::new();
        let ended = engine.rekey_internal(svm).unwrap().wait_with(|progress| seen.push(progress)).unwrap();
        assert_eq!(ended.progress, Progress { done: keys, total: Some(keys) });
        assert!(seen.iter().all(|progress| progress.total.is_none() || progress.done == keys), "{seen:?}");
        assert_eq!(engine.job(ended.id).unwrap().progress, ended.progress);
    }
}
