//! KEKs are fetched again from their keepers, of one SVM or of all. Those in memory stay there whatever comes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_wrap::SvmId;

use super::{Halted, Work, check_halt, end};
use crate::jobs::Progress;
use crate::keys::closed;
use crate::live::{Closed, Keks, LiveSvm};
use crate::opening::open_all;
use crate::records::{KekList, Operation, Read, Stop};

/// Nothing is committed but the end of the job: what is in memory is nobody else's.
pub(super) fn run(work: &mut Work<'_>, svm: Option<SvmId>) -> Result<(), Halted> {
    let Work { core, cell, record } = work;
    let mut svms: Vec<_> =
        core.live.svms().values().filter(|live| svm.is_none_or(|svm| live.id == svm)).cloned().collect();
    let asked = Mutex::new(Asked::default());
    while !svms.is_empty() {
        let to_open = core.to_open(svms, is_wanted)?;
        let total = lock(&asked).answered + to_open.len() as u64;
        record.body.total = Some(total);
        let go_on = || cell.halt().is_none();
        open_all(to_open, go_on, |svm, tried, outcome| {
            let mut asked = lock(&asked);
            match outcome {
                // Another operation has replaced these, and their keeper may have forgotten them: others are asked for instead.
                _ if !svm.still_has(tried) => return asked.replaced.push(svm.clone()),
                Err(why) => drop(asked.failed.insert(svm.id, why)),
                Ok(()) => {}
            }
            asked.answered += 1;
            cell.progress(Progress { done: asked.answered, total: Some(total) });
        });
        check_halt(cell)?;
        svms = std::mem::take(&mut lock(&asked).replaced);
    }
    let Asked { answered, failed, .. } = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    record.body.done = answered - failed.len() as u64;
    if let Some((svm, why)) = failed.first_key_value() {
        let Halted::Failed { message, cause, fault, advice } = closed(*svm, *why).into() else { return Ok(()) };
        let others = failed.len() - 1;
        let message = if others > 0 { format!("{message}; and of {others} other SVMs") } else { message };
        return Err(Halted::Failed { message, cause, fault, advice });
    }
    *record = end(core, record, Stop::Succeeded)?;
    Ok(())
}

/// What has come of it so far.
#[derive(Default)]
struct Asked {
    answered: u64,
    failed: BTreeMap<SvmId, Closed>,
    /// Those whose KEKs were replaced meanwhile.
    replaced: Vec<Arc<LiveSvm>>,
}

/// An SVM that is being deleted has no keys, and its keeper may have forgotten its KEKs already; and so where the keystore is.
fn is_wanted(keks: &Keks) -> bool {
    let is_going =
        |list: &Read<KekList>| matches!(list.body.operation, Some(Operation::Delete | Operation::DeleteKeystore));
    !keks.list().is_some_and(is_going)
}

fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}
