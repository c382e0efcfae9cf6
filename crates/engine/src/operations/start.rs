//! How the operations on keystores begin: what they refuse, and the commit that takes the SVM.

use std::sync::Arc;

use claviger_store::{Batch, Expect, Table};
use claviger_wrap::{SvmId, SystemRandom, random_uuid};
use uuid::Uuid;

use super::{is_conflict, name};
use crate::engine::{Core, Engine};
use crate::jobs::{Job, JobOperation, operation_of};
use crate::keks::with_list;
use crate::key_error::KeyError;
use crate::live::{Keks, LiveSvm};
use crate::live_keystores::{Keystores, LiveKeystores};
use crate::records::{
    DisableStep, JobRecord, KekList, MoveStep, Operation, Phase, Purpose, Read, RecordError, SvmKeystores, Task, V1,
};
use crate::svm_keystore_error::SvmKeystoreError;

impl Engine {
    /// Enables the first keystore of an SVM, after trying its keeper: KEKs that are made from then on are kept by it. A KEK that the
    /// cluster's keystore keeps stays there until [`Engine::migrate`] moves it. Returns at once with the job.
    ///
    /// An enabling that was interrupted goes on with its own job.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Unknown`]; [`SvmKeystoreError::AnotherEnabled`]: then [`Engine::switch`] is meant;
    /// [`SvmKeystoreError::Busy`]; others as they say. Nothing has changed then.
    pub fn enable(&self, keystore: Uuid) -> Result<Job, SvmKeystoreError> {
        let svm = self.core.svm_of_keystore(keystore)?;
        let operation = JobOperation::Enable { svm: svm.id, keystore };
        self.begin(&svm, &operation, |there, _| match there.enabled {
            Some(enabled) if enabled == keystore => Err(SvmKeystoreError::Enabled { keystore }),
            Some(other) => Err(SvmKeystoreError::AnotherEnabled { keystore, other }),
            None => Ok(Task::Enable { svm: svm.id.uuid(), keystore }),
        })
    }

    /// Has what the SVM's enabled keystore keeps be kept by `to`, which is the enabled one from then on. Where none of the SVM's own
    /// is enabled, that is the cluster's; and `to` may be the cluster's, so that none of the SVM's own is enabled then. The old one
    /// forgets what it kept only after the new one has given it back. Returns at once with the job.
    ///
    /// A switch to the same keystore that was interrupted goes on with its own job.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Unknown`], [`SvmKeystoreError::Enabled`], [`SvmKeystoreError::Busy`]; others as they say. Nothing has
    /// changed then.
    pub fn switch(&self, svm: SvmId, to: Uuid) -> Result<Job, SvmKeystoreError> {
        let live = self.core.data_svm(svm)?;
        let cluster = self.core.keystore.id();
        self.begin(&live, &JobOperation::Switch { svm, to }, |there, _| {
            let from = there.enabled.or(cluster);
            if from == Some(to) {
                return Err(SvmKeystoreError::Enabled { keystore: to });
            }
            if there.get(to).is_none() && cluster != Some(to) {
                return Err(SvmKeystoreError::Unknown { keystore: to });
            }
            Ok(move_task(svm, from, to, Purpose::Switch))
        })
    }

    /// Has what the cluster's keystore keeps of the SVM be kept by the SVM's enabled one, or the other way round: `to` is one of the
    /// two. The enabled keystore stays the enabled one. Returns at once with the job.
    ///
    /// # Errors
    /// [`SvmKeystoreError::NoneEnabled`] where the SVM has none of its own that is enabled; [`SvmKeystoreError::NoKeys`] before the
    /// first key; [`SvmKeystoreError::KeptThere`] where there is nothing to move; others as [`Engine::switch`].
    pub fn migrate(&self, svm: SvmId, to: Uuid) -> Result<Job, SvmKeystoreError> {
        let live = self.core.data_svm(svm)?;
        let cluster = self.core.keystore.id();
        self.begin(&live, &JobOperation::Migrate { svm, to }, |there, list| {
            let own = there.enabled.ok_or(SvmKeystoreError::NoneEnabled { svm })?;
            let from = match (to == own, Some(to) == cluster) {
                (true, _) => cluster,
                (false, true) => Some(own),
                (false, false) => return Err(SvmKeystoreError::NotADestination { keystore: to }),
            };
            let list = list.ok_or(SvmKeystoreError::NoKeys { svm })?;
            match from.is_some_and(|from| list.is_kept_by(from)) {
                true => Ok(move_task(svm, from, to, Purpose::Migrate)),
                false => Err(SvmKeystoreError::KeptThere { keystore: to }),
            }
        })
    }

