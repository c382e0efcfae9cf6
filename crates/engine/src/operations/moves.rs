//! What one keystore keeps of an SVM is kept by another, or under another top-level key: switch, migrate, rekey-external.
//!
//! Keys are not touched: only the KEKs above them are kept anew. They come from memory, so that a keeper that is gone for good
//! can be left.

use std::sync::Arc;

use claviger_store::{Batch, Expect, Table};
use uuid::Uuid;

use super::{Halted, Work, check_halt, discard, is_conflict};
use crate::engine::Core;
use crate::jobs::{Halt, Progress};
use crate::keeper::{Keeper, KeptKek};
use crate::keks::{expecting, not_discarded};
use crate::key_error::KeyError;
use crate::keys::{closed, refuses_keys};
use crate::live::{Keks, LiveKek, LiveSvm, OpenKeks};
use crate::live_keystores::Keystores;
use crate::records::{JobRecord, KeeperRecord, KekEntry, KekList, Kept, MoveStep, Purpose, SvmKeystores, Task};
use crate::svm_keystore_error::SvmKeystoreError;

pub(super) fn run(work: &mut Work<'_>, svm: &Arc<LiveSvm>) -> Result<(), Halted> {
    loop {
        let Task::Move { from, to, purpose, step, .. } = work.record.body.task.clone() else { return Ok(()) };
        match (step, work.cell.halt()) {
            _ if !work.record.body.is_running() => return Ok(()),
            (_, Some(Halt::Close)) => return Err(Halted::Close),
            // The other keeper keeps it all already: there is nothing left that could be cancelled.
            (MoveStep::Discard { kept }, _) => discard(work.core, &mut work.record, svm, &kept)?,
            (_, Some(Halt::Cancel)) => return Err(Halted::Cancel),
            (MoveStep::Rekeep, None) => rekeep(work, svm, from, to, &purpose)?,
        }
    }
}

/// Every live KEK is kept by the new keeper, fetched back and compared. One commit puts configuration and kept bytes in force
/// together.
fn rekeep(
    work: &mut Work<'_>,
    svm: &Arc<LiveSvm>,
    from: Option<Uuid>,
    to: Uuid,
    purpose: &Purpose,
) -> Result<(), Halted> {
    let Work { core, cell, record } = work;
    loop {
        check_halt(cell)?;
        // Seen before anything is read of them, so that no change in between passes for none.
        let keks = svm.keks.load_full();
        let open = core.keks_in_memory(svm)?;
        let keystores = svm.keystores.load_full();
        let Keystores::There(there) = keystores.as_ref() else {
            return Err(SvmKeystoreError::Unknown { keystore: to }.into());
        };
        let (after, keeper) = target(core, svm, &there.list.body, to, purpose)?;
        let cluster = core.cluster_record(svm, to)?;
        if let Some(refused) = open.as_ref().and_then(|open| refuses_keys(&open.list.body)) {
            return Err(refused.into());
        }

        let mut rekept =
            Rekept { core, svm, from, to, keeper: keeper.as_ref(), moved: 0, old: Vec::new(), new: Vec::new() };
        let list = match open.as_ref().map(|open| rekept.list(open)).transpose() {
            Ok(list) => list,
            Err(error) => {
                rekept.discard_new();
                return Err(error.into());
            }
        };
        let (moved, old) = (rekept.moved, rekept.old.clone());
        if moved == 0 {
            // Nothing was kept with it, so it has not shown yet that it can.
            keeper.probe(&mut |_| ())?;
        }

        let step = MoveStep::Discard { kept: old };
        let next = JobRecord {
            task: with_step(&record.body.task, step),
            done: moved,
            total: Some(moved),
            ..record.body.clone()
        };
        let (batch, next) = core.put_job(Batch::new(), Some(record), next)?;
        let (batch, after) = core.put_keystores(batch, &there.list, after)?;
        let batch = expecting(batch, cluster.as_ref());
        let committed = match (&open, list) {
            (Some(open), Some(list)) => core
                .replace_keks(svm, &open.list, list, batch, |_, list| {
                    svm.publish_keystores(after);
                    Keks::Open(OpenKeks { list, ..open.clone() })
                })
                .map(drop),
            _ => core.commit_keystores(svm, batch.require(Table::Keks, KekList::key_of(svm.id), Expect::Absent), after),
        };
        match committed {
            Ok(()) => {
                *record = next;
                cell.progress(Progress { done: moved, total: Some(moved) });
                tracing::info!(svm = %svm.id, to = %to, moved, "KEKs are kept anew");
                return Ok(());
            }
            Err(error) => {
                if error.leaves_nothing() {
                    rekept.discard_new();
                }
                // The first key was made, or another keystore was made or changed, in between.
                let has_changed = || {
                    svm.has_changed(&keks, &keystores)
                        || cluster.as_ref().is_some_and(|cluster| core.keystore.has_changed(cluster))
                };
                if !(is_conflict(&error) && has_changed()) {
                    return Err(error.into());
                }
            }
        }
    }
}

