//! What lies where below a store's directory, and what state that shows it to be in.
//!
//! | name | what |
//! | --- | --- |
//! | `lock` | held while the store is open, with the number of the process in it |
//! | `store.json` | the header |
//! | `mark` | how far the database is known to be durable |
//! | `sled/` or `redb/` | the database; the directory has the name of the store's kind |
//! | `sled.unfinished` | the last snapshot that sled did not finish, moved out of its way |
//! | `sled.new/`, `redb.new/`, `store.json.new` | the same while they are being made |
//!
//! A creation makes `mark` and, say, `sled.new`, then `store.json`, and ends by renaming `sled.new` to `sled`, so that
//! wherever it is cut short, what is there cannot be taken for a store, nor for one that has lost a part.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::StoreKind;
use crate::OpenError;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    dir: &'a Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing, or the remains of an interrupted creation.
    NoStore,
    /// A header and a database, if the two are of one kind.
    Whole,
    NoHeader,
    NoDatabase,
}

impl<'a> Layout<'a> {
    pub(crate) fn of(dir: &'a Path) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &'a Path {
        self.dir
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(crate) fn header(&self) -> PathBuf {
        self.dir.join("store.json")
    }

    pub(crate) fn new_header(&self) -> PathBuf {
        self.dir.join("store.json.new")
    }

    pub(crate) fn mark(&self) -> PathBuf {
        self.dir.join("mark")
    }

    pub(crate) fn database(&self, kind: StoreKind) -> PathBuf {
        self.dir.join(kind.name())
    }

    pub(crate) fn new_database(&self, kind: StoreKind) -> PathBuf {
        self.dir.join(format!("{kind}.new"))
    }

    pub(crate) fn unfinished_snapshot(&self) -> PathBuf {
        self.dir.join("sled.unfinished")
    }

    pub(crate) fn state(&self) -> Result<State, OpenError> {
        let exists = |path: PathBuf| path.try_exists().map_err(failed("look for", &path));
        let (mut database, mut new_database) = (false, false);
        for kind in StoreKind::ALL {
            database |= exists(self.database(kind))?;
            new_database |= exists(self.new_database(kind))?;
        }
        Ok(match (exists(self.header())?, database, new_database) {
            (true, true, _) => State::Whole,
            (false, true, _) => State::NoHeader,
            (true, false, false) => State::NoDatabase,
            (true, false, true) | (false, false, _) => State::NoStore,
        })
    }
}

/// Says what was being done when an I/O error happened.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

/// Makes the directory's entries durable: what was created, renamed or removed in it.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

/// Makes everything below `dir` durable.
pub(crate) fn sync_tree(dir: &Path) -> Result<(), OpenError> {
    for entry in entries(dir)? {
        let path = entry.path();
        if is_dir(&entry)? {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(failed("sync", &path))?;
        }
    }
    sync_dir(dir)
}

/// Copies everything below `from` into a new directory `to`, sharing the disk's blocks where the file system can.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<(), OpenError> {
    fs::create_dir(to).map_err(failed("create", to))?;
    for entry in entries(from)? {
        let target = to.join(entry.file_name());
        if is_dir(&entry)? {
            copy_tree(&entry.path(), &target)?;
        } else {
            // The copy is written to, also where the file that it is made of must not be.
            let own = Permissions::from_mode(0o600);
            let copied = fs::copy(entry.path(), &target).and_then(|_| fs::set_permissions(&target, own));
            copied.map_err(failed("make a copy at", &target))?;
        }
    }
    Ok(())
}

fn is_dir(entry: &fs::DirEntry) -> Result<bool, OpenError> {
    entry.file_type().map(|file_type| file_type.is_dir()).map_err(failed("look at", &entry.path()))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), OpenError> {
    fs::rename(from, to).map_err(failed("rename to", to))
}

/// Removes a directory and what is in it, or nothing if there is none.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// Removes a file, if there is one.
pub(crate) fn remove_file(file: &Path) -> Result<(), OpenError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", file)(error)),
        _ => Ok(()),
    }
}

pub(crate) fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, OpenError> {
    fs::read_dir(dir).and_then(Iterator::collect).map_err(failed("list", dir))
}
