//! KEKs are fetched again from their keepers, of one SVM or of all. Those in memory stay there whatever comes of it.

use std::sync::{Mutex, PoisonError};

use claviger_wrap::SvmId;

use super::{Halted, Work, end};
use crate::jobs::{Halt, Progress};
use crate::keys::closed;
use crate::opening::open_all;
use crate::records::Stop;

/// Nothing is committed but the end of the job: what is in memory is nobody else's.
pub(super) fn run(work: &mut Work<'_>, svm: Option<SvmId>) -> Result<(), Halted> {
    let Work { core, cell, record } = work;
    let svms =
        core.live.svms().values().filter(|live| svm.is_none_or(|svm| live.id == svm)).cloned().collect::<Vec<_>>();
    let to_open = core.to_open(svms, |_| true)?;
    let total = to_open.len() as u64;
    let failed = Mutex::new((0, Vec::new()));
    open_all(to_open, |svm, outcome| {
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.0 += 1;
        cell.progress(Progress { done: failed.0, total: Some(total) });
        failed.1.extend(outcome.err().map(|why| (svm.id, why)));
    });
    let (_, mut failed) = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(svm, _)| *svm);
    record.body.done = total - failed.len() as u64;
    record.body.total = Some(total);
    if let Some((svm, why)) = failed.first() {
        let Halted::Failed { message, fault, advice } = closed(*svm, *why).into() else { return Ok(()) };
        let others = failed.len() - 1;
        let message = if others > 0 { format!("{message}; and of {others} other SVMs") } else { message };
        return Err(Halted::Failed { message, fault, advice });
    }
    if cell.halt() == Some(Halt::Close) {
        return Err(Halted::Close);
    }
    *record = end(core, record, Stop::Succeeded)?;
    Ok(())
}
