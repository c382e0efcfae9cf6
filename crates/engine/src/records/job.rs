//! The `jobs` records: a long operation, where it stands, and how it ended.

use claviger_store::Table;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::kek::Kept;
use super::{Body, V1, hex_bytes};
use crate::error::{Advice, Fault};

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobRecord {
    pub(crate) version: V1,
    /// The job's UUID.
    pub(crate) job: Uuid,
    /// What it does.
    pub(crate) plan: Plan,
    /// When it was asked for.
    pub(crate) started: Timestamp,
    /// Items done.
    pub(crate) done: u64,
    /// Items there were when it began, as far as they have been counted.
    pub(crate) total: Option<u64>,
    /// Where it stands.
    pub(crate) phase: Phase,
}

impl Body for JobRecord {
    const TABLE: Table = Table::Jobs;

    fn key(&self) -> Vec<u8> {
        self.job.as_bytes().to_vec()
    }
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Plan {
    /// A new KEK for an SVM, and every key of it re-wrapped.
    RekeyInternal { svm: Uuid },
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Phase {
    /// At this step, which is not done yet; it is run again from its start after a crash.
    Running { step: RekeyStep },
    /// Ended, and kept for a while to be asked about.
    Ended { at: Timestamp, stop: Stop },
}

/// The steps of an internal rekey. Each ends in one commit, which writes the next.
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
    Failed { message: String, fault: Fault, advice: Advice },
}
