//! Verification of every record: what opens, what does not and why, and what contradicts something else. Nothing is
//! written, and nobody waits for it.
//!
//! First the records other than keys are opened one by one ([`records`]), then those that belong together are compared
//! ([`relations`]), then certificates and named volumes ([`objects`]), then all keys are opened ([`keys`]). What depends on a record that is damaged or missing has no finding of
//! its own: it is told as unchecked, with the record that it depends on.

mod certificates;
mod diagnosis;
mod keys;
mod objects;
mod records;
mod relations;
mod report;
mod volumes;

use std::collections::BTreeMap;

use claviger_store::{Store, Table};
use claviger_wrap::{KekVersion, SvmId};

use self::keys::{BlobCounts, Keys};
use self::objects::Objects;
use self::report::Findings;
use crate::engine::{Core, Engine};
use crate::epoch::Standing;
use crate::key_error::KeyError;
use crate::live::Keks;
use crate::records::{KekList, Operation};

pub(crate) use self::diagnosis::of_key;
pub use self::report::{Finding, Note, Problem, Report, Unavailable, Unchecked};

impl Engine {
    /// Opens every record and every blob, has every KEK given back by its keeper, and names each record that is not as it must
    /// be. Nothing is written; creates, opens, deletions and jobs go on meanwhile, and none of them waits for it. `progress` is
    /// called with the number of key records seen, once a page.
    ///
    /// A key record that is gone leaves no trace, so no verification can miss it, unless it is that of a named volume.
    ///
    /// # Errors
    /// The store failed, or there is no room in key memory. Damage is no error but a [`Finding`].
    pub fn verify(&self, progress: impl FnMut(u64)) -> Result<Report, KeyError> {
        verify(&self.core, self.core.records.store(), progress)
    }
}

/// Verifies the records of `core`, and the keys that lie in `store`.
pub(crate) fn verify(core: &Core, store: &dyn Store, mut progress: impl FnMut(u64)) -> Result<Report, KeyError> {
    let mut findings = Findings::default();
    let census = records::read_all(core, &mut findings)?;
    let mut unchecked = relations::check_all(core, &census, &mut findings)?;
    let mut objects = Objects { core, keys: store, findings: &mut findings, records: 0 };
    objects.check_all(Table::Certificates)?;
    objects.check_all(Table::Volumes)?;
    let records = census.records + objects.records;
    let mut keys = Keys {
        core,
        store,
        findings: &mut findings,
        unchecked: &mut unchecked,
        seen: 0,
        opened: 0,
        blobs: BlobCounts::new(),
    };
    keys.check_all(&mut progress)?;
    let Keys { seen, opened, blobs, .. } = keys;
    // The keystore may have been unlocked since the KEKs were looked for.
    unchecked.retain(|svm, closed| closed.keys > 0 || closed.why.is_of_the_keeper() || !is_open(core, *svm));
    let (findings, further_findings) = findings.finish();
    Ok(Report {
        keys: seen,
        opened,
        records,
        findings,
        further_findings,
        unchecked: unchecked.into_values().collect(),
        notes: notes(core, &blobs),
    })
}

fn is_open(core: &Core, svm: SvmId) -> bool {
    core.live.svm(svm).is_some_and(|live| live.keks.load().is_open())
}

/// What is worth knowing of the store's age, of the KEKs in memory, and of the blobs that are under them.
fn notes(core: &Core, blobs: &BlobCounts) -> Vec<Note> {
    let mut notes = Vec::new();
    match &core.standing {
        Standing::NotAnchored | Standing::Unread(_) => {
            notes.push(Note::AgeUnknown { why: core.standing.to_string() });
        }
        // The epoch's record has a finding then.
        Standing::RolledBack { .. } | Standing::Lost | Standing::Current => {}
    }
    for (&svm, live) in core.live.svms().iter() {
        if let Keks::Open(open) = live.keks.load().as_ref() {
            notes.extend(note_of(&open.list.body, svm, blobs.get(&svm)));
        }
    }
    notes
}

/// `blobs` is `None` where the SVM has no key record at all.
fn note_of(list: &KekList, svm: SvmId, blobs: Option<&BTreeMap<KekVersion, u64>>) -> Option<Note> {
    let to = list.current.kek_version;
    match (list.operation, &list.retiring) {
        // A rekey runs, or waits to go on.
        (Some(Operation::Rekey { .. } | Operation::Disable { .. } | Operation::DeleteKeystore), _) => None,
        (Some(Operation::Delete), _) => Some(Note::DeletionUnfinished { svm }),
        (None, Some(retiring)) => {
            let from = retiring.kek_version;
            let left = blobs.and_then(|blobs| blobs.get(&from)).copied().unwrap_or(0);
            Some(Note::RekeyUnfinished { svm, from, to, left })
        }
        (None, None) => blobs.is_none().then_some(Note::KekWithoutKeys { svm, version: to }),
    }
}
