//! The joint to what keeps an SVM-KEK safe.

use std::error::Error;
use std::sync::Arc;

use claviger_secret::ArenaError;
use claviger_wrap::{KekVersion, Key256, SvmId};

use crate::error::{Advice, Blame, Fault};
use crate::options::Options;

/// Keeps an SVM-KEK safe: outside the node, or under a passphrase.
///
/// Any thread may call any method at any time; the engine holds no lock while it does. What `fetch` returns is checked
/// against the KEK's id by the engine, so a keeper that answers with another key does no harm.
pub(crate) trait Keeper: Send + Sync {
    /// Wraps `kek`, or deposits it.
    ///
    /// # Errors
    /// [`KeeperError`]; the KEK may then be kept or not.
    fn keep(&self, kek: &Key256, place: KekPlace) -> Result<KeptKek, KeeperError>;

    /// Unwraps what was kept, or withdraws a copy of it.
    ///
    /// # Errors
    /// [`KeeperError`].
    fn fetch(&self, kept: &KeptKek, place: KekPlace) -> Result<Key256, KeeperError>;

    /// Forgets a retired KEK. Doing it twice is no error.
    ///
    /// # Errors
    /// [`KeeperError`]; the KEK may then be forgotten or not.
    fn discard(&self, kept: &KeptKek) -> Result<(), KeeperError>;
}

/// How the engine calls keepers: as they are, or with the faults of a test in between.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    #[cfg(feature = "faults")]
    faults: Option<crate::faults::KeeperFaults>,
}

impl Calls {
    #[cfg(feature = "faults")]
    pub(crate) fn of(options: &Options) -> Self {
        Self { faults: options.keeper_faults.clone() }
    }

    #[cfg(not(feature = "faults"))]
    pub(crate) fn of(_: &Options) -> Self {
        Self {}
    }

    /// The keeper as it is to be called.
    pub(crate) fn to(&self, keeper: Arc<dyn Keeper>) -> Arc<dyn Keeper> {
        #[cfg(feature = "faults")]
        if let Some(faults) = &self.faults {
            return faults.between(keeper);
        }
        keeper
    }
}

/// Which KEK it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KekPlace {
    /// The SVM.
    pub(crate) svm: SvmId,
    /// The version.
    pub(crate) version: KekVersion,
}

/// What a keeper needs to give a KEK back: wrapped bytes, or a reference. Never the KEK in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptKek {
    /// The keeper's own bytes, at most a few kilobytes.
    pub(crate) bytes: Vec<u8>,
}

/// Why a keeper did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// What was kept has changed since: the keeper's own key is the right one and its integrity check fails.
    #[error("what the keeper kept is damaged; restore the record from a copy or a backup")]
    Damaged,
    /// No answer came. What was asked may be done or not.
    #[error("the keeper did not answer; see to it and to the way there, then try again")]
    Unreachable {
        /// What was met instead.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered that it will not. What was asked is not done.
    #[error("the keeper refused; see to the credential that it is asked with and to what that may do, then try again")]
    Refused {
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No room in key memory.
    #[error("there is no room in key memory for the KEK")]
    Arena(#[from] ArenaError),
}

impl Blame for KeeperError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Damaged => (Fault::Data, Advice::Repair),
            Self::Unreachable { .. } => (Fault::Keeper, Advice::Retry),
            Self::Refused { .. } => (Fault::Keeper, Advice::GiveCredentials),
            Self::Arena(error) => error.blame(),
        }
    }
}
