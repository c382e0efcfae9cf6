//! The first keystore of an SVM is enabled. Where its KEK is kept by the cluster's keystore, it stays there.

use std::sync::Arc;

use claviger_store::Batch;
use uuid::Uuid;

use super::{Halted, Work, check_halt, is_conflict};
use crate::keys::closed;
use crate::live::LiveSvm;
use crate::live_keystores::Keystores;
use crate::records::{JobRecord, Phase, Stop, SvmKeystores};
use crate::svm_keystore_error::SvmKeystoreError;

/// The keeper is tried; one commit enables the keystore and ends the job.
pub(super) fn run(work: &mut Work<'_>, svm: &Arc<LiveSvm>, keystore: Uuid) -> Result<(), Halted> {
    let Work { core, cell, record } = work;
    loop {
        check_halt(cell)?;
        let keks = svm.keks.load_full();
        let keystores = svm.keystores.load_full();
        core.keeper(svm, keystore).map_err(|why| closed(svm.id, why))?.probe(&mut |_| ())?;

        let Keystores::There(there) = keystores.as_ref() else {
            return Err(SvmKeystoreError::Unknown { keystore }.into());
        };
        let ended =
            JobRecord { phase: Phase::Ended { at: core.clock.now(), stop: Stop::Succeeded }, ..record.body.clone() };
        let (batch, ended) = core.put_job(Batch::new(), Some(record), ended)?;
        let enabled = SvmKeystores { enabled: Some(keystore), job: None, ..there.list.body.clone() };
        let (batch, enabled) = core.put_keystores(batch, &there.list, enabled)?;
        match core.commit_keystores(svm, batch, enabled) {
            Ok(()) => {
                *record = ended;
                tracing::info!(svm = %svm.id, %keystore, "keystore enabled");
                return Ok(());
            }
            Err(error) if is_conflict(&error) && svm.has_changed(&keks, &keystores) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
