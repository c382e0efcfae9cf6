//! `claviger show`: the hierarchy as a tree.

use std::fmt;
use std::path::Path;

use claviger::{Engine, JobStatus, KekInfo, KekVersion, KeyError, KeyType, StoreKind, SvmInfo};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::job::JobView;
use super::keystore::KeystoreView;
use super::svm::SvmView;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::{STORE_DIR, Session};
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
}

impl Hierarchy {
    /// Reads what there is; counting keys reads all of their records.
    pub(crate) fn of(engine: &Engine, dir: &Path) -> Result<Self, Failure> {
        let (hierarchy, created) = engine.identity().unzip();
        let usage = engine.memory();
        let waits = |status: &JobStatus| matches!(status, JobStatus::Running | JobStatus::Interrupted);
        let jobs = engine.jobs()?;
        Ok(Self {
            hierarchy,
            created,
            store: StoreKind::of(&dir.join(STORE_DIR))?.name(),
            keystore: engine.keystore().as_ref().map(KeystoreView::of),
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
        let svm_is_damaged = |svm: &Svm| svm.svm.is_damaged() || svm.kek_error.is_some();
        self.hierarchy.is_none() || self.svms.iter().any(svm_is_damaged)
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

impl Svm {
    fn of(engine: &Engine, svm: &SvmInfo) -> Result<Self, Failure> {
        let (kek, kek_error) = match engine.kek(svm.id()) {
            Ok(kek) => (kek.as_ref().map(KekView::of), None),
            // It is shown in its place, and does not keep the rest from being shown.
            Err(error @ KeyError::KekDamaged { .. }) => (None, Some(one_line(&error))),
            Err(error) => return Err(error.into()),
        };
        let counts = engine.count_keys(svm.id())?;
        let count = |key_type| counts.get(&key_type).copied().unwrap_or_default();
        let keys = Keys { volume: count(KeyType::Vek), aggregate: count(KeyType::Aek), drive: count(KeyType::NseAk) };
        Ok(Self { svm: SvmView::of(svm), kek, kek_error, keys })
    }

    fn tree(&self) -> Tree {
        let kek = match (&self.kek, &self.kek_error) {
            (Some(kek), _) => kek.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => "no KEK yet".to_owned(),
        };
        let mut children = vec![Tree::leaf(kek)];
        let Keys { volume, aggregate, drive } = self.keys;
        let counts = [("volume", volume), ("aggregate", aggregate), ("drive", drive)];
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        children.extend(some.map(|(object, count)| Tree::leaf(format!("{object} keys: {count}"))));
        Tree::new(self.svm.described(), children)
    }
}

impl KekView {
    fn of(kek: &KekInfo) -> Self {
        Self {
            version: kek.version.get(),
            id: kek.id.to_string(),
            created: kek.created,
            retiring: kek.retiring.map(KekVersion::get),
            in_memory: kek.in_memory,
        }
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

/// How long ago something was, as people say it.
struct Age(i64);

impl Age {
    fn since(then: Timestamp) -> Self {
        Self(Timestamp::now().duration_since(then).as_secs())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ..0 => f.write_str("0 s"),
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7_200 => write!(f, "{} min", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    let engine = session.open()?;
    let hierarchy = Hierarchy::of(&engine, session.dir()?)?;
    session.output.result(&hierarchy)?;
    Ok(if hierarchy.is_damaged() { Exit::Damage } else { Exit::Done })
}

#[cfg(test)]
mod tests {
    use super::Age;

    #[test]
    fn an_age_is_told_in_one_unit() {
        let told = [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|seconds| Age(seconds).to_string());
        assert_eq!(told, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
