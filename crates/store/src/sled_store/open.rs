//! What sled needs around creating and opening a store.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::database::{Database, LOG};
use crate::local::{self, Copied, Damage, Layout, Lock, damaged, entries, failed, remove_file, rename, sync_dir};
use crate::{OpenError, StoreKind};

const KIND: StoreKind = StoreKind::Sled;

/// Makes a store.
pub(super) fn create(dir: &Path, cache_bytes: u64) -> Result<Lock, OpenError> {
    local::create(dir, KIND, |layout, new_database| {
        // The second time gives it its first snapshot, without which a log whose head is lost would pass for a new one.
        for _ in 0..2 {
            drop(Database::open(new_database, cache_bytes).map_err(|fault| fault.on_opening(dir))?);
            await_closing(layout, new_database)?;
        }
        // Every log reaches it.
        Ok(0)
    })
}

/// Opens the database of a store that is locked.
pub(super) fn open(dir: &Path, cache_bytes: u64, _lock: &Lock) -> Result<Database, OpenError> {
    let layout = Layout::of(dir);
    local::check(layout, KIND)?;
    await_closing(layout, &layout.database(KIND))?;
    set_unfinished_snapshots_aside(layout)?;
    let mark = local::mark(layout)?;
    let mut database = open_database(layout, &layout.database(KIND), mark.position(), cache_bytes)?;
    database.move_mark(mark);
    // Opening has put a new snapshot in the place of the old one.
    sync_dir(&layout.database(KIND))?;
    sync_dir(dir)?;
    Ok(database)
}

/// Opens a copy of a store's database, and writes nothing below the store's directory.
pub(super) fn open_copy(dir: &Path, cache_bytes: u64) -> Result<(Database, TempDir, Option<Lock>), OpenError> {
    let layout = Layout::of(dir);
    let Copied { scratch, database, mark, lock } =
        local::copy(layout, KIND, |database| await_closing(layout, database))?;
    for snapshot in unfinished_snapshots(&database)? {
        remove_file(&snapshot)?;
    }
    Ok((open_database(layout, &database, mark, cache_bytes)?, scratch, lock))
}

/// Opens the database in `place`, which must be there, and whole up to `mark`: sled would go without what is missing, and
/// say nothing.
fn open_database(layout: Layout<'_>, place: &Path, mark: i64, cache_bytes: u64) -> Result<Database, OpenError> {
    let log = fs::metadata(place.join(LOG));
    if !log.is_ok_and(|log| log.is_file() && log.len() > 0) {
        return Err(damaged(layout, Damage::NoLog));
    }
    if !entries(place)?.iter().any(|entry| is_snapshot(&entry.file_name())) {
        return Err(damaged(layout, Damage::NoSnapshot));
    }
    let database = Database::open(place, cache_bytes).map_err(|fault| fault.on_opening(layout.dir()))?;
    if !database.was_recovered() {
        return Err(damaged(layout, Damage::BegunAnew));
    }
    if database.end() < mark {
        return Err(damaged(layout, Damage::LogCutShort { end: database.end(), mark }));
    }
    Ok(database)
}

/// Waits until this or another process, which has let go of our lock, is done with the database.
fn await_closing(layout: Layout<'_>, database: &Path) -> Result<(), OpenError> {
    match Database::wait_until_closed(database) {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Locked { dir: layout.dir().to_owned(), pid: None }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(damaged(layout, Damage::NoLog)),
        Err(error) => Err(failed("lock", database)(error)),
    }
}

/// sled writes a snapshot under a name of its own and then renames it. Where it was cut short in between, it would take
/// the unfinished one for the newest, and not open.
///
/// It holds nothing that is not in the log and the last finished snapshot: nothing refers to it, and sled makes it anew
/// from these. Of several, the last is kept for whoever wants to know what cut the opening short.
fn set_unfinished_snapshots_aside(layout: Layout<'_>) -> Result<(), OpenError> {
    let unfinished = unfinished_snapshots(&layout.database(KIND))?;
    let aside = layout.unfinished_snapshot();
    for snapshot in &unfinished {
        rename(snapshot, &aside)?;
        tracing::warn!(aside = %aside.display(), "the last opening was cut short; its unfinished snapshot was set aside");
    }
    match unfinished.is_empty() {
        true => Ok(()),
        false => sync_dir(&layout.database(KIND)),
    }
}

fn unfinished_snapshots(database: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let names = entries(database)?.into_iter();
    Ok(names.filter(|entry| is_unfinished_snapshot(&entry.file_name())).map(|entry| entry.path()).collect())
}

fn is_unfinished_snapshot(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"snap.") && name.ends_with(b".generating")
}

fn is_snapshot(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"snap.") && !is_unfinished_snapshot(name)
}
