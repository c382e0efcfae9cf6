//! How a keystore stands: computed when it is asked for, from memory alone. Whether its keeper is reachable now, a check tells.

use claviger_wrap::{KekId, KekVersion, SvmId};
use uuid::Uuid;

use crate::check::Hop;
use crate::engine::{Core, Engine};
use crate::key_error::KeyError;
use crate::keys::closed;
use crate::live::{Keks, LiveSvm};
use crate::live_keystores::{KeeperTrouble, Keystores, trouble_of};
use crate::records::{KeeperRecord, KekEntry, Kept, Operation, Purpose, SvmKeystores, Task};
use crate::svm_keystore_error::SvmKeystoreError;

/// What an enabled keystore is at, in the words of the REST contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeystoreState {
    /// It is being enabled.
    Initializing,
    /// It serves.
    Active,
    /// A rekey runs or was interrupted, internal or external.
    SvmKekRekey,
    /// What it keeps is being moved to or from another keystore, or that was interrupted.
    Switching,
    /// Its keeper refuses, or the SVM's KEK is not in memory and could not be fetched. Keys whose KEK is in memory open and are
    /// created all the same.
    Blocked,
    /// It is being disabled.
    Disabling,
    /// It serves, and the SVM's KEK is still kept by the cluster's keystore.
    Mixed,
}

impl KeystoreState {
    /// The state as the contract spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Active => "active",
            Self::SvmKekRekey => "svm_kek_rekey",
            Self::Switching => "switching",
            Self::Blocked => "blocked",
            Self::Disabling => "disabling",
            Self::Mixed => "mixed",
        }
    }
}

/// How a keystore stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeystoreStatus {
    /// The keystore.
    pub keystore: Uuid,
    /// What it is at; `None` while it is not enabled and is not being enabled.
    pub state: Option<KeystoreState>,
    /// Whether it keeps KEKs of its SVM, or of any SVM in the case of the cluster's.
    pub keeps_keks: bool,
    /// Each node that has the hierarchy open.
    pub nodes: Vec<NodeStatus>,
}

/// How a keystore stands on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The node's host name.
    pub node: String,
    /// Whether the KEKs of the keystore's SVM are in memory there.
    pub kek: KekStanding,
    /// What is the matter with the keeper as that node sees it. `None` where the last contact went well, or there was none.
    pub trouble: Option<KeeperTrouble>,
}

/// Whether KEKs are in a node's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KekStanding {
    /// There are none: no key was ever made.
    NoKeys,
    /// They are.
    InMemory,
    /// They are not.
    Missing {
        /// Why.
        reason: String,
    },
}

/// A KEK as one keeper keeps it: with what the keeper has, and no claviger, the KEK can be had from it (the book's page on
/// emergencies). Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKekInfo {
    /// Which of the SVM's KEKs.
    pub version: KekVersion,
    /// Its name in blobs.
    pub kek_id: KekId,
    /// The keystore that keeps it.
    pub keystore: Uuid,
    /// The keeper's name for the top-level key, where it has one: for Barbican, the secret's URL.
    pub key_id: Option<String>,
    /// The keeper's own bytes (`docs/formats.md`, kept KEKs).
    pub bytes: Vec<u8>,
}

impl Engine {
    /// The SVM's KEKs as its keepers keep them, the current one first; in memory or not.
    ///
    /// # Errors
    /// [`KeyError::UnknownSvm`]; [`KeyError::KekDamaged`] where the record does not open.
    pub fn kept_keks(&self, svm: SvmId) -> Result<Vec<KeptKekInfo>, KeyError> {
        let live = self.core.svm(svm)?;
        let keystores = live.keystores.load();
        let key_id = |keystore| {
            let own = keystores.get(keystore)?;
            let KeeperRecord::Barbican(record) = &own.configuration.keeper;
            Some(record.key_id.clone())
        };
        let of = |entry: &KekEntry, kept: &Kept| KeptKekInfo {
            version: entry.kek_version,
            kek_id: entry.kek_id,
            keystore: kept.keystore,
            key_id: key_id(kept.keystore),
            bytes: kept.bytes.clone(),
        };
        match live.keks.load().as_ref() {
            Keks::Damaged => Err(KeyError::KekDamaged { svm }),
            keks => Ok(keks
                .list()
                .into_iter()
                .flat_map(|list| list.body.entries())
                .flat_map(|entry| entry.kept.iter().map(|kept| of(entry, kept)))
                .collect()),
        }
    }

    /// How a keystore stands. Nobody outside the node is asked.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Unknown`].
    pub fn keystore_status(&self, keystore: Uuid) -> Result<KeystoreStatus, SvmKeystoreError> {
        let core = &self.core;
        if core.keystore.id() == Some(keystore) {
            return Ok(core.cluster_status(keystore));
        }
        let live = core.svm_of_keystore(keystore)?;
        let keystores = live.keystores.load();
        let Keystores::There(there) = keystores.as_ref() else { return Err(SvmKeystoreError::Unknown { keystore }) };
        let keks = live.keks.load();
        let trouble = trouble_of(&keystores, keystore);
        Ok(KeystoreStatus {
            keystore,
            state: core.state_of(&there.list.body, &keks, keystore, trouble.as_ref()),
            keeps_keks: keks.is_kept_by(keystore),
            nodes: vec![NodeStatus { node: node_name(), kek: standing(&live, &keks), trouble }],
        })
    }

