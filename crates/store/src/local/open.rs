//! How a store comes into being and is found whole, whichever database it is on.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::StoreKind;
use super::fault::{Damage, Fault};
use super::header::{self, HeaderError};
use super::layout::{Layout, State, copy_tree, failed, remove_file, remove_tree, rename, sync_dir, sync_tree};
use super::lock::{Lock, LockError};
use super::mark::{Mark, MarkError};
use crate::OpenError;

/// Makes a store, up to and including the rename that makes it one. `make` makes the database in the directory that it is
/// given, closes it, and returns the mark that it reaches.
pub(crate) fn create(
    dir: &Path,
    kind: StoreKind,
    make: impl FnOnce(Layout<'_>, &Path) -> Result<i64, OpenError>,
) -> Result<Lock, OpenError> {
    let layout = Layout::of(dir);
    make_dir(dir)?;
    let lock = Lock::exclusive(&layout.lock()).map_err(|error| not_locked(layout, error))?;
    match layout.state()? {
        State::NoStore => {}
        State::Whole => return Err(OpenError::Exists { dir: dir.to_owned() }),
        State::NoHeader => return Err(damaged(layout, Damage::NoHeader)),
        State::NoDatabase => return Err(damaged(layout, Damage::NoDatabase)),
    }
    // The remains of an interrupted creation: the header first, as it stands for something only beside a new database.
    remove_file(&layout.header())?;
    sync_dir(dir)?;
    for kind in StoreKind::ALL {
        remove_tree(&layout.new_database(kind))?;
    }

    let new_database = layout.new_database(kind);
    let position = make(layout, &new_database)?;
    sync_tree(&new_database)?;
    Mark::create(&layout.mark(), position).map_err(failed("write", &layout.mark()))?;
    sync_dir(dir)?;
    write_header(layout, kind)?;
    rename(&new_database, &layout.database(kind))?;
    sync_dir(dir)?;
    Ok(lock)
}

/// Locks a store for writing.
pub(crate) fn lock(dir: &Path) -> Result<Lock, OpenError> {
    let layout = Layout::of(dir);
    // Before the lock, which would leave a file behind where there is no store.
    if layout.state()? == State::NoStore {
        return Err(OpenError::Missing { dir: dir.to_owned() });
    }
    Lock::exclusive(&layout.lock()).map_err(|error| not_locked(layout, error))
}

/// Refuses what is not a whole store of this format and kind.
pub(crate) fn check(layout: Layout<'_>, kind: StoreKind) -> Result<(), OpenError> {
    let found = kind_of(layout)?;
    if found != kind {
        return Err(OpenError::OtherKind { dir: layout.dir().to_owned(), kind: found });
    }
    match layout.database(kind).try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(damaged(layout, Damage::NoDatabase)),
        Err(error) => Err(failed("look for", &layout.database(kind))(error)),
    }
}

/// What the header says, if there is a store.
pub(super) fn kind_of(layout: Layout<'_>) -> Result<StoreKind, OpenError> {
    match layout.state()? {
        State::Whole => {}
        State::NoStore => return Err(OpenError::Missing { dir: layout.dir().to_owned() }),
        State::NoHeader => return Err(damaged(layout, Damage::NoHeader)),
        State::NoDatabase => return Err(damaged(layout, Damage::NoDatabase)),
    }
    let header = fs::read(layout.header()).map_err(failed("read", &layout.header()))?;
    header::kind(&header).map_err(|error| match error {
        HeaderError::Field(field) => OpenError::UnknownFormat { dir: layout.dir().to_owned(), field },
        HeaderError::Damaged(damage) => damaged(layout, damage),
    })
}

/// The store's mark.
pub(crate) fn mark(layout: Layout<'_>) -> Result<Mark, OpenError> {
    Mark::open(&layout.mark()).map_err(|error| not_marked(layout, error))
}

/// A copy of a store's database.
pub(crate) struct Copied {
    /// The directory that the copy is in, which goes with this value.
    pub(crate) scratch: TempDir,
    /// The copy, within it.
    pub(crate) database: PathBuf,
    /// The mark that it must reach.
    pub(crate) mark: i64,
    /// Keeps others from writing to the store itself. A store that was put where it is by other means than [`create`] may
    /// lack the file, and then nobody has it open either.
    pub(crate) lock: Option<Lock>,
}

/// Copies a store's database while the store is locked, and writes nothing below its directory. `await_closing` is called
/// before.
pub(crate) fn copy(
    layout: Layout<'_>,
    kind: StoreKind,
    await_closing: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<Copied, OpenError> {
    let scratch = std::env::temp_dir();
    let scratch = TempDir::new_in(&scratch).map_err(failed("make a copy in", &scratch))?;
    let database = scratch.path().join(kind.name());
    let lock = match Lock::shared(&layout.lock()) {
        Err(LockError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
        lock => Some(lock.map_err(|error| not_locked(layout, error))?),
    };
    check(layout, kind)?;
    await_closing(&layout.database(kind))?;
    copy_tree(&layout.database(kind), &database)?;
    let mark = Mark::read(&layout.mark()).map_err(|error| not_marked(layout, error))?;
    Ok(Copied { scratch, database, mark, lock })
}

pub(crate) fn damaged(layout: Layout<'_>, damage: Damage) -> OpenError {
    Fault::from(damage).on_opening(layout.dir())
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

fn write_header(layout: Layout<'_>, kind: StoreKind) -> Result<(), OpenError> {
    let new = layout.new_header();
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(&header::header(kind))?;
        file.sync_all()
    };
    write().map_err(failed("write", &new))?;
    rename(&new, &layout.header())?;
    sync_dir(layout.dir())
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
