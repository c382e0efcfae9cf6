//! Why a job is not to be had, or did not succeed.

use std::io;

use uuid::Uuid;

use crate::cause::Cause;
use crate::error::{Advice, Blame, Fault};
use crate::records::RecordError;

/// Why a job is not to be had, or did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is no such job, or it ended too long ago.
    #[error("job {job} does not exist, or ended too long ago")]
    Unknown {
        /// The job.
        job: Uuid,
    },
    /// The job has ended.
    #[error("job {job} has ended")]
    Ended {
        /// The job.
        job: Uuid,
    },
    /// The job cannot go on: its SVM's KEKs are not in memory.
    #[error("job {job} cannot go on: the KEKs that it needs are not in memory; unlock the keystore, or restore them")]
    Locked {
        /// The job.
        job: Uuid,
    },
    /// The job has done its work, and only the keeper has yet to forget the old KEK.
    #[error(
        "job {job} cannot be cancelled any more: the new KEK is in force; resume it, so that the keeper forgets the old one"
    )]
    TooLate {
        /// The job.
        job: Uuid,
    },
    /// The engine was closed, the job's thread could not write its end, or the keeper has not forgotten the old KEK yet. The
    /// job can be resumed.
    #[error("job {job} was interrupted; it goes on where it was when it is resumed")]
    Interrupted {
        /// The job.
        job: Uuid,
    },
    /// The job was cancelled.
    #[error("job {job} was cancelled")]
    Cancelled {
        /// The job.
        job: Uuid,
    },
    /// The job could not go on.
    #[error("job {job} failed: {message}")]
    Failed {
        /// The job.
        job: Uuid,
        /// Why.
        message: String,
        /// Of which kind that is.
        cause: Cause,
        /// Whose fault it is.
        fault: Fault,
        /// What to do.
        advice: Advice,
    },
    /// No thread could be started for the job.
    #[error("no thread could be started for the job")]
    Thread(#[from] io::Error),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl Blame for JobError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Unknown { .. } | Self::Ended { .. } | Self::TooLate { .. } | Self::Cancelled { .. } => {
                (Fault::Caller, Advice::Correct)
            }
            Self::Locked { .. } => (Fault::Caller, Advice::GiveCredentials),
            Self::Interrupted { .. } | Self::Thread(_) => (Fault::Node, Advice::Retry),
            Self::Failed { fault, advice, .. } => (*fault, *advice),
            Self::Records(error) => error.blame(),
        }
    }
}
