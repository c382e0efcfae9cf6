//! `claviger backup`.

use std::fmt;
use std::fs;
use std::path::Path;

use claviger::store::open_store_copy;
use claviger::{Engine, Fetching, Import, KeyMemory, Options, RecordError, Store, StoreOptions, Table};
use serde::Serialize;

use super::verify::{FindingView, Verified, exit_of, exit_of_report};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Directory, STORE_DIR, Session};

/// A hierarchy that was restored.
#[derive(Serialize)]
struct Restored {
    dir: String,
    svms: usize,
    imported: u64,
    present: u64,
    findings: Vec<FindingView>,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Self { dir, svms, imported, present, findings } = self;
        writeln!(f, "hierarchy restored in {dir}, SVMs: {svms}")?;
        write!(f, "keys taken over: {imported}; there already: {present}; findings: {}", findings.len())
    }
}

pub(crate) fn create(session: &Session<'_>) -> Result<Exit, Failure> {
    let engine = session.open_offline()?;
    session.unlock(&engine)?;
    session.output.backup(engine.backup()?)?;
    Ok(Exit::Done)
}

pub(crate) fn verify(session: &Session<'_>, from: &Path, keys_from: Option<&Path>) -> Result<Exit, Failure> {
    let backup = read(from)?;
    let keys = keys_from.map(open_copy).transpose()?;
    let keys = keys.as_deref();
    let passphrase = session.existing_passphrase()?;
    // Counting reads all keys: only for who watches.
    let total = match keys {
        Some(keys) if session.output.is_watched() => Some(count(keys)?),
        _ => None,
    };
    let bar = session.output.progress("verify", total);
    let memory = KeyMemory::Shared(session.arena().clone());
    let report = Engine::verify_backup(&backup, &passphrase, keys, memory, |seen| bar.set_position(seen))?;
    drop(bar);
    session.output.result(&Verified::of(&report))?;
    Ok(exit_of_report(&report))
}

fn read(backup: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::File { action: "read", path: backup.to_owned(), source };
    // What is no text any more is a damaged backup, and no matter of the file.
    Ok(String::from_utf8_lossy(&fs::read(backup).map_err(failed)?).into_owned())
}

/// Opens a copy of the store below a hierarchy's directory.
fn open_copy(dir: &Path) -> Result<Box<dyn Store>, Failure> {
    Ok(open_store_copy(&dir.join(STORE_DIR), &StoreOptions::default())?)
}

/// How many keys there are in a store.
fn count(store: &dyn Store) -> Result<u64, Failure> {
    const PAGE: usize = 1_024;
    let mut count = 0;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(Table::Keys, &[], after.as_deref(), PAGE).map_err(RecordError::Store)?;
        count += page.len() as u64;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(count),
        }
    }
}

pub(crate) fn restore(
    session: &Session<'_>,
    directory: &Directory,
    from: &Path,
    keys_from: Option<&Path>,
) -> Result<Exit, Failure> {
    let dir = directory.path()?;
    let backup = read(from)?;
    // What is wrong with the copy shows before anything is made.
    let keys = keys_from.map(open_copy).transpose()?;
    let passphrase = session.existing_passphrase()?;

    // KEKs are needed for nothing but the keys of the copy.
    let fetching = if keys.is_some() { Fetching::default() } else { Fetching::OnRequest };
    let engine = Engine::restore(dir, &backup, &passphrase, Options { fetching, ..directory.options() })?;
    let Import { imported, present, findings, .. } = match keys {
        Some(keys) => import(session, &engine, &*keys)?,
        None => Import::default(),
    };
    session.output.result(&Restored {
        dir: dir.display().to_string(),
        svms: engine.svms().len(),
        imported,
        present,
        findings: findings.iter().map(FindingView::of).collect(),
    })?;
    Ok(exit_of(&findings))
}

fn import(session: &Session<'_>, engine: &Engine, keys: &dyn Store) -> Result<Import, Failure> {
    let bar = session.output.progress("import", None);
    Ok(engine.import_keys(keys, |seen| bar.set_position(seen))?)
}
