//! `claviger kek`.

use std::fmt;

use claviger::KeptKekInfo;
use serde::Serialize;
use uuid::Uuid;

use super::job::wait;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::Kek;
use crate::session::{Session, name_of};
use crate::tree::Tree;

/// KEKs that their keepers gave.
#[derive(Serialize)]
struct Restored {
    job: Uuid,
    /// How many SVMs had theirs fetched.
    svms: u64,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keepers gave the KEKs; SVMs: {}", self.svms)
    }
}

/// A KEK as one keeper keeps it.
#[derive(Serialize)]
struct KeptView {
    version: u32,
    id: String,
    keystore: Uuid,
    /// The keeper's name for the top-level key, where it has one.
    key_id: Option<String>,
    /// What names the top-level key's bytes, in hex, where the keeper says.
    top_level_key: Option<String>,
    /// The KEK wrapped under it (RFC 3394), in hex.
    wrapped: String,
}

impl KeptView {
    /// A keeper's bytes end with the wrapped KEK; before it, some have the top-level key's id (`docs/formats.md`, kept KEKs).
    fn of(kept: &KeptKekInfo) -> Self {
        const WRAPPED: usize = 40;
        let (id, wrapped) = match kept.bytes.split_last_chunk::<WRAPPED>() {
            Some((id, wrapped)) => (id, wrapped.as_slice()),
            None => (&[][..], kept.bytes.as_slice()),
        };
        Self {
            version: kept.version.get(),
            id: kept.kek_id.to_string(),
            keystore: kept.keystore,
            key_id: kept.key_id.clone(),
            top_level_key: Some(id).filter(|id| !id.is_empty()).map(hex::encode),
            wrapped: hex::encode(wrapped),
        }
    }

    fn tree(&self) -> Tree {
        let Self { version, id, keystore, key_id, top_level_key, wrapped } = self;
        let lines = [
            Some(format!("keystore: {keystore}")),
            key_id.as_ref().map(|key_id| format!("top-level key: {key_id}")),
            top_level_key.as_ref().map(|id| format!("top-level key's id: {id}")),
            Some(format!("wrapped KEK: {wrapped}")),
        ];
        Tree::new(format!("KEK version {version} ({id})"), lines.into_iter().flatten().map(Tree::leaf).collect())
    }
}

#[derive(Serialize)]
struct Kept {
    svm: String,
    keks: Vec<KeptView>,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keks = match self.keks.is_empty() {
            true => vec![Tree::leaf("no KEK yet".to_owned())],
            false => self.keks.iter().map(KeptView::tree).collect(),
        };
        Tree::new(format!("SVM {}", self.svm), keks).fmt(f)
    }
}

pub(crate) fn run(session: &Session<'_>, command: &Kek) -> Result<Exit, Failure> {
    match command {
        Kek::Show { svm } => show(session, svm),
        Kek::Restore { svm } => restore(session, svm.as_deref()),
    }
}

fn show(session: &Session<'_>, svm: &str) -> Result<Exit, Failure> {
    let engine = session.open_offline()?;
    let svm = engine.svm_named(svm)?;
    let keks = engine.kept_keks(svm.id())?.iter().map(KeptView::of).collect();
    session.output.result(&Kept { svm: name_of(&svm), keks })?;
    Ok(Exit::Done)
}

fn restore(session: &Session<'_>, svm: Option<&str>) -> Result<Exit, Failure> {
    let engine = session.open_offline()?;
    let svm = svm.map(|svm| Ok::<_, Failure>(engine.svm_named(svm)?.id())).transpose()?;
    match svm {
        Some(svm) => session.unlock_for(&engine, svm)?,
        None => session.unlock(&engine)?,
    }
    let ended = wait(session, &engine, &engine.restore_keks(svm)?, "restore")?;
    session.output.result(&Restored { job: ended.id, svms: ended.progress.done })?;
    Ok(Exit::Done)
}