    /// Disables a keystore. Where it keeps KEKs without keys, these are dropped. Returns at once with the job.
    ///
    /// # Errors
    /// [`SvmKeystoreError::NotEnabled`]; [`SvmKeystoreError::KeepsKeys`] while it keeps a KEK that protects keys; others as
    /// [`Engine::switch`].
    pub fn disable(&self, keystore: Uuid) -> Result<Job, SvmKeystoreError> {
        let svm = self.core.svm_of_keystore(keystore)?;
        let operation = JobOperation::Disable { svm: svm.id, keystore };
        self.begin(&svm, &operation, |there, list| {
            if there.enabled != Some(keystore) {
                return Err(SvmKeystoreError::NotEnabled { keystore });
            }
            self.core.refuse_lost_keks(&svm, &svm.keks.load())?;
            let keeps = list.is_some_and(|list| list.is_kept_by(keystore));
            if keeps && self.core.needs_keks(svm.id)? {
                return Err(SvmKeystoreError::KeepsKeys { keystore });
            }
            Ok(Task::Disable { svm: svm.id.uuid(), keystore, step: DisableStep::Drop })
        })
    }

    /// Fetches the KEKs of one SVM, or of all, from their keepers again: after a start without the network, or to see that they can be
    /// had. Those in memory stay there whatever comes of it. Returns at once with the job, which fails where one cannot be had.
    ///
    /// Jobs that waited for these KEKs go on with [`Engine::resume_jobs`], or by themselves a little later where KEKs are fetched
    /// by themselves.
    ///
    /// # Errors
    /// [`SvmKeystoreError::UnknownSvm`]; [`SvmKeystoreError::NoKeys`] where the one SVM has no KEK yet.
    pub fn restore_keks(&self, svm: Option<SvmId>) -> Result<Job, SvmKeystoreError> {
        if let Some(svm) = svm {
            let live = self.core.live.svm(svm).ok_or(SvmKeystoreError::UnknownSvm { svm })?;
            match live.keks.load().as_ref() {
                Keks::None => return Err(SvmKeystoreError::NoKeys { svm }),
                Keks::Damaged => return Err(SvmKeystoreError::Key(KeyError::KekDamaged { svm })),
                Keks::Open(_) | Keks::Closed { .. } => {}
            }
        }
        self.core.forget_old_jobs()?;
        let task = Task::Restore { svm: svm.map(|svm| svm.uuid()) };
        let (batch, record) = self.core.put_job(Batch::new(), None, self.core.new_job(task)?)?;
        self.core.records.store().commit(batch).map_err(RecordError::Store)?;
        Ok(self.jobs.run(&self.core, record)?)
    }

