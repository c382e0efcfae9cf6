//! The jobs' work: which task runs, how it ends, and what all of them share.
//!
//! A task is a list of steps; a step ends in exactly one commit, after which it is published. Remote effects come before the commit
//! that relies on them. A step that is run again from its start does no harm.

mod disable;
mod enable;
mod moves;
mod restore;
mod start;

use std::sync::Arc;

use claviger_store::{Batch, Table};
use uuid::Uuid;

use crate::cause::Cause;
use crate::engine::Core;
use crate::error::{Advice, Blame, Fault, chain};
use crate::jobs::{Cell, Halt};
use crate::keks::with_list;
use crate::key_error::KeyError;
use crate::live::{Keks, LiveSvm, OpenKeks};
use crate::live_keystores::Keystores;
use crate::records::{Body, JobRecord, KekList, Kept, Operation, Phase, Read, RecordError, Stop, SvmKeystores, Task};
use crate::rekey;
use crate::svm_keystore_error::SvmKeystoreError;

#[cfg(feature = "barbican")]
pub(crate) use start::move_task;

/// A job that runs.
pub(crate) struct Work<'a> {
    pub(crate) core: &'a Core,
    pub(crate) cell: &'a Cell,
    pub(crate) record: Read<JobRecord>,
}

/// Why the steps stopped before the end.
pub(crate) enum Halted {
    Close,
    Cancel,
    Failed {
        message: String,
        cause: Cause,
        fault: Fault,
        advice: Advice,
    },
    /// The change is in force, and the keeper has yet to forget what it kept before. The job waits to be resumed: nobody else
    /// knows that there is something to discard.
    Unforgotten(KeyError),
}

impl<E: Blame> From<E> for Halted
where
    for<'a> Cause: From<&'a E>,
{
    fn from(error: E) -> Self {
        let (fault, advice) = error.blame();
        Self::Failed { message: chain(&error), cause: Cause::from(&error), fault, advice }
    }
}

/// Whether the job's keys are in memory.
pub(crate) fn is_possible(core: &Core, job: &JobRecord) -> bool {
    let svm = job.svm().map(|svm| core.live.svm(svm));
    match (&job.task, svm) {
        (Task::RekeyInternal { .. }, Some(Some(svm))) => svm.keks.load().is_open(),
        // With none, nothing has to be kept.
        (Task::Move { .. }, Some(Some(svm))) => matches!(svm.keks.load().as_ref(), Keks::Open(_) | Keks::None),
        (Task::Enable { .. } | Task::Disable { .. }, Some(Some(_))) | (Task::Restore { .. }, _) => true,
        (_, Some(None) | None) => false,
    }
}

/// Runs the job to its end, or until it must stop. Returns its record as it then stands.
pub(crate) fn run(core: &Core, cell: &Cell, record: Read<JobRecord>) -> JobRecord {
    let span = tracing::info_span!("job", job = %record.body.job, task = name(&record.body.task));
    let _entered = span.enter();
    let mut work = Work { core, cell, record };
    let stop = match steps(&mut work) {
        Ok(()) | Err(Halted::Close) => return work.record.body,
        Err(Halted::Unforgotten(error)) => {
            tracing::warn!(
                error = chain(&error),
                "the change is in force, but what was kept before it is not discarded; resume the job"
            );
            return work.record.body;
        }
        Err(Halted::Cancel) => Stop::Cancelled,
        Err(Halted::Failed { message, cause, fault, advice }) => Stop::Failed { message, cause, fault, advice },
    };
    tracing::warn!(?stop, "the job stops");
    match end(core, &work.record, stop) {
        Ok(record) => record.body,
        Err(error) => {
            tracing::error!(%error, "the end of the job could not be written; it can be resumed");
            work.record.body
        }
    }
}

const fn name(task: &Task) -> &'static str {
    match task {
        Task::RekeyInternal { .. } => "rekey-internal",
        Task::Enable { .. } => "enable",
        Task::Move { .. } => "move",
        Task::Disable { .. } => "disable",
        Task::Restore { .. } => "restore",
    }
}

fn steps(work: &mut Work<'_>) -> Result<(), Halted> {
    if !work.record.body.is_running() {
        return Ok(());
    }
    let svm = work.record.body.svm();
    let svm = svm.map(|id| work.core.live.svm(id).ok_or(KeyError::UnknownSvm { svm: id })).transpose()?;
    // Whoever resumes jobs finds this one in the store before the commit that began it is published.
    if let Some(svm) = &svm {
        drop(svm.changing());
    }
    if let Some(svm) = &svm
        && !is_held(svm, &work.record.body)
    {
        return Err(SvmKeystoreError::NotHeld { svm: svm.id, job: work.record.body.job }.into());
    }
    match (&work.record.body.task, svm) {
        (Task::RekeyInternal { .. }, Some(svm)) => rekey::run(work, svm),
        (&Task::Enable { keystore, .. }, Some(svm)) => enable::run(work, &svm, keystore),
        (Task::Move { .. }, Some(svm)) => moves::run(work, &svm),
        (&Task::Disable { keystore, .. }, Some(svm)) => disable::run(work, &svm, keystore),
        (&Task::Restore { svm }, None) => restore::run(work, svm.map(Into::into)),
        (Task::Restore { .. }, Some(_)) | (_, None) => Ok(()),
    }
}

/// Whether the records of the SVM say that the job has it to itself. Where they were put back from a copy, it must not go on.
fn is_held(svm: &LiveSvm, record: &JobRecord) -> bool {
    match record.task {
        Task::RekeyInternal { .. } => {
            let operation = svm.keks.load().list().and_then(|list| list.body.operation);
            operation == Some(Operation::Rekey { job: record.job })
        }
        Task::Enable { .. } | Task::Move { .. } | Task::Disable { .. } => match svm.keystores.load().as_ref() {
            Keystores::There(there) => there.list.body.job == Some(record.job),
            Keystores::None | Keystores::Damaged => false,
        },
        Task::Restore { .. } => true,
    }
}

