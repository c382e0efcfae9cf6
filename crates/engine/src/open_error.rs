//! Why a hierarchy could not be made or opened.

use std::io;
use std::path::PathBuf;

use claviger_secret::ArenaError;
use claviger_store::{OpenError as StoreOpenError, StoreError};
use claviger_wrap::{GenerateError, KeyLength};

use crate::anchor::AnchorError;
use crate::error::{Advice, Blame, Fault};
use crate::records::RecordError;

/// Why a hierarchy could not be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenEngineError {
    /// There is a hierarchy already.
    #[error(
        "there is a hierarchy already{}; open it, repeat the recovery that was begun, or choose another directory",
        in_dir(dir)
    )]
    Exists {
        /// Where, if it is in a directory.
        dir: Option<PathBuf>,
    },
    /// The hierarchy's creation was not completed, or the record that says so is lost.
    #[error(
        "the creation of this hierarchy{} was not completed, or its first record is lost; repeat the creation or the recovery that was begun, or put the record back from a copy",
        in_dir(dir)
    )]
    Unfinished {
        /// Where, if it is in a directory.
        dir: Option<PathBuf>,
    },
    /// The directory has other things in it.
    #[error("the directory {} is not empty; choose one that is, or that does not exist", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("the directory {} cannot be used", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreOpenError),
    /// No sealing key is at hand: the store is not in a directory, or systemd gave no credentials.
    #[error("there is no sealing key: give one, or start under systemd with the credential that was named")]
    NoSealingKey,
    /// The sealing key's file cannot be read or written.
    #[error("the sealing key {} cannot be read or written; without it no record opens: put it back, or restore a backup", path.display())]
    SealingKeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can read the sealing key's file.
    #[error("others can read the sealing key {} (mode {mode:o}); set its mode to 0600", path.display())]
    SealingKeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no sealing key.
    #[error("{} is not a sealing key of a known format; put the right file back, or restore a backup", path.display())]
    SealingKeyFormat {
        /// The file.
        path: PathBuf,
    },
    /// The store is older than its anchor: an older copy was put in its place.
    #[error(
        "the store is an older copy: it is at epoch {store}, and had reached {anchored}; what changed in between is not in it. Put the newest store back, or accept the loss on purpose (danger_accept_rollback)"
    )]
    RolledBack {
        /// The store's epoch.
        store: u64,
        /// The epoch that it had reached.
        anchored: u64,
    },
    /// There is no anchor, so that nobody knows whether the store is the newest.
    #[error(
        "the anchor that tells the newest store from an older copy is missing; put it back, or accept the store as it is on purpose (danger_accept_rollback)"
    )]
    NotAnchored,
    /// The anchor was not read, so that nobody knows whether the store is the newest.
    #[error(
        "the anchor that tells the newest store from an older copy was not read; see to it, or, where it is damaged or another hierarchy's, accept the store as it is on purpose (danger_accept_rollback)"
    )]
    Anchor {
        /// Why.
        source: AnchorError,
    },
    /// The store is not in a directory, so that no anchor can be beside it.
    #[error("there is no place for an anchor beside this store; give one, or choose to have none")]
    NoAnchor,
    /// The sealing key belongs to another store.
    #[error("the sealing key belongs to another store; give this store's own")]
    OtherSealingKey,
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] GenerateError),
    /// The sealing key has another length than 32 bytes.
    #[error("the sealing key is not of the right length")]
    SealingKeyLength(#[from] KeyLength),
    /// Key memory cannot be had, or is full.
    #[error(transparent)]
    Memory(#[from] ArenaError),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

fn in_dir(dir: &Option<PathBuf>) -> String {
    dir.as_ref().map_or_else(String::new, |dir| format!(" in {}", dir.display()))
}

impl From<StoreError> for OpenEngineError {
    fn from(error: StoreError) -> Self {
        Self::Records(error.into())
    }
}

impl Blame for OpenEngineError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Exists { .. } | Self::NotEmpty { .. } | Self::Directory { .. } | Self::SealingKeyExposed { .. } => {
                (Fault::Caller, Advice::Correct)
            }
            Self::Unfinished { .. } => (Fault::Caller, Advice::Correct),
            Self::Store(error) => error.blame(),
            Self::RolledBack { .. } | Self::NotAnchored => (Fault::Data, Advice::Repair),
            Self::Anchor { source } => source.blame(),
            Self::NoAnchor => (Fault::Caller, Advice::Correct),
            Self::NoSealingKey | Self::OtherSealingKey | Self::SealingKeyLength(_) => {
                (Fault::Caller, Advice::GiveCredentials)
            }
            Self::SealingKeyFile { .. } | Self::SealingKeyFormat { .. } => (Fault::Data, Advice::Repair),
            Self::Key(_) => (Fault::Node, Advice::Retry),
            Self::Memory(error) => error.blame(),
            Self::Records(error) => error.blame(),
        }
    }
}