    /// Starts what `task` makes of the SVM's keystores and KEKs, or goes on with the same operation where it was interrupted.
    pub(crate) fn begin(
        &self,
        svm: &Arc<LiveSvm>,
        operation: &JobOperation,
        task: impl Fn(&SvmKeystores, Option<&KekList>) -> Result<Task, SvmKeystoreError>,
    ) -> Result<Job, SvmKeystoreError> {
        self.core.forget_old_jobs()?;
        loop {
            let keks = svm.keks.load_full();
            if let Keks::Damaged = keks.as_ref() {
                return Err(KeyError::KekDamaged { svm: svm.id }.into());
            }
            let keystores = svm.keystores.load_full();
            let there = match keystores.as_ref() {
                Keystores::There(there) => there,
                Keystores::None => return Err(SvmKeystoreError::NoneEnabled { svm: svm.id }),
                Keystores::Damaged => return Err(SvmKeystoreError::Damaged { svm: svm.id }),
            };
            if let Some(job) = there.list.body.job
                && let Some(record) = self.core.running(job)?
            {
                return match operation_of(&record.body.task) == *operation {
                    true => Ok(self.jobs.run(&self.core, record)?),
                    false => Err(SvmKeystoreError::Busy { svm: svm.id, state: self.core.state_while(job) }),
                };
            }
            let task = task(&there.list.body, keks.list().map(|list| &list.body))?;
            match self.core.take(svm, there, &keks, task) {
                Ok(record) => {
                    tracing::info!(svm = %svm.id, job = %record.body.job, task = name(&record.body.task), "begins");
                    return Ok(self.jobs.run(&self.core, record)?);
                }
                // Another operation has begun, or the first key was made.
                Err(SvmKeystoreError::Records(error)) if is_conflict(&error) && svm.has_changed(&keks, &keystores) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

pub(crate) fn move_task(svm: SvmId, from: Option<Uuid>, to: Uuid, purpose: Purpose) -> Task {
    Task::Move { svm: svm.uuid(), from, to, purpose, step: MoveStep::Rekeep }
}

impl Core {
    pub(crate) fn new_job(&self, task: Task) -> Result<JobRecord, RecordError> {
        Ok(JobRecord {
            version: V1,
            job: random_uuid(&mut SystemRandom)?,
            task,
            started: self.clock.now(),
            done: 0,
            total: None,
            phase: Phase::Running,
        })
    }

    /// The job's record, where the job has not ended. A record that is lost, or does not open, holds nobody.
    pub(crate) fn running(&self, job: Uuid) -> Result<Option<Read<JobRecord>>, RecordError> {
        match self.records.read::<JobRecord>(job.as_bytes()) {
            Ok(record) => Ok(record.filter(|record| record.body.is_running())),
            Err(error @ RecordError::Store(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Commits the job's record, and that it has the SVM's keystores to itself. No rekey and no deletion runs then, and none begins.
    fn take(
        &self,
        svm: &LiveSvm,
        there: &LiveKeystores,
        keks: &Keks,
        task: Task,
    ) -> Result<Read<JobRecord>, SvmKeystoreError> {
        let (batch, record) = self.put_job(Batch::new(), None, self.new_job(task)?)?;
        let taken = SvmKeystores { job: Some(record.body.job), ..there.list.body.clone() };
        let (batch, taken) = self.put_keystores(batch, &there.list, taken)?;
        let Some(list) = keks.list() else {
            let batch = batch.require(Table::Keks, KekList::key_of(svm.id), Expect::Absent);
            self.commit_keystores(svm, batch, taken)?;
            return Ok(record);
        };
        match list.body.operation {
            None => {
                let batch = batch.require(Table::Keks, KekList::key_of(svm.id), list.unchanged());
                self.commit_keystores(svm, batch, taken)?;
            }
            Some(Operation::Rekey { .. }) => return Err(SvmKeystoreError::Rekeying { svm: svm.id }),
            Some(Operation::Delete) => return Err(SvmKeystoreError::SvmBeingDeleted { svm: svm.id }),
            Some(Operation::DeleteKeystore) => return Err(KeyError::KeystoreBeingDeleted.into()),
            // Of a job whose record is lost: whose record is there has the keystores too.
            Some(Operation::Disable { .. }) => {
                let free = KekList { operation: None, ..list.body.clone() };
                self.replace_keks(svm, list, free, batch, |keks, list| {
                    svm.publish_keystores(taken);
                    with_list(keks, list)
                })?;
            }
        }
        Ok(record)
    }
}
