//! `claviger show`: the hierarchy as a tree.

use std::fmt;

use claviger::{Engine, JobStatus, KekInfo, KekVersion, KeyError, KeyType, StoreKind, SvmInfo};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::job::JobView;
use super::keystore::{EnabledView, KeystoreView, missing_keks};
use super::svm::SvmView;
use crate::age::Age;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::Session;
use crate::tree::Tree;

/// The hierarchy as it stands.
#[derive(Serialize)]
pub(crate) struct Hierarchy {
    hierarchy: Option<Uuid>,
    created: Option<Timestamp>,
    /// The database that the store is on.
    store: &'static str,
    keystore: Option<KeystoreView>,
    memory: Memory,
    svms: Vec<Svm>,
    jobs: Vec<JobView>,
}

#[derive(Serialize)]
struct Memory {
    protection: &'static str,
    slots_used: usize,
    slots: usize,
    /// Why it is not better protected, where it is not.
    refused: Vec<String>,
}

#[derive(Serialize)]
struct Svm {
    #[serde(flatten)]
    svm: SvmView,
    /// The enabled one of its own.
    keystore: Option<EnabledView>,
    kek: Option<KekView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kek_error: Option<String>,
    keys: Keys,
}

/// Numbers of keys by what they encrypt.
#[derive(Serialize)]
struct Keys {
    volume: u64,
    aggregate: u64,
    drive: u64,
}

#[derive(Serialize)]
struct KekView {
    version: u32,
    id: String,
    created: Timestamp,
    retiring: Option<u32>,
    in_memory: bool,
    /// Why it is not, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Hierarchy {
    /// Reads what there is; counting keys reads all of their records.
    pub(crate) fn of(engine: &Engine, store: StoreKind) -> Result<Self, Failure> {
        let (hierarchy, created) = engine.identity().unzip();
        let usage = engine.memory();
        let waits = |status: &JobStatus| matches!(status, JobStatus::Running | JobStatus::Interrupted);
        let jobs = engine.jobs()?;
        let cluster = engine.keystores().into_iter().find(|keystore| keystore.svm.is_none());
        Ok(Self {
            hierarchy,
            created,
            store: store.name(),
            keystore: cluster.map(|keystore| KeystoreView::of(engine, &keystore)),
            memory: Memory {
                protection: engine.protection().as_str(),
                slots_used: usage.keys.used + usage.states.used,
                slots: usage.keys.capacity + usage.states.capacity,
                refused: usage.refused.iter().map(ToString::to_string).collect(),
            },
            svms: engine.svms().iter().map(|svm| Svm::of(engine, svm)).collect::<Result<_, _>>()?,
            jobs: jobs.iter().filter(|job| waits(&job.status)).map(|job| JobView::of(engine, job)).collect(),
        })
    }

    /// Whether a record that it shows does not open. `verify` names all of them.
    fn is_damaged(&self) -> bool {
        self.hierarchy.is_none() || self.svms.iter().any(Svm::is_damaged)
    }

    fn tree(&self) -> Tree {
        let keystore = match &self.keystore {
            Some(keystore) => keystore.to_string(),
            None => "no keystore whose record opens".to_owned(),
        };
        let Memory { protection, slots_used, slots, refused } = &self.memory;
        let refused = refused.iter().map(|refusal| format!("; {refusal}")).collect::<String>();
        let mut children = vec![
            Tree::leaf(keystore),
            Tree::leaf(format!("store: {}", self.store)),
            Tree::leaf(format!("key memory: {protection}, {slots_used} of {slots} slots in use{refused}")),
        ];
        children.extend(self.svms.iter().map(Svm::tree));
        children.extend(self.jobs.iter().map(|job| Tree::leaf(format!("job {job}"))));
        let hierarchy = match (self.hierarchy, self.created) {
            (Some(hierarchy), Some(created)) => format!("hierarchy {hierarchy}, made {} ago", Age::since(created)),
            _ => "hierarchy whose first record is damaged".to_owned(),
        };
        let cluster = self.svms.iter().find_map(|svm| svm.svm.cluster_name());
        let root = cluster.map_or(hierarchy.clone(), |cluster| format!("{cluster}: {hierarchy}"));
        Tree::new(root, children)
    }
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree().fmt(f)
    }
}

impl fmt::Display for Svm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree().fmt(f)
    }
}

impl Svm {
    fn of(engine: &Engine, svm: &SvmInfo) -> Result<Self, Failure> {
        let (kek, kek_error) = match engine.kek(svm.id()) {
            Ok(kek) => (kek.as_ref().map(|kek| KekView::of(kek, missing_keks(engine, svm.id()))), None),
            // It is shown in its place, and does not keep the rest from being shown.
            Err(error @ KeyError::KekDamaged { .. }) => (None, Some(one_line(&error))),
            Err(error) => return Err(error.into()),
        };
        let counts = engine.count_keys(svm.id())?;
        let count = |key_type| counts.get(&key_type).copied().unwrap_or_default();
        let keys = Keys { volume: count(KeyType::Vek), aggregate: count(KeyType::Aek), drive: count(KeyType::NseAk) };
        Ok(Self { svm: SvmView::of(svm), keystore: EnabledView::of(engine, svm.id()), kek, kek_error, keys })
    }

    fn is_damaged(&self) -> bool {
        self.svm.is_damaged() || self.kek_error.is_some()
    }

    fn tree(&self) -> Tree {
        let mut children: Vec<_> = self.keystore.iter().map(|keystore| Tree::leaf(keystore.to_string())).collect();
        children.push(match (&self.kek, &self.kek_error) {
            (Some(kek), _) => kek.tree(),
            (None, Some(error)) => Tree::leaf(error.clone()),
            (None, None) => Tree::leaf("no KEK yet".to_owned()),
        });
        let Keys { volume, aggregate, drive } = self.keys;
        let counts = [("volume", volume), ("aggregate", aggregate), ("drive", drive)];
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        children.extend(some.map(|(object, count)| Tree::leaf(format!("{object} keys: {count}"))));
        Tree::new(self.svm.described(), children)
    }
}

impl KekView {
    fn of(kek: &KekInfo, reason: Option<String>) -> Self {
        Self {
            version: kek.version.get(),
            id: kek.id.to_string(),
            created: kek.created,
            retiring: kek.retiring.map(KekVersion::get),
            in_memory: kek.in_memory,
            reason,
        }
    }

    fn tree(&self) -> Tree {
        Tree::new(self.to_string(), self.reason.iter().cloned().map(Tree::leaf).collect())
    }
}

impl fmt::Display for KekView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KEK version {}, made {} ago", self.version, Age::since(self.created))?;
        if let Some(retiring) = self.retiring {
            write!(f, ", version {retiring} retiring")?;
        }
        if !self.in_memory {
            f.write_str(", not in memory")?;
        }
        Ok(())
    }
}

pub(crate) fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let engine = session.open()?;
    let hierarchy = Hierarchy::of(&engine, session.store()?)?;
    session.output.result(&hierarchy)?;
    Ok(if hierarchy.is_damaged() { Exit::Damage } else { Exit::Done })
}

/// `claviger svm show`.
pub(crate) fn svm(session: &Session<'_>, engine: &Engine, svm: &SvmInfo) -> Result<Exit, Failure> {
    let svm = Svm::of(engine, svm)?;
    session.output.result(&svm)?;
    Ok(if svm.is_damaged() { Exit::Damage } else { Exit::Done })
}
