//! The calls into redb, and what must be around each of them.

use std::fs::{self, OpenOptions};
use std::ops::Bound;
use std::path::Path;

use redb::{Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};

use super::file::CheckedFile;
use crate::local::{Damage, Fault, Mark, guarded};
use crate::{Change, Entry, Expectation, Replacement, Table, turn};

/// redb's file, within its directory.
const FILE: &str = "db";

/// All tables: a key begins with the table's number.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// How many transactions were committed. Each adds one; the mark follows.
const COMMITS: TableDefinition<'_, (), i64> = TableDefinition::new("commits");

/// An open redb database.
pub(super) struct Database {
    /// Until it is closed.
    db: Option<redb::Database>,
    /// Where is noted how many commits are durable, if it is to be.
    mark: Option<Mark>,
}

impl Database {
    /// Makes a database in `dir`, which must not be there, closes it, and returns how many commits it holds.
    pub(super) fn create(dir: &Path, cache_bytes: u64) -> Result<i64, Fault> {
        fs::create_dir(dir)?;
        let database = Self::over(dir, true, cache_bytes)?;
        let ((), commits) = database.transact(|records| {
            records.changed = true;
            Ok(())
        })?;
        Ok(commits.unwrap_or_default())
    }

    /// Opens the database in `dir`, of which every page is read and compared with its checksum. It must hold as many
    /// commits as `mark`: redb would go back to the last but one where it cannot read the last, and say nothing.
    pub(super) fn open(dir: &Path, mark: i64, cache_bytes: u64) -> Result<Self, Fault> {
        if !fs::metadata(dir.join(FILE)).is_ok_and(|file| file.is_file() && file.len() > 0) {
            return Err(Damage::NoFile.into());
        }
        let database = Self::over(dir, false, cache_bytes)?;
        let commits = database.commits()?;
        if commits < mark {
            return Err(Damage::CommitsLost { commits, mark }.into());
        }
        Ok(database)
    }

    /// redb makes a database where the file is empty.
    fn over(dir: &Path, new: bool, cache_bytes: u64) -> Result<Self, Fault> {
        let file = OpenOptions::new().read(true).write(true).create_new(new).open(dir.join(FILE))?;
        let db = guarded(|| {
            redb::Builder::new()
                .set_cache_size(usize::try_from(cache_bytes).unwrap_or(usize::MAX))
                .set_check_integrity_on_open(true)
                .create_with_backend(CheckedFile::new(file))
                .map_err(redb::Error::from)
        })?;
        Ok(Self { db: Some(db), mark: None })
    }

    /// Has the mark follow the commits from now on, beginning with those that are there.
    pub(super) fn move_mark(&mut self, mark: Mark) -> Result<(), Fault> {
        let commits = self.commits()?;
        if commits > mark.position() {
            mark.set(commits)?;
        }
        self.mark = Some(mark);
        Ok(())
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        guarded(|| {
            let records = self.db()?.begin_read()?.open_table(RECORDS)?;
            let record = records.get(table.whole_key(key).as_slice())?;
            Ok::<_, redb::Error>(record.map(|value| value.value().to_vec()))
        })
    }

    pub(super) fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let first = table.first_of_scan(prefix, after);
        guarded(|| {
            let records = self.db()?.begin_read()?.open_table(RECORDS)?;
            let mut entries = Vec::new();
            let first = first.as_ref().map(Vec::as_slice);
            for record in records.range::<&[u8]>((first, Bound::Unbounded))?.take(limit) {
                let (key, value) = record?;
                let Some(key) = table.key_within(key.value(), prefix) else { break };
                entries.push(Entry { key: key.to_vec(), value: value.value().to_vec() });
            }
            Ok::<_, redb::Error>(entries)
        })
    }

    /// Does `work` in a transaction, and makes durable what that has changed. There must be one call at a time, so that
    /// the mark does not go back.
    pub(super) fn write<T>(&self, work: impl FnOnce(&mut Records<'_>) -> Result<T, redb::Error>) -> Result<T, Fault> {
        let (done, commits) = self.transact(work)?;
        if let (Some(commits), Some(mark)) = (commits, &self.mark) {
            mark.set(commits)?;
        }
        Ok(done)
    }

    /// Returns how many commits there are now, if there is one more.
    fn transact<T>(
        &self,
        work: impl FnOnce(&mut Records<'_>) -> Result<T, redb::Error>,
    ) -> Result<(T, Option<i64>), Fault> {
        guarded(|| {
            let mut transaction = self.db()?.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let (done, changed) = {
                let mut records = Records { table: transaction.open_table(RECORDS)?, changed: false };
                (work(&mut records)?, records.changed)
            };
            if !changed {
                transaction.abort()?;
                return Ok((done, None));
            }
            let commits = {
                let mut counter = transaction.open_table(COMMITS)?;
                let commits = counter.get(())?.map_or(0, |commits| commits.value()).saturating_add(1);
                counter.insert((), commits)?;
                commits
            };
            transaction.commit()?;
            Ok::<_, redb::Error>((done, Some(commits)))
        })
    }

    fn commits(&self) -> Result<i64, Fault> {
        guarded(|| match self.db()?.begin_read()?.open_table(COMMITS) {
            Ok(counter) => Ok(counter.get(())?.map_or(0, |commits| commits.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(redb::Error::from(error)),
        })
    }

    fn db(&self) -> Result<&redb::Database, redb::Error> {
        self.db.as_ref().ok_or(redb::Error::DatabaseClosed)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(db) = self.db.take()
            && let Err(fault) = guarded(|| db.close().map_err(redb::Error::from))
        {
            tracing::warn!(error = %fault.cause(), "closing the database failed; what was acknowledged is not affected");
        }
    }
}

/// The records, within a transaction that writes.
pub(super) struct Records<'t> {
    table: redb::Table<'t, &'static [u8], &'static [u8]>,
    /// Whether there is anything to commit.
    changed: bool,
}

impl Records<'_> {
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        for change in changes {
            let (table, key) = change.place();
            match change.value() {
                Some(value) => self.table.insert(table.whole_key(key).as_slice(), value)?,
                None => self.table.remove(table.whole_key(key).as_slice())?,
            };
            self.changed = true;
        }
        Ok(())
    }
}

impl turn::Records for &mut Records<'_> {
    type Error = redb::Error;

    fn holds(&mut self, Expectation { table, key, expect }: &Expectation) -> Result<bool, redb::Error> {
        let current = self.table.get(table.whole_key(key).as_slice())?;
        Ok(expect.holds(current.as_ref().map(|value| value.value())))
    }

    fn replace(&mut self, table: Table, item: &Replacement) -> Result<bool, redb::Error> {
        let Replacement { key, expect, value } = item;
        let whole_key = table.whole_key(key);
        let current = self.table.get(whole_key.as_slice())?;
        let as_expected = expect.holds(current.as_ref().map(|value| value.value()));
        drop(current);
        if as_expected {
            self.table.insert(whole_key.as_slice(), value.as_slice())?;
            self.changed = true;
        }
        Ok(as_expected)
    }
}
