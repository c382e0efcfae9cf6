//! Why something about the keystores of an SVM was refused.

use std::io;

use claviger_wrap::{RandomError, SvmId};
use uuid::Uuid;

use crate::error::{Advice, Blame, Fault};
use crate::guards::Refusal;
use crate::keeper::KeeperError;
use crate::key_error::KeyError;
use crate::keystore_name::KeystoreName;
use crate::own_keeper::NoKeeper;
use crate::records::RecordError;
use crate::status::KeystoreState;

/// Why a keystore was not made or changed, or an operation on keystores was not begun. Nothing has changed then, unless the store
/// failed: whether a change was made is then known when the hierarchy is opened again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvmKeystoreError {
    /// There is no SVM with this UUID.
    #[error("SVM {svm} does not exist")]
    UnknownSvm {
        /// The UUID.
        svm: SvmId,
    },
    /// There is no keystore with this UUID.
    #[error("keystore {keystore} does not exist")]
    Unknown {
        /// The UUID.
        keystore: Uuid,
    },
    /// The admin SVM has the cluster's keystore.
    #[error("the admin SVM uses the cluster's keystore; a keystore of this kind is for data SVMs")]
    Admin,
    /// The keystore is the cluster's.
    #[error("keystore {keystore} is the cluster's; this is for keystores of SVMs")]
    TheClusters {
        /// The keystore.
        keystore: Uuid,
    },
    /// Another keystore of the SVM has this name.
    #[error("the SVM has a keystore named \"{name}\" already; choose another name")]
    NameTaken {
        /// The name.
        name: KeystoreName,
    },
    /// The SVM has as many keystores as it can.
    #[error("the SVM has as many keystores, with as many certificates, as its record can hold; delete one first")]
    TooMany,
    /// The keystore is the enabled one.
    #[error("keystore {keystore} is enabled; disable it, or switch to another, first")]
    Enabled {
        /// The keystore.
        keystore: Uuid,
    },
    /// Another keystore of the SVM is enabled.
    #[error("keystore {other} of the SVM is enabled; switch to {keystore} instead")]
    AnotherEnabled {
        /// The keystore that was to be enabled.
        keystore: Uuid,
        /// The one that is.
        other: Uuid,
    },
    /// The keystore is not enabled.
    #[error("keystore {keystore} is not enabled")]
    NotEnabled {
        /// The keystore.
        keystore: Uuid,
    },
    /// The SVM has no keystore of its own that is enabled.
    #[error("SVM {svm} has no keystore of its own that is enabled; enable one first")]
    NoneEnabled {
        /// The SVM.
        svm: SvmId,
    },
    /// KEKs migrate between the cluster's keystore and the SVM's enabled one.
    #[error("keystore {keystore} is neither the cluster's nor the SVM's enabled one; switch to it instead")]
    NotADestination {
        /// The keystore.
        keystore: Uuid,
    },
    /// The keystore keeps the SVM's KEK already.
    #[error("keystore {keystore} keeps the SVM's KEK already")]
    KeptThere {
        /// The keystore.
        keystore: Uuid,
    },
    /// The top-level key is the one that is in use.
    #[error("keystore {keystore} uses this top-level key already; name another")]
    SameKey {
        /// The keystore.
        keystore: Uuid,
    },
    /// The SVM's KEK is kept by the cluster's keystore, and another is enabled for the SVM.
    #[error("the KEK of SVM {svm} is still kept by the cluster's keystore; migrate it to keystore {keystore} first")]
    Mixed {
        /// The SVM.
        svm: SvmId,
        /// Its enabled keystore.
        keystore: Uuid,
    },
    /// The SVM has no KEK yet: no key was ever made in it.
    #[error("no volumes created yet for SVM {svm}; it has no KEK")]
    NoKeys {
        /// The SVM.
        svm: SvmId,
    },
    /// The keystore keeps a KEK that protects keys.
    #[error(
        "keystore {keystore} keeps a KEK that protects keys; migrate it to the cluster's keystore, or switch, first"
    )]
    KeepsKeys {
        /// The keystore.
        keystore: Uuid,
    },
    /// The keystore keeps a KEK, or it is not known whether it does.
    #[error("keystore {keystore} keeps a KEK, or the record that says so is damaged; verify the hierarchy")]
    Keeps {
        /// The keystore.
        keystore: Uuid,
    },
    /// Another operation on the SVM's keystores runs, or was interrupted.
    #[error("the keystore of SVM {svm} is {}; try again when that has ended, or repeat it where it was interrupted", state.as_str())]
    Busy {
        /// The SVM.
        svm: SvmId,
        /// What the operation makes of the keystore.
        state: KeystoreState,
    },
    /// A rekey of the SVM runs, or was interrupted.
    #[error("a rekey of SVM {svm} runs or was interrupted; try again when it has ended")]
    Rekeying {
        /// The SVM.
        svm: SvmId,
    },
    /// The records of the SVM do not say that the job has it to itself: one of them was put back from a copy.
    #[error(
        "the records of SVM {svm} do not name job {job}: one of them is from another time; nothing was changed, ask for the operation again"
    )]
    NotHeld {
        /// The SVM.
        svm: SvmId,
        /// The job.
        job: Uuid,
    },
    /// The SVM is being deleted.
    #[error("SVM {svm} is being deleted")]
    SvmBeingDeleted {
        /// The SVM.
        svm: SvmId,
    },
    /// The record of the SVM, or of its keystores, does not open.
    #[error("the record of SVM {svm} or of its keystores is damaged; put it back from a copy, or restore a backup")]
    Damaged {
        /// The SVM.
        svm: SvmId,
    },
    /// The facts of the node do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] NoKeeper),
    /// The keeper did not do it.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The SVM's KEK is not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No thread could be started for the job; it can be resumed.
    #[error("no thread could be started for the job; it can be resumed")]
    Thread(#[from] io::Error),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl Blame for SvmKeystoreError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::UnknownSvm { .. }
            | Self::Unknown { .. }
            | Self::Admin
            | Self::TheClusters { .. }
            | Self::NameTaken { .. }
            | Self::TooMany
            | Self::Enabled { .. }
            | Self::AnotherEnabled { .. }
            | Self::NotEnabled { .. }
            | Self::NoneEnabled { .. }
            | Self::NotADestination { .. }
            | Self::KeptThere { .. }
            | Self::SameKey { .. }
            | Self::Mixed { .. }
            | Self::NoKeys { .. }
            | Self::KeepsKeys { .. }
            | Self::SvmBeingDeleted { .. } => (Fault::Caller, Advice::Correct),
            Self::Busy { .. } | Self::Rekeying { .. } => (Fault::Caller, Advice::Retry),
            Self::Keeps { .. } | Self::Damaged { .. } | Self::NotHeld { .. } => (Fault::Data, Advice::Repair),
            Self::Refused(refusal) => refusal.blame(),
            Self::Settings(error) => error.blame(),
            Self::Keeper(error) => error.blame(),
            Self::Key(error) => error.blame(),
            Self::Random(_) | Self::Thread(_) => (Fault::Node, Advice::Retry),
            Self::Records(error) => error.blame(),
        }
    }
}

impl Blame for NoKeeper {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            #[cfg(feature = "barbican")]
            Self::Barbican(error) => error.blame(),
            Self::NotBuilt { .. } => (Fault::Caller, Advice::Correct),
            Self::Arena(error) => error.blame(),
        }
    }
}