    /// Tries everything that the keystore needs of its keeper, now, one hop after the other; each is told as it ends.
    ///
    /// # Errors
    /// [`SvmKeystoreError::Unknown`]; [`SvmKeystoreError::Keeper`] of the hop that failed.
    pub fn check_keystore(&self, keystore: Uuid, mut each: impl FnMut(&Hop)) -> Result<(), SvmKeystoreError> {
        let core = &self.core;
        let mut each = |hop: Hop| each(&hop);
        if core.keystore.id() == Some(keystore) {
            return Ok(core.cluster_keeper()?.1.probe(&mut each)?);
        }
        let live = core.svm_of_keystore(keystore)?;
        let own = live.keystores.load().get(keystore).ok_or(SvmKeystoreError::Unknown { keystore })?;
        Ok(core.own_keeper(live.id, &own)?.probe(&mut each)?)
    }
}

impl Core {
    fn state_of(
        &self,
        list: &SvmKeystores,
        keks: &Keks,
        keystore: Uuid,
        trouble: Option<&KeeperTrouble>,
    ) -> Option<KeystoreState> {
        let is_enabled = list.enabled == Some(keystore);
        // Whatever runs: no key of the SVM opens.
        if is_enabled && matches!(keks, Keks::Damaged | Keks::Closed { .. }) {
            return Some(KeystoreState::Blocked);
        }
        let task = list.job.and_then(|job| self.running(job).ok().flatten()).map(|record| record.body.task);
        if let Some(task) = task
            && (is_enabled || is_about(&task, keystore))
        {
            return Some(state_during(&task));
        }
        if !is_enabled {
            return None;
        }
        if let Some(Operation::Rekey { .. }) = keks.list().and_then(|list| list.body.operation) {
            return Some(KeystoreState::SvmKekRekey);
        }
        let is_kept_here = keks.is_kept_by(keystore);
        let is_refused = trouble.is_some_and(|trouble| trouble.what.is_refusal());
        Some(match keks {
            _ if is_refused => KeystoreState::Blocked,
            Keks::Open(_) if !is_kept_here => KeystoreState::Mixed,
            Keks::Damaged | Keks::None | Keks::Closed { .. } | Keks::Open(_) => KeystoreState::Active,
        })
    }

    /// What a job makes of the keystore that it is about. Of a job whose record is lost, nobody knows.
    pub(crate) fn state_while(&self, job: Uuid) -> KeystoreState {
        match self.running(job) {
            Ok(Some(record)) => state_during(&record.body.task),
            Ok(None) | Err(_) => KeystoreState::Blocked,
        }
    }

    fn cluster_status(&self, keystore: Uuid) -> KeystoreStatus {
        let svms = self.live.svms();
        let of: Vec<_> = svms.values().filter(|live| live.keks.load().is_kept_by(keystore)).collect();
        let missing = of.iter().map(|live| standing(live, &live.keks.load())).find(|kek| *kek != KekStanding::InMemory);
        let kek = match (of.is_empty(), missing) {
            (true, _) => KekStanding::NoKeys,
            (false, Some(missing)) => missing,
            (false, None) => KekStanding::InMemory,
        };
        let state = match (&kek, self.cluster_keeper()) {
            _ if self.keystore.is_being_deleted() => KeystoreState::Disabling,
            (KekStanding::Missing { .. }, _) | (_, Err(_)) => KeystoreState::Blocked,
            (KekStanding::NoKeys | KekStanding::InMemory, Ok(_)) => KeystoreState::Active,
        };
        KeystoreStatus {
            keystore,
            state: Some(state),
            keeps_keks: !of.is_empty(),
            nodes: vec![NodeStatus { node: node_name(), kek, trouble: None }],
        }
    }
}

/// Whether the job will have this keystore enabled.
fn is_about(task: &Task, keystore: Uuid) -> bool {
    match task {
        Task::Enable { keystore: it, .. } | Task::Disable { keystore: it, .. } | Task::Move { to: it, .. } => {
            *it == keystore
        }
        Task::RekeyInternal { .. } | Task::Restore { .. } => false,
    }
}

const fn state_during(task: &Task) -> KeystoreState {
    match task {
        Task::Enable { .. } => KeystoreState::Initializing,
        Task::Move { purpose: Purpose::Switch | Purpose::Migrate, .. } => KeystoreState::Switching,
        Task::Move { purpose: Purpose::RekeyExternal { .. }, .. } | Task::RekeyInternal { .. } => {
            KeystoreState::SvmKekRekey
        }
        Task::Disable { .. } => KeystoreState::Disabling,
        Task::Restore { .. } => KeystoreState::Active,
    }
}

fn standing(live: &LiveSvm, keks: &Keks) -> KekStanding {
    let missing = |svm: SvmId, why| KekStanding::Missing { reason: crate::error::chain(&closed(svm, why)) };
    match keks {
        Keks::None => KekStanding::NoKeys,
        Keks::Open(_) => KekStanding::InMemory,
        Keks::Closed { why, .. } => missing(live.id, *why),
        Keks::Damaged => missing(live.id, crate::live::Closed::Damaged),
    }
}

/// This node's name, as others know it.
fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
