//! The joint to what keeps an SVM-KEK safe.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use claviger_secret::ArenaError;
use claviger_wrap::{KekVersion, Key256, SvmId};

use crate::check::Hop;
use crate::error::{Advice, Blame, Fault};
use crate::metered::{Kind, Metered};
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

    /// Whether it is reachable and usable: everything that `keep` and `fetch` need is tried, one hop after the other, and each
    /// is told as it ends. Nothing is kept.
    ///
    /// # Errors
    /// [`KeeperError`], of the hop that failed; it was the last one that was tried.
    fn probe(&self, each: &mut dyn FnMut(Hop)) -> Result<(), KeeperError>;
}

/// How the engine calls keepers: measured, and with the faults of a test in between.
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

    /// What stands in for the services in a test.
    #[cfg(all(feature = "faults", feature = "barbican"))]
    pub(crate) fn vault(&self) -> Option<crate::faults::Vault> {
        self.faults.as_ref()?.vault()
    }

    /// The keeper as it is to be called.
    pub(crate) fn to(&self, kind: Kind, keeper: Arc<dyn Keeper>) -> Arc<dyn Keeper> {
        #[cfg(feature = "faults")]
        let keeper = match &self.faults {
            Some(faults) => faults.between(keeper),
            None => keeper,
        };
        Arc::new(Metered { kind, keeper })
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
    /// The top-level key at the keeper is another than the one that the KEK was kept under.
    #[error(
        "the top-level key at the keeper is another than the KEK was kept under; see to what the keystore names there"
    )]
    OtherKey,
    /// No answer came. What was asked may be done or not.
    #[error("the keeper did not answer; see to it and to the way there, then try again")]
    Unreachable {
        /// What was met instead.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered that it does not know the credential, or no longer.
    #[error("the keeper refused the credential; give the keystore another one")]
    CredentialRefused {
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered that it has no such top-level key, or that the key is disabled or expired.
    #[error(
        "the keeper does not have the top-level key, or no longer gives it out; bring it back there, or move to another keystore"
    )]
    KeyMissing {
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered that the credential may not have the top-level key.
    #[error(
        "the keeper does not let the credential have the top-level key; see to its roles and to the key's access list"
    )]
    Forbidden {
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The top-level key is no AES-256 key.
    #[error("the top-level key at the keeper is not usable; choose an AES key of 256 bits")]
    KeyUnsuitable {
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered something that its protocol does not have.
    #[error("the keeper answered what it must not; see to its logs, and whether it is one at all")]
    Misbehaving {
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No room in key memory.
    #[error("there is no room in key memory for the KEK")]
    Arena(#[from] ArenaError),
}

impl KeeperError {
    /// The kind of trouble, where it is the keeper's.
    #[must_use]
    pub const fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Unreachable { .. } => Some(Trouble::Unreachable),
            Self::CredentialRefused { .. } => Some(Trouble::CredentialRefused),
            Self::KeyMissing { .. } => Some(Trouble::KeyMissing),
            Self::Forbidden { .. } => Some(Trouble::Forbidden),
            Self::KeyUnsuitable { .. } => Some(Trouble::KeyUnsuitable),
            Self::Misbehaving { .. } => Some(Trouble::Misbehaving),
            Self::OtherKey => Some(Trouble::OtherKey),
            Self::Damaged | Self::Arena(_) => None,
        }
    }
}

impl Blame for KeeperError {
    fn blame(&self) -> (Fault, Advice) {
        match self {
            Self::Damaged => (Fault::Data, Advice::Repair),
            Self::OtherKey => Trouble::OtherKey.blame(),
            Self::Unreachable { .. } => Trouble::Unreachable.blame(),
            Self::CredentialRefused { .. } => Trouble::CredentialRefused.blame(),
            Self::KeyMissing { .. } => Trouble::KeyMissing.blame(),
            Self::Forbidden { .. } => Trouble::Forbidden.blame(),
            Self::KeyUnsuitable { .. } => Trouble::KeyUnsuitable.blame(),
            Self::Misbehaving { .. } => Trouble::Misbehaving.blame(),
            Self::Arena(error) => error.blame(),
        }
    }
}

/// What is the matter with a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trouble {
    /// It does not answer.
    Unreachable,
    /// It refuses the credential.
    CredentialRefused,
    /// It does not have the top-level key, or no longer gives it out.
    KeyMissing,
    /// It does not let the credential have the top-level key.
    Forbidden,
    /// The top-level key is no AES-256 key.
    KeyUnsuitable,
    /// The top-level key is another than the one that the KEKs were kept under.
    OtherKey,
    /// It answers what it must not.
    Misbehaving,
}

impl Trouble {
    /// Whether the keeper answered, and will answer the same until somebody changes something there or in the keystore.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Unreachable | Self::Misbehaving => false,
            Self::CredentialRefused | Self::KeyMissing | Self::Forbidden | Self::KeyUnsuitable | Self::OtherKey => true,
        }
    }

    /// The trouble in a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::CredentialRefused => "credential refused",
            Self::KeyMissing => "top-level key missing or disabled",
            Self::Forbidden => "no permission for the top-level key",
            Self::KeyUnsuitable => "top-level key unsuitable",
            Self::OtherKey => "top-level key is another",
            Self::Misbehaving => "misbehaving",
        }
    }

    pub(crate) const fn blame(self) -> (Fault, Advice) {
        let advice = match self {
            Self::Unreachable => Advice::Retry,
            Self::CredentialRefused => Advice::GiveCredentials,
            Self::KeyMissing | Self::Forbidden | Self::KeyUnsuitable | Self::OtherKey | Self::Misbehaving => {
                Advice::SeeToTheKeeper
            }
        };
        (Fault::Keeper, advice)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
