//! A keystore of an SVM is enabled no longer. It must keep no KEK that protects keys.

use std::sync::Arc;

use claviger_store::{Batch, Expect, Table};
use uuid::Uuid;

use super::{Halted, Work, check_halt, discard, is_conflict};
use crate::jobs::Halt;
use crate::keks::without_keks;
use crate::live::{Keks, LiveSvm};
use crate::live_keystores::Keystores;
use crate::records::{DisableStep, JobRecord, KekList, Kept, Operation, Read, SvmKeystores, Task};
use crate::svm_keystore_error::SvmKeystoreError;

pub(super) fn run(work: &mut Work<'_>, svm: &Arc<LiveSvm>, keystore: Uuid) -> Result<(), Halted> {
    loop {
        let Task::Disable { step, .. } = work.record.body.task.clone() else { return Ok(()) };
        match (step, work.cell.halt()) {
            _ if !work.record.body.is_running() => return Ok(()),
            (_, Some(Halt::Close)) => return Err(Halted::Close),
            // The keystore is disabled already: there is nothing left that could be cancelled.
            (DisableStep::Discard { kept }, _) => discard(work.core, &mut work.record, svm, &kept)?,
            (_, Some(Halt::Cancel)) => return Err(Halted::Cancel),
            (DisableStep::Drop, None) => drop_keks(work, svm, keystore)?,
        }
    }
}

/// A key that is being created while this looks for keys must be found or must fail. So it is announced in the `keks` record first,
/// which every creation expects unchanged; only then are keys looked for. One commit drops the KEKs and disables the keystore.
fn drop_keks(work: &mut Work<'_>, svm: &Arc<LiveSvm>, keystore: Uuid) -> Result<(), Halted> {
    let Work { core, cell, record } = work;
    let announcement = Some(Operation::Disable { job: record.body.job });
    loop {
        let keks = svm.keks.load_full();
        let keystores = svm.keystores.load_full();
        core.refuse_lost_keks(svm, &keks)?;
        let kept_here = keks.list().filter(|list| list.body.is_kept_by(keystore));
        let announced = match kept_here {
            Some(list) if list.body.operation == announcement => Some(list.clone()),
            Some(list) => match core.set_operation(svm, list, announcement) {
                Ok(announced) => Some(announced),
                Err(error) if is_conflict(&error) && svm.has_changed(&keks, &keystores) => continue,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        if announced.is_some() && core.needs_keks(svm.id)? {
            // The end of the job takes the announcement back.
            return Err(SvmKeystoreError::KeepsKeys { keystore }.into());
        }

        let Keystores::There(there) = keystores.as_ref() else {
            return Err(SvmKeystoreError::Unknown { keystore }.into());
        };
        let kept = announced.as_ref().map(|list| kept_by(&list.body)).unwrap_or_default();
        let task = Task::Disable { svm: svm.id.uuid(), keystore, step: DisableStep::Discard { kept } };
        let (batch, next) = core.put_job(Batch::new(), Some(record), JobRecord { task, ..record.body.clone() })?;
        let disabled = SvmKeystores { enabled: None, ..there.list.body.clone() };
        let (batch, disabled) = core.put_keystores(batch, &there.list, disabled)?;
        let batch = match &announced {
            Some(list) => without_keks(batch, svm.id, list),
            // No KEK has come to this keystore meanwhile: the first one of an SVM expects the record of the keystores unchanged, and
            // does not change it.
            None => {
                let unchanged = keks.list().map_or(Expect::Absent, Read::unchanged);
                batch.require(Table::Keks, KekList::key_of(svm.id), unchanged)
            }
        };
        let publish = || {
            if announced.is_some() {
                svm.keks.store(Arc::new(Keks::None));
            }
            svm.publish_keystores(disabled);
        };
        match core.commit_and_publish(svm, batch, publish) {
            Ok(()) => {
                *record = next;
                tracing::info!(svm = %svm.id, %keystore, "keystore disabled");
                return Ok(());
            }
            Err(error) if is_conflict(&error) && svm.has_changed(&keks, &keystores) => {}
            Err(error) => return Err(error.into()),
        }
        check_halt(cell)?;
    }
}

fn kept_by(list: &KekList) -> Vec<Kept> {
    list.entries().flat_map(|entry| entry.kept.iter().cloned()).collect()
}
