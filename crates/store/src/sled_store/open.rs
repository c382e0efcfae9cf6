//! Creating a store, opening it, and opening a copy of it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::database::{Database, LOG};
use super::fault::{Damage, Fault};
use super::header::{self, HeaderError};
use super::layout::{Layout, State, copy_tree, entries, failed, remove_file, remove_tree, sync_dir, sync_tree};
use super::lock::{Lock, LockError};
use super::mark::{Mark, MarkError};
use crate::OpenError;

/// Makes a store, up to and including the rename that makes it one.
pub(super) fn create(dir: &Path, cache_bytes: u64) -> Result<Lock, OpenError> {
    let layout = Layout::of(dir);
    make_dir(dir)?;
    let lock = Lock::exclusive(&layout.lock()).map_err(|error| not_locked(layout, error))?;
    match layout.state()? {
        State::NoStore => {}
        State::Whole => return Err(OpenError::Exists { dir: dir.to_owned() }),
        State::NoHeader => return Err(damaged(layout, Damage::NoHeader)),
        State::NoDatabase => return Err(damaged(layout, Damage::NoDatabase)),
    }
    // The remains of an interrupted creation: the header first, as it stands for something only beside `sled.new`.
    remove_file(&layout.header())?;
    sync_dir(dir)?;
    remove_tree(&layout.new_database())?;

    let new_database = layout.new_database();
    // The second time gives it its first snapshot, without which a log whose head is lost would pass for a new one.
    for _ in 0..2 {
        drop(Database::open(&new_database, cache_bytes).map_err(|fault| fault.on_opening(dir))?);
        await_closing(layout, &new_database)?;
    }
    sync_tree(&new_database)?;
    Mark::create(&layout.mark()).map_err(failed("write", &layout.mark()))?;
    sync_dir(dir)?;
    write_header(layout)?;
    rename(&new_database, &layout.database())?;
    sync_dir(dir)?;
    Ok(lock)
}

/// Locks a store for writing.
pub(super) fn lock(dir: &Path) -> Result<Lock, OpenError> {
    let layout = Layout::of(dir);
    // Before the lock, which would leave a file behind where there is no store.
    if layout.state()? == State::NoStore {
        return Err(OpenError::Missing { dir: dir.to_owned() });
    }
    Lock::exclusive(&layout.lock()).map_err(|error| not_locked(layout, error))
}

/// Opens the database of a store that is locked.
pub(super) fn open(dir: &Path, cache_bytes: u64, _lock: &Lock) -> Result<Database, OpenError> {
    let layout = Layout::of(dir);
    check(layout)?;
    await_closing(layout, &layout.database())?;
    set_unfinished_snapshots_aside(layout)?;
    let mark = Mark::open(&layout.mark()).map_err(|error| not_marked(layout, error))?;
    let mut database = open_database(layout, &layout.database(), mark.position(), cache_bytes)?;
    database.move_mark(mark);
    // Opening has put a new snapshot in the place of the old one.
    sync_dir(&layout.database())?;
    sync_dir(dir)?;
    Ok(database)
}

/// Opens a copy of a store's database, and writes nothing below the store's directory.
pub(super) fn open_copy(dir: &Path, cache_bytes: u64) -> Result<(Database, TempDir), OpenError> {
    let layout = Layout::of(dir);
    let scratch = std::env::temp_dir();
    let scratch = TempDir::new_in(&scratch).map_err(failed("make a copy in", &scratch))?;
    let copy = scratch.path().join("sled");
    let mark = {
        // A store that was put here by other means than `create` may lack the file. Then nobody has it open either.
        let _lock = match Lock::shared(&layout.lock()) {
            Err(LockError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            lock => Some(lock.map_err(|error| not_locked(layout, error))?),
        };
        check(layout)?;
        await_closing(layout, &layout.database())?;
        copy_tree(&layout.database(), &copy)?;
        Mark::read(&layout.mark()).map_err(|error| not_marked(layout, error))?
    };
    for snapshot in unfinished_snapshots(&copy)? {
        remove_file(&snapshot)?;
    }
    Ok((open_database(layout, &copy, mark, cache_bytes)?, scratch))
}

/// Refuses what is not a whole store of this format.
fn check(layout: Layout<'_>) -> Result<(), OpenError> {
    match layout.state()? {
        State::Whole => {}
        State::NoStore => return Err(OpenError::Missing { dir: layout.dir().to_owned() }),
        State::NoHeader => return Err(damaged(layout, Damage::NoHeader)),
        State::NoDatabase => return Err(damaged(layout, Damage::NoDatabase)),
    }
    let header = fs::read(layout.header()).map_err(failed("read", &layout.header()))?;
    match header::check(&header) {
        Ok(()) => Ok(()),
        Err(HeaderError::Field(field)) => Err(OpenError::UnknownFormat { dir: layout.dir().to_owned(), field }),
        Err(HeaderError::Damaged(damage)) => Err(damaged(layout, damage)),
    }
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
/// the unfinished one for the newest, and not open. Nothing refers to it. The whole database is copied first all the
/// same, because what is in the way of sled is by definition unexpected.
fn set_unfinished_snapshots_aside(layout: Layout<'_>) -> Result<(), OpenError> {
    let unfinished = unfinished_snapshots(&layout.database())?;
    if unfinished.is_empty() {
        return Ok(());
    }
    let mut copies = (1..=u32::MAX).map(|number| layout.database_copy(number));
    let Some(copy) = copies.find(|copy| !copy.exists()) else { return Ok(()) };
    let new_copy = layout.new_database_copy();
    remove_tree(&new_copy)?;
    if let Err(error) = copy_tree(&layout.database(), &new_copy).and_then(|()| sync_tree(&new_copy)) {
        // A part of a copy is of no use, and takes space that may be what is lacking.
        remove_tree(&new_copy)?;
        return Err(error);
    }
    rename(&new_copy, &copy)?;
    sync_dir(layout.dir())?;
    for snapshot in &unfinished {
        remove_file(snapshot)?;
    }
    sync_dir(&layout.database())?;
    tracing::warn!(copy = %copy.display(), "the last opening was cut short; its unfinished snapshot was removed, after the database had been copied");
    Ok(())
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

/// Makes the directory, for its owner alone, if it is not there.
fn make_dir(dir: &Path) -> Result<(), OpenError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", dir)(error)),
        _ => {}
    }
    let parent = dir.canonicalize().map_err(failed("find", dir))?;
    parent.parent().map_or(Ok(()), sync_dir)
}

fn write_header(layout: Layout<'_>) -> Result<(), OpenError> {
    let new = layout.new_header();
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(&header::header())?;
        file.sync_all()
    };
    write().map_err(failed("write", &new))?;
    rename(&new, &layout.header())?;
    sync_dir(layout.dir())
}

fn rename(from: &Path, to: &Path) -> Result<(), OpenError> {
    fs::rename(from, to).map_err(failed("rename to", to))
}

fn damaged(layout: Layout<'_>, damage: Damage) -> OpenError {
    Fault::from(damage).on_opening(layout.dir())
}

fn not_marked(layout: Layout<'_>, error: MarkError) -> OpenError {
    match error {
        MarkError::Damaged(damage) => damaged(layout, damage),
        MarkError::Io(source) => failed("use", &layout.mark())(source),
    }
}

fn not_locked(layout: Layout<'_>, error: LockError) -> OpenError {
    match error {
        LockError::Held { pid } => OpenError::Locked { dir: layout.dir().to_owned(), pid },
        LockError::Io(source) => failed("lock", &layout.lock())(source),
    }
}
