//! The two questions that every error answers: whose fault, and what now.

use std::fmt;
use std::io;

use claviger_secret::ArenaError;
use claviger_store::{OpenError as StoreOpenError, StoreError};
use serde::{Deserialize, Serialize};

use crate::anchor::AnchorError;
use crate::records::RecordError;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// What was asked cannot be done as asked.
    Caller,
    /// A keeper refused or did not answer.
    Keeper,
    /// What is stored has been damaged, moved or lost.
    Data,
    /// The node: its disk, its memory, its random source, another process on it.
    Node,
    /// The engine itself.
    Ours,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Advice {
    /// Ask for something else, or with other values.
    Correct,
    /// Give the passphrase or credential that is missing, or the right one.
    GiveCredentials,
    /// The same call can succeed later: when an operation has ended, or a delay has passed.
    Retry,
    /// Make room, or raise a limit of the node, then call again.
    MakeRoom,
    /// Run an internal rekey of the SVM, then call again.
    Rekey,
    /// Put the damaged or missing record back from a copy or a backup.
    Repair,
    /// Change something at the keeper: bring the top-level key back, give a role, see to the service. Then call again.
    SeeToTheKeeper,
    /// This should not happen: report it with the log.
    Report,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Correct => "correct the request",
            Self::GiveCredentials => "give the right passphrase or credential",
            Self::Retry => "try again later",
            Self::MakeRoom => "make room or raise the limit, then try again",
            Self::Rekey => "rekey the SVM, then try again",
            Self::Repair => "put the record back from a copy or a backup",
            Self::SeeToTheKeeper => "see to the keeper, then try again",
            Self::Report => "report this with the log",
        })
    }
}

/// What every error of the engine tells besides its message.
pub trait Blame: std::error::Error {
    /// Whose fault it is, and what to do.
    fn blame(&self) -> (Fault, Advice);

    /// Whose fault it is.
    fn fault(&self) -> Fault {
        self.blame().0
    }

    /// What to do.
    fn advice(&self) -> Advice {
        self.blame().1
    }
}

impl Blame for RecordError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Store(error) => error.blame(),
            Self::Random(_) => (Fault::Node, Advice::Retry),
            Self::Anchor(error) => error.blame(),
            Self::EpochLost | Self::RolledBack { .. } => (Fault::Data, Advice::Repair),
            Self::Sealed { .. } | Self::Body { .. } | Self::Lost { .. } => (Fault::Data, Advice::Repair),
            Self::Misplaced { .. } => (Fault::Ours, Advice::Report),
        }
    }
}

impl Blame for AnchorError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::File { source, .. } if is_full(source) => (Fault::Node, Advice::MakeRoom),
            Self::File { .. } | Self::Other(_) => (Fault::Node, Advice::Retry),
            Self::Damaged { .. } | Self::OtherHierarchy { .. } => (Fault::Data, Advice::Repair),
        }
    }
}

impl Blame for StoreError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Conflict { .. } => (Fault::Ours, Advice::Retry),
            Self::DiskFull { .. } => (Fault::Node, Advice::MakeRoom),
            Self::Damaged { .. } => (Fault::Data, Advice::Repair),
            Self::ReadOnly { .. } | Self::Forked { .. } => (Fault::Caller, Advice::Correct),
            Self::Io(_) | Self::Failed { .. } => (Fault::Node, Advice::Retry),
            _ => (Fault::Ours, Advice::Report),
        }
    }
}

impl Blame for StoreOpenError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Missing { .. } | Self::Exists { .. } | Self::OtherKind { .. } => (Fault::Caller, Advice::Correct),
            Self::Io { source, .. } if is_full(source) => (Fault::Node, Advice::MakeRoom),
            Self::Locked { .. } | Self::Io { .. } => (Fault::Node, Advice::Retry),
            _ => (Fault::Data, Advice::Repair),
        }
    }
}

/// An error with its causes, as text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Whether a file could not be written for want of room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Blame for ArenaError {
    fn blame(&self) -> (Fault, Advice) {
        (Fault::Node, Advice::MakeRoom)
    }
}
