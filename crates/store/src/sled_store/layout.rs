//! What lies where below a store's directory, and what state that shows it to be in.
//!
//! | name | what |
//! | --- | --- |
//! | `lock` | held while the store is open, with the number of the process in it |
//! | `store.json` | the header |
//! | `mark` | how far the database's log is known to be durable |
//! | `sled/` | the database |
//! | `sled.copy-1/` and so on | the database as it was before an unfinished snapshot was removed from it |
//! | `sled.new/`, `store.json.new`, `sled.copy.new/` | the same while they are being made |
//!
//! A creation makes `mark` and `sled.new`, then `store.json`, and ends by renaming `sled.new` to `sled`, so that wherever it is cut
//! short, what is there cannot be taken for a store, nor for one that has lost a part.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;

#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    dir: &'a Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing, or the remains of an interrupted creation.
    NoStore,
    Whole,
    NoHeader,
    NoDatabase,
}

impl<'a> Layout<'a> {
    pub(super) fn of(dir: &'a Path) -> Self {
        Self { dir }
    }

    pub(super) fn dir(&self) -> &'a Path {
        self.dir
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(super) fn header(&self) -> PathBuf {
        self.dir.join("store.json")
    }

    pub(super) fn new_header(&self) -> PathBuf {
        self.dir.join("store.json.new")
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.dir.join("mark")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.dir.join("sled")
    }

    pub(super) fn new_database(&self) -> PathBuf {
        self.dir.join("sled.new")
    }

    pub(super) fn database_copy(&self, number: u32) -> PathBuf {
        self.dir.join(format!("sled.copy-{number}"))
    }

    pub(super) fn new_database_copy(&self) -> PathBuf {
        self.dir.join("sled.copy.new")
    }

    pub(super) fn state(&self) -> Result<State, OpenError> {
        let exists = |path: PathBuf| path.try_exists().map_err(failed("look for", &path));
        Ok(match (exists(self.header())?, exists(self.database())?, exists(self.new_database())?) {
            (true, true, _) => State::Whole,
            (false, true, _) => State::NoHeader,
            (true, false, false) => State::NoDatabase,
            (true, false, true) | (false, false, _) => State::NoStore,
        })
    }
}

/// Says what was being done when an I/O error happened.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

/// Makes the directory's entries durable: what was created, renamed or removed in it.
pub(super) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

/// Makes everything below `dir` durable.
pub(super) fn sync_tree(dir: &Path) -> Result<(), OpenError> {
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
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<(), OpenError> {
    fs::create_dir(to).map_err(failed("create", to))?;
    for entry in entries(from)? {
        let target = to.join(entry.file_name());
        if is_dir(&entry)? {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(failed("make a copy at", &target))?;
        }
    }
    Ok(())
}

fn is_dir(entry: &fs::DirEntry) -> Result<bool, OpenError> {
    entry.file_type().map(|file_type| file_type.is_dir()).map_err(failed("look at", &entry.path()))
}

/// Removes a directory and what is in it, or nothing if there is none.
pub(super) fn remove_tree(dir: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// Removes a file, if there is one.
pub(super) fn remove_file(file: &Path) -> Result<(), OpenError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", file)(error)),
        _ => Ok(()),
    }
}

pub(super) fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, OpenError> {
    fs::read_dir(dir).and_then(Iterator::collect).map_err(failed("list", dir))
}
