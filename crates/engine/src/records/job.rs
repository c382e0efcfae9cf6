//! The `jobs` records: a long operation, where it stands, and how it ended.

use claviger_store::Table;
use claviger_wrap::SvmId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::kek::Kept;
use super::{Body, V1, hex_bytes};
use crate::cause::Cause;
use crate::error::{Advice, Fault};

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobRecord {
    pub(crate) version: V1,
    /// The job's UUID.
    pub(crate) job: Uuid,
    /// What it does, and where it stands: at a step that is not done yet, and is run again from its start after a crash.
    pub(crate) task: Task,
    /// When it was asked for.
    pub(crate) started: Timestamp,
    /// Items done.
    pub(crate) done: u64,
    /// Items there were when it began, as far as they have been counted.
    pub(crate) total: Option<u64>,
    /// Whether it has ended.
    pub(crate) phase: Phase,
}

impl JobRecord {
    /// The SVM that it has to itself.
    pub(crate) fn svm(&self) -> Option<SvmId> {
        match self.task {
            Task::RekeyInternal { svm, .. }
            | Task::Enable { svm, .. }
            | Task::Move { svm, .. }
            | Task::Disable { svm, .. } => Some(svm.into()),
            Task::Restore { .. } => None,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }
}

impl Body for JobRecord {
    const TABLE: Table = Table::Jobs;

    fn key(&self) -> Vec<u8> {
        self.job.as_bytes().to_vec()
    }
}

/// What a job does. Each step ends in one commit, which writes the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Task {
    /// A new KEK for an SVM, and every key of it re-wrapped.
    RekeyInternal { svm: Uuid, step: RekeyStep },
    /// The first keystore of an SVM is enabled. No KEK moves.
    Enable { svm: Uuid, keystore: Uuid },
    /// What one keystore keeps of an SVM is kept by another, or under another top-level key.
    Move {
        svm: Uuid,
        /// Who keeps it; `None` where there is no keystore yet.
        from: Option<Uuid>,
        /// Who will.
        to: Uuid,
        purpose: Purpose,
        step: MoveStep,
    },
    /// A keystore of an SVM that keeps no key's KEK is enabled no longer.
    Disable { svm: Uuid, keystore: Uuid, step: DisableStep },
    /// The KEKs of one SVM, or of all, are fetched again.
    Restore { svm: Option<Uuid> },
}

/// Why KEKs move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// The other keystore is the enabled one from then on.
    Switch,
    /// The enabled keystore stays the enabled one.
    Migrate,
    /// It is the same keystore, with another top-level key.
    RekeyExternal {
        /// The keeper's name for it; for Barbican, the secret's URL.
        key_id: String,
    },
}

/// The steps of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum MoveStep {
    /// Every live KEK is kept anew, fetched back and compared; the commit puts configuration and kept bytes in force together.
    Rekeep,
    /// The old keeper forgets what it kept; the commit ends the job.
    Discard { kept: Vec<Kept> },
}

/// The steps of disabling a keystore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum DisableStep {
    /// Where it keeps KEKs, no key is under them; the commit drops these, and the keystore is enabled no longer.
    Drop,
    /// The keeper forgets them; the commit ends the job.
    Discard { kept: Vec<Kept> },
}

/// Whether a job has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It has not.
    Running,
    /// It has, and is kept for a while to be asked about.
    Ended { at: Timestamp, stop: Stop },
}

/// The steps of an internal rekey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum RekeyStep {
    /// The new KEK is made and kept; the commit makes it current and the old one retiring.
    Make,
    /// Keys are re-wrapped in order; `cursor` is the store key of the last one that is certainly done. After the last,
    /// passes from the start go on until one finds nothing under the old KEK; the commit drops it.
    Rewrap {
        #[serde(with = "hex_bytes")]
        cursor: Vec<u8>,
    },
    /// The keeper forgets the old KEK; the commit ends the job.
    Discard { kept: Vec<Kept> },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Stop {
    /// All is done.
    Succeeded,
    /// It was cancelled between two steps or batches.
    Cancelled,
    /// It could not go on; `message` says why.
    Failed {
        message: String,
        /// Of a job that ended before causes were kept, it is not known.
        #[serde(default = "unknown_cause")]
        cause: Cause,
        fault: Fault,
        advice: Advice,
    },
}

const fn unknown_cause() -> Cause {
    Cause::Other
}
