//! Why a key could not be made, opened, rotated or deleted.

use claviger_secret::ArenaError;
use claviger_store::StoreError;
use claviger_wrap::{GenerateError, KekId, KekVersion, RandomError, SvmId, VersionExhausted};

use crate::error::{Advice, Blame, Fault};
use crate::keeper::{KeeperError, Trouble};
use crate::key_record::{KeyRecordError, ObjectRef};
use crate::records::RecordError;

/// Why a key could not be made, opened, rotated or deleted. Nothing has changed then, unless the store failed: whether a
/// change was made is then known when the hierarchy is opened again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no SVM with this UUID.
    #[error("SVM {svm} does not exist")]
    UnknownSvm {
        /// The UUID.
        svm: SvmId,
    },
    /// The object has a key already.
    #[error("{object} has a key already; open or rotate that")]
    Exists {
        /// The object.
        object: ObjectRef,
    },
    /// The object has no key.
    #[error("{object} has no key in this SVM")]
    Missing {
        /// The object.
        object: ObjectRef,
    },
    /// A rotation of the key runs.
    #[error("a rotation of the key of {object} runs already; finish it first")]
    Rotating {
        /// The object.
        object: ObjectRef,
    },
    /// No rotation of the key runs.
    #[error("no rotation of the key of {object} runs; begin one first")]
    NotRotating {
        /// The object.
        object: ObjectRef,
    },
    /// The key has had all versions that there are.
    #[error("the key of {object} cannot be rotated any more")]
    Versions {
        /// The object.
        object: ObjectRef,
        /// Why.
        source: VersionExhausted,
    },
    /// The record is no key record of this place.
    #[error("the key record of {object} is damaged or of another place")]
    Layout {
        /// The object.
        object: ObjectRef,
        /// What differs.
        source: KeyRecordError,
    },
    /// The record's own key is not that of a key record.
    #[error("table keys holds a record under the key {}", hex::encode(key))]
    StoreKey {
        /// The record's key.
        key: Vec<u8>,
        /// What differs.
        source: KeyRecordError,
    },
    /// The blob names a KEK that is not among the live ones.
    #[error(
        "the key of {object} is under KEK version {version} ({id}), and there is no such KEK; restore a backup that has it"
    )]
    NoSuchKek {
        /// The object.
        object: ObjectRef,
        /// The KEK version that the blob names.
        version: KekVersion,
        /// The KEK that the blob names.
        id: KekId,
    },
    /// The KEK is the right one, and the blob's tag fails.
    #[error(
        "the key of {object} is damaged: its KEK is the right one and its tag fails; put the record back from a copy"
    )]
    Damaged {
        /// The object.
        object: ObjectRef,
    },
    /// The SVM has a key and no KEK.
    #[error("SVM {svm} has no KEK; its KEK record is missing: restore it from a copy or a backup")]
    NoKek {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM's KEK is kept by a keystore that waits for its passphrase.
    #[error("the KEK of SVM {svm} is not in memory: its keystore is locked; unlock it with the passphrase")]
    Locked {
        /// The SVM.
        svm: SvmId,
    },
    /// What the keeper kept does not give the SVM's KEK.
    #[error(
        "the KEK of SVM {svm} is not in memory: its record is damaged, or what its keeper kept is; restore a backup"
    )]
    KekDamaged {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM's KEK is kept outside the node, and has not been fetched since the start.
    #[error("the KEK of SVM {svm} is not in memory: it has not been fetched from its keeper yet; restore it")]
    KekNotFetched {
        /// The SVM.
        svm: SvmId,
    },
    /// The keeper of the SVM's KEK did not answer, or not as it must.
    #[error(
        "the KEK of SVM {svm} is not in memory: its keeper did not give it ({trouble}); see to that, then restore it, or wait where KEKs are fetched by themselves"
    )]
    KekUnreachable {
        /// The SVM.
        svm: SvmId,
        /// What is the matter with the keeper.
        trouble: Trouble,
    },
    /// The keeper of the SVM's KEK refused to give it.
    #[error(
        "the KEK of SVM {svm} is not in memory: its keeper refused to give it ({trouble}); see to that, then restore it"
    )]
    KekRefused {
        /// The SVM.
        svm: SvmId,
        /// What is the matter with the keeper.
        trouble: Trouble,
    },
    /// The settings of the keystore that keeps the SVM's KEK cannot be used, or this build has no keeper of its kind.
    #[error("the KEK of SVM {svm} is not in memory: its keystore cannot be used; the log says why")]
    KeystoreUnusable {
        /// The SVM.
        svm: SvmId,
    },
    /// The record of the SVM's keystores does not open.
    #[error("the record of the keystores of SVM {svm} is damaged; put it back from a copy, or restore a backup")]
    KeystoresDamaged {
        /// The SVM.
        svm: SvmId,
    },
    /// The keystore that keeps the SVM's KEK is being disabled.
    #[error("the keystore of SVM {svm} is being disabled; try again when that has ended")]
    KeystoreBeingDisabled {
        /// The SVM.
        svm: SvmId,
    },
    /// The cluster's keystore, which keeps the SVM's KEK or is to keep it, is being deleted.
    #[error(
        "the cluster's keystore is being deleted; try again when that has ended, with another keystore in its place"
    )]
    KeystoreBeingDeleted,
    /// There was no room in key memory for the SVM's KEK.
    #[error("the KEK of SVM {svm} is not in memory: key memory was full at start; make it larger and start again")]
    KekWithoutRoom {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM's KEK is kept by a keystore whose record is missing.
    #[error(
        "the KEK of SVM {svm} is not in memory: the record of its keystore is missing; put it back from a copy, or restore a backup"
    )]
    KeystoreLost {
        /// The SVM.
        svm: SvmId,
    },
    /// There is no keystore that could keep a KEK.
    #[error("there is no keystore to keep the SVM's KEK; create the onboard keystore first")]
    NoKeystore,
    /// The keystore waits for its passphrase.
    #[error("the keystore is locked; unlock it with the passphrase")]
    KeystoreLocked,
    /// The keeper returned another KEK than it was given.
    #[error("the keeper gave back another KEK than it was given; the new KEK was not used")]
    KeptOtherwise,
    /// The keeper failed.
    #[error("the keeper failed")]
    Keeper(#[from] KeeperError),
    /// The SVM is being deleted.
    #[error("SVM {svm} is being deleted")]
    SvmBeingDeleted {
        /// The SVM.
        svm: SvmId,
    },
    /// A job is to have a KEK forgotten that the SVM's record names as live.
    #[error("the KEKs of SVM {svm} that were to be forgotten are live; nothing was forgotten: verify the hierarchy")]
    StillLive {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM's KEK has sealed as many keys as it safely can.
    #[error("the KEK of SVM {svm} has sealed as many keys as it safely can; rekey the SVM, then try again")]
    SealsExhausted {
        /// The SVM.
        svm: SvmId,
    },
    /// The SVM's KEK record in the store is not the one that this engine wrote.
    #[error("the KEK record of SVM {svm} was changed by somebody else; open the hierarchy again")]
    KeksChanged {
        /// The SVM.
        svm: SvmId,
    },
    /// The cipher refused to seal.
    #[error("the cipher refused to seal the key; report this")]
    Sealing,
    /// There is no room in key memory.
    #[error("there is no room in key memory")]
    Arena(#[from] ArenaError),
    /// The random source failed.
    #[error("no key was made")]
    Random(#[from] RandomError),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        Self::Records(error.into())
    }
}

impl From<GenerateError> for KeyError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Random(error) => Self::Random(error),
            GenerateError::Arena(error) => Self::Arena(error),
            _ => Self::Sealing,
        }
    }
}