/// Commits that the job has ended, and that the SVM is free again.
pub(crate) fn end(core: &Core, old: &Read<JobRecord>, stop: Stop) -> Result<Read<JobRecord>, RecordError> {
    let ended = JobRecord { phase: Phase::Ended { at: core.clock.now(), stop }, ..old.body.clone() };
    let (batch, ended) = core.put_job(Batch::new(), Some(old), ended)?;
    let Some(svm) = old.body.svm().and_then(|svm| core.live.svm(svm)) else {
        core.records.store().commit(batch)?;
        return Ok(ended);
    };
    loop {
        let (keks, keystores) = (svm.keks.load_full(), svm.keystores.load_full());
        match free(core, &svm, &keks, &keystores, old.body.job, batch.clone()) {
            Ok(()) => return Ok(ended),
            // A keystore was made, changed or deleted in between.
            Err(error) if is_conflict(&error) && svm.has_changed(&keks, &keystores) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Commits `batch`, and that the job holds neither the SVM's KEKs nor its keystores any more.
fn free(
    core: &Core,
    svm: &LiveSvm,
    keks: &Keks,
    keystores: &Keystores,
    job: Uuid,
    batch: Batch,
) -> Result<(), RecordError> {
    let (batch, freed) = free_keystores(core, keystores, job, batch)?;
    match keks.list().filter(|list| list.body.operation.and_then(|operation| operation.job()) == Some(job)) {
        Some(list) => {
            let free = KekList { operation: None, ..list.body.clone() };
            core.replace_keks(svm, list, free, batch, |keks, list| {
                freed.into_iter().for_each(|freed| svm.publish_keystores(freed));
                with_list(keks, list)
            })?;
            Ok(())
        }
        None => match freed {
            Some(freed) => core.commit_keystores(svm, batch, freed),
            None => Ok(core.records.store().commit(batch)?),
        },
    }
}

/// Adds to `batch` that the SVM's keystores are free, where this job holds them.
fn free_keystores(
    core: &Core,
    keystores: &Keystores,
    job: Uuid,
    batch: Batch,
) -> Result<(Batch, Option<Read<SvmKeystores>>), RecordError> {
    match keystores {
        Keystores::There(there) if there.list.body.job == Some(job) => {
            let free = SvmKeystores { job: None, ..there.list.body.clone() };
            let (batch, free) = core.put_keystores(batch, &there.list, free)?;
            Ok((batch, Some(free)))
        }
        Keystores::There(_) | Keystores::None | Keystores::Damaged => Ok((batch, None)),
    }
}

/// The keepers forget what no record names any more. One commit ends the job.
pub(crate) fn discard(core: &Core, record: &mut Read<JobRecord>, svm: &LiveSvm, kept: &[Kept]) -> Result<(), Halted> {
    // The list may have been put back from a copy.
    let is_live = |list: &KekList| list.entries().flat_map(|entry| &entry.kept).any(|live| kept.contains(live));
    if svm.keks.load().list().is_some_and(|list| is_live(&list.body)) {
        return Err(KeyError::StillLive { svm: svm.id }.into());
    }
    core.discard(svm, kept).map_err(|error| Halted::Unforgotten(error.into()))?;
    *record = end(core, record, Stop::Succeeded).map_err(|error| Halted::Unforgotten(error.into()))?;
    Ok(())
}

impl Core {
    /// Adds to `batch` that the SVM's keystores are these from now on, and returns the record as it will be read.
    pub(crate) fn put_keystores(
        &self,
        batch: Batch,
        old: &Read<SvmKeystores>,
        new: SvmKeystores,
    ) -> Result<(Batch, Read<SvmKeystores>), RecordError> {
        let raw = self.records.seal(&new)?;
        let key = new.key();
        let batch =
            batch.require(Table::Keystores, key.clone(), old.unchanged()).put(Table::Keystores, key, raw.clone());
        Ok((batch, Read { body: new, raw }))
    }

    /// Commits a record of keystores that `batch` puts, and publishes it.
    pub(crate) fn commit_keystores(
        &self,
        svm: &LiveSvm,
        batch: Batch,
        list: Read<SvmKeystores>,
    ) -> Result<(), RecordError> {
        self.commit_and_publish(svm, batch, || svm.publish_keystores(list))
    }

    /// The SVM's KEKs in memory; fetched, where they are not. `None` where there are none.
    fn keks_in_memory(&self, svm: &Arc<LiveSvm>) -> Result<Option<OpenKeks>, KeyError> {
        let closed = self.to_open([svm.clone()], |keks| !keks.is_open())?;
        crate::opening::open_all(closed, || true, |_, _, _| ());
        match svm.keks.load().as_ref() {
            Keks::None => Ok(None),
            keks => crate::keys::open_keks(keks, svm.id).cloned().map(Some),
        }
    }
}

/// Stops where the job is cancelled or the engine is closed.
fn check_halt(cell: &Cell) -> Result<(), Halted> {
    match cell.halt() {
        Some(Halt::Close) => Err(Halted::Close),
        Some(Halt::Cancel) => Err(Halted::Cancel),
        None => Ok(()),
    }
}

/// Whether somebody else has changed a record of the SVM meanwhile, so that it is to be looked at again.
pub(crate) fn is_conflict(error: &RecordError) -> bool {
    matches!(
        error,
        RecordError::Store(claviger_store::StoreError::Conflict { table: Table::Keks | Table::Keystores, .. })
    )
}
