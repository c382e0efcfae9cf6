//! How an engine is opened.

use std::sync::Arc;
use std::time::Duration;

use claviger_secret::{Arena, ArenaError, ArenaOptions};
use claviger_store::{StoreKind, StoreOptions};
use claviger_wrap::Key256;

use crate::anchor::Anchor;
use crate::platform::{Facts, Platform};

/// How an engine is opened. The defaults are safe.
#[derive(Debug)]
pub struct Options {
    /// Where keys lie in memory.
    pub memory: KeyMemory,
    /// Where the key that seals the store's records comes from.
    pub sealing: SealingSource,
    /// What remembers, outside the store, how far that has come.
    pub anchor: AnchorSource,
    /// Opens a store that is older than its anchor, or whose anchor or epoch is lost, and goes on from it: no. An anchor that
    /// does not answer is not lost: only when it does can it follow. What was changed since the copy is lost then: keys that were made are missing, keys that were deleted are back, an old
    /// passphrase opens the keystore again.
    pub danger_accept_rollback: bool,
    /// On which database the store of a new hierarchy is: sled. An existing one says so itself.
    pub store: StoreKind,
    /// How the store on disk is opened, of whichever kind it is.
    pub store_options: StoreOptions,
    /// How long a job can be asked about after its end: 24 hours.
    pub job_retention: Duration,
    /// Whether jobs that were interrupted go on by themselves: yes. Else each waits until it is asked for again.
    pub resume_jobs: bool,
    /// How KEKs come into memory whose keepers are outside the node: by themselves, and an opening waits 15 s for them at most.
    pub fetching: Fetching,
    /// What tells the facts of the storage node: an ordinary one.
    pub platform: Arc<dyn Platform>,
    /// Faults of keepers, for tests: none.
    #[cfg(feature = "faults")]
    pub keeper_faults: Option<crate::faults::KeeperFaults>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory: KeyMemory::default(),
            sealing: SealingSource::default(),
            anchor: AnchorSource::default(),
            danger_accept_rollback: false,
            store: StoreKind::default(),
            store_options: StoreOptions::default(),
            job_retention: Duration::from_secs(24 * 60 * 60),
            resume_jobs: true,
            fetching: Fetching::default(),
            platform: Arc::new(Facts::default()),
            #[cfg(feature = "faults")]
            keeper_faults: None,
        }
    }
}

/// How KEKs come into memory whose keepers are outside the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    /// By themselves: all are asked for when the hierarchy is opened, and those that are not given again and again, with growing
    /// waits of up to a minute, until they are in memory.
    Automatic {
        /// How long the opening waits for the first answers. With zero, it waits for nobody, and keys open a moment later.
        wait: Duration,
    },
    /// With [`Engine::restore_keks`](crate::Engine::restore_keks) alone: nobody is asked before.
    OnRequest,
}

impl Default for Fetching {
    fn default() -> Self {
        Self::Automatic { wait: Duration::from_secs(15) }
    }
}

/// Where keys lie in memory.
#[derive(Debug)]
pub enum KeyMemory {
    /// In an arena of the engine's own.
    Own(ArenaOptions),
    /// In an arena that the embedder uses for other secrets too.
    Shared(Arena),
}

impl Default for KeyMemory {
    fn default() -> Self {
        Self::Own(ArenaOptions::default())
    }
}

impl KeyMemory {
    pub(crate) fn arena(self) -> Result<Arena, ArenaError> {
        match self {
            Self::Own(options) => Arena::new(&options),
            Self::Shared(arena) => Ok(arena),
        }
    }
}

/// Where the key that seals the store's records comes from. The book's page on embedding says what each protects against.
#[derive(Debug, Default)]
pub enum SealingSource {
    /// The file `sealing.key`, mode 0600, beside the store; made with the store.
    #[default]
    BesideStore,
    /// The systemd credential of this name: 32 bytes (`man systemd.exec`, `LoadCredentialEncrypted=`).
    SystemdCredential(String),
    /// Given by the embedder.
    Provided(Key256),
}

/// What remembers, outside the store, how far that has come, so that an older copy in its place is noticed when it is opened.
/// The book's threat model says what each is worth.
#[derive(Clone, Default)]
pub enum AnchorSource {
    /// The file `anchor` beside the store: notices that the store alone was put back.
    #[default]
    BesideStore,
    /// Given by the embedder: a counter of a TPM, a peer, a file on another disk.
    Provided(Arc<dyn Anchor>),
    /// None: an older copy of the store is taken for the newest.
    DangerNone,
}