impl Blame for KeyError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::UnknownSvm { .. }
            | Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Rotating { .. }
            | Self::NotRotating { .. }
            | Self::Versions { .. }
            | Self::SvmBeingDeleted { .. }
            | Self::NoKeystore => (Fault::Caller, Advice::Correct),
            Self::Layout { .. }
            | Self::StoreKey { .. }
            | Self::NoSuchKek { .. }
            | Self::Damaged { .. }
            | Self::NoKek { .. }
            | Self::KeystoreLost { .. }
            | Self::KeystoresDamaged { .. }
            | Self::StillLive { .. }
            | Self::KekDamaged { .. } => (Fault::Data, Advice::Repair),
            Self::Locked { .. } | Self::KeystoreLocked => (Fault::Caller, Advice::GiveCredentials),
            Self::KeptOtherwise => (Fault::Keeper, Advice::Report),
            Self::KekNotFetched { .. } => (Fault::Node, Advice::Retry),
            Self::KekUnreachable { trouble, .. } | Self::KekRefused { trouble, .. } => trouble.blame(),
            Self::KeystoreUnusable { .. } => (Fault::Caller, Advice::Correct),
            Self::KeystoreBeingDisabled { .. } | Self::KeystoreBeingDeleted => (Fault::Caller, Advice::Retry),
            Self::Keeper(error) => error.blame(),
            Self::SealsExhausted { .. } => (Fault::Caller, Advice::Rekey),
            Self::KeksChanged { .. } => (Fault::Node, Advice::Retry),
            Self::Sealing => (Fault::Ours, Advice::Report),
            Self::Arena(_) | Self::KekWithoutRoom { .. } => (Fault::Node, Advice::MakeRoom),
            Self::Random(_) => (Fault::Node, Advice::Retry),
            Self::Records(error) => error.blame(),
        }
    }
}