/// The keystores as they will be, and the keeper that will keep the KEKs.
fn target(
    core: &Core,
    svm: &LiveSvm,
    keystores: &SvmKeystores,
    to: Uuid,
    purpose: &Purpose,
) -> Result<(SvmKeystores, Arc<dyn Keeper>), Halted> {
    let of_record = || core.keeper(svm, to).map_err(|why| closed(svm.id, why));
    match purpose {
        Purpose::Switch => {
            // The cluster's keystore is not among the SVM's own.
            let enabled = keystores.get(to).map(|own| own.keystore);
            Ok((SvmKeystores { enabled, ..keystores.clone() }, of_record()?))
        }
        Purpose::Migrate => Ok((keystores.clone(), of_record()?)),
        Purpose::RekeyExternal { key_id } => {
            let mut changed = keystores.get(to).ok_or(SvmKeystoreError::Unknown { keystore: to })?.clone();
            let KeeperRecord::Barbican(barbican) = &mut changed.keeper;
            barbican.key_id.clone_from(key_id);
            let keeper = core.trial_keeper(svm.id, &changed).map_err(SvmKeystoreError::from)?;
            Ok((keystores.with(changed), keeper))
        }
    }
}

fn with_step(task: &Task, next: MoveStep) -> Task {
    let mut task = task.clone();
    if let Task::Move { step, .. } = &mut task {
        *step = next;
    }
    task
}

/// KEKs as they are kept anew.
struct Rekept<'a> {
    core: &'a Core,
    svm: &'a LiveSvm,
    from: Option<Uuid>,
    to: Uuid,
    keeper: &'a dyn Keeper,
    /// How many KEKs are kept anew.
    moved: u64,
    /// What the old keeper is to forget.
    old: Vec<Kept>,
    /// What no record names yet.
    new: Vec<Kept>,
}

impl Rekept<'_> {
    fn list(&mut self, open: &OpenKeks) -> Result<KekList, KeyError> {
        let list = &open.list.body;
        let retiring = match (&list.retiring, &open.retiring) {
            (Some(entry), Some(live)) => Some(self.entry(entry, live)?),
            (entry, _) => entry.clone(),
        };
        Ok(KekList { current: self.entry(&list.current, &open.current)?, retiring, ..list.clone() })
    }

    fn entry(&mut self, entry: &KekEntry, live: &LiveKek) -> Result<KekEntry, KeyError> {
        let mut kept = Vec::new();
        for old in &entry.kept {
            if Some(old.keystore) == self.from {
                let new = self.core.keep(self.svm, &live.kek, self.to, self.keeper)?;
                // Under another name for the same top-level key, the bytes are the same: these stay.
                if new != *old {
                    self.old.push(old.clone());
                    self.new.push(new.clone());
                }
                kept.push(new);
                self.moved += 1;
            } else {
                kept.push(old.clone());
            }
        }
        Ok(KekEntry { kept, ..entry.clone() })
    }

    /// Has the new keeper forget what it kept, because no record will name it. Where it does not answer, that stays with it.
    fn discard_new(&self) {
        for Kept { bytes, .. } in &self.new {
            if let Err(error) = self.keeper.discard(&KeptKek { bytes: bytes.clone() }) {
                not_discarded(self.svm.id, &error);
            }
        }
    }
}
