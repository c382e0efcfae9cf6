//! The calls into redb, and what must be around each of them.

use std::fs::{self, OpenOptions};
use std::ops::Bound;
use std::path::Path;

use redb::{
    Durability, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, StorageBackend, TableDefinition,
    TableError,
};

use super::file::CheckedFile;
use crate::local::{Damage, Fault, Mark, guarded};
use crate::{Change, Entry, Expectation, Replacement, Table, turn};

/// redb's file, within its directory.
const FILE: &str = "db";

/// All tables: a key begins with the table's number.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// How many transactions were committed. Each adds one; the mark follows.
const COMMITS: TableDefinition<'_, (), i64> = TableDefinition::new("commits");

const OUT_OF_REACH: &str = "a damaged page keeps records out of reach";

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
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(dir.join(FILE))?;
        Self::over(CheckedFile::new(file), cache_bytes)?.begin()
    }

    /// Opens the database in `dir`, of which every page is read and compared with its checksum. It must hold as many
    /// commits as `mark`: redb would go back to the last but one where it cannot read the last, and say nothing.
    pub(super) fn open(dir: &Path, mark: i64, cache_bytes: u64) -> Result<Self, Fault> {
        if !fs::metadata(dir.join(FILE)).is_ok_and(|file| file.is_file() && file.len() > 0) {
            return Err(Damage::NoFile.into());
        }
        let file = OpenOptions::new().read(true).write(true).open(dir.join(FILE))?;
        Self::over(CheckedFile::new(file), cache_bytes)?.reaching(mark)
    }

    /// Opens the database in `dir`, a copy for reading, of which some page is not as its checksum says. All records must
    /// still be reached, in their order and by their keys; what is in the damaged page is read as it is.
    pub(super) fn rescue(dir: &Path, mark: i64, cache_bytes: u64) -> Result<Self, Fault> {
        let file = OpenOptions::new().read(true).write(true).open(dir.join(FILE))?;
        let database = Self::built(CheckedFile::new(file), cache_bytes, false)?.reaching(mark)?;
        guarded(|| {
            let records = database.db()?.begin_read()?.open_table(RECORDS)?;
            let (mut reached, mut before) = (0, None);
            for record in records.iter()? {
                let key = record?.0.value().to_vec();
                let is_found = before.as_ref() < Some(&key) && records.get(key.as_slice())?.is_some();
                if !is_found {
                    return Err(redb::Error::Corrupted(OUT_OF_REACH.to_owned()));
                }
                (reached, before) = (reached + 1, Some(key));
            }
            match records.len()? == reached {
                true => Ok(()),
                false => Err(redb::Error::Corrupted(OUT_OF_REACH.to_owned())),
            }
        })?;
        Ok(database)
    }

    /// It must hold as many commits as `mark`.
    fn reaching(self, mark: i64) -> Result<Self, Fault> {
        match self.commits()? {
            commits if commits < mark => Err(Damage::CommitsLost { commits, mark }.into()),
            _ => Ok(self),
        }
    }

    /// redb makes a database where there is nothing yet.
    fn over(backend: impl StorageBackend, cache_bytes: u64) -> Result<Self, Fault> {
        Self::built(backend, cache_bytes, true)
    }

    fn built(backend: impl StorageBackend, cache_bytes: u64, checked: bool) -> Result<Self, Fault> {
        let db = guarded(|| {
            redb::Builder::new()
                .set_cache_size(usize::try_from(cache_bytes).unwrap_or(usize::MAX))
                .set_check_integrity_on_open(checked)
                .create_with_backend(backend)
                .map_err(redb::Error::from)
        })?;
        Ok(Self { db: Some(db), mark: None })
    }

    /// Makes the tables, and returns how many commits there are then: one.
    fn begin(&self) -> Result<i64, Fault> {
        let ((), commits) = self.transact(|records| {
            records.changed = true;
            Ok(())
        })?;
        Ok(commits.unwrap_or_default())
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

#[cfg(test)]
impl Database {
    /// A new database in a file that is not its own.
    pub(super) fn in_file(backend: impl StorageBackend) -> Self {
        let database = Self::over(backend, 0).unwrap();
        database.begin().unwrap();
        database
    }

    /// Has another mark follow the commits.
    pub(super) fn mark_in(&mut self, mark: Mark) {
        self.mark = Some(mark);
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use redb::backends::InMemoryBackend;

    use super::*;

    /// A file in memory that notes what is written to it, from one sync to the next.
    #[derive(Clone, Debug, Default)]
    struct Recorded(Arc<Mutex<Recording>>);

    #[derive(Debug, Default)]
    struct Recording {
        now: Vec<u8>,
        since_sync: Vec<Write>,
        before: Vec<Vec<Write>>,
    }

    #[derive(Clone, Debug)]
    enum Write {
        At(usize, Vec<u8>),
        Len(usize),
    }

    fn apply<'a>(file: &mut Vec<u8>, writes: impl IntoIterator<Item = &'a Write>) {
        for write in writes {
            match write {
                Write::Len(len) => file.resize(*len, 0),
                Write::At(offset, bytes) => {
                    if file.len() < offset + bytes.len() {
                        file.resize(offset + bytes.len(), 0);
                    }
                    file[*offset..offset + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
    }

    impl Recorded {
        fn write(&self, write: Write) {
            let mut recording = self.0.lock().unwrap();
            apply(&mut recording.now, [&write]);
            recording.since_sync.push(write);
        }
    }

    impl StorageBackend for Recorded {
        fn len(&self) -> std::io::Result<u64> {
            Ok(u64::try_from(self.0.lock().unwrap().now.len()).unwrap())
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            let offset = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.0.lock().unwrap().now[offset..offset + out.len()]);
            Ok(())
        }

        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.write(Write::Len(usize::try_from(len).unwrap()));
            Ok(())
        }

        fn sync_data(&self) -> std::io::Result<()> {
            let mut recording = self.0.lock().unwrap();
            let synced = std::mem::take(&mut recording.since_sync);
            recording.before.push(synced);
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.write(Write::At(usize::try_from(offset).unwrap(), data.to_vec()));
            Ok(())
        }
    }

    fn put_all(database: &Database, version: u8) {
        let change = |number: u8| Change::Put { table: Table::Keys, key: vec![number; 100], value: vec![version; 900] };
        database.write(|records| records.apply(&(0..100).map(change).collect::<Vec<_>>())).unwrap();
    }

    /// Whatever of the writes of a transaction reaches the disk before a power cut: each of its first so many, and all but
    /// one of them, of those since the last sync.
    #[test]
    fn a_transaction_survives_a_power_cut_as_a_whole_or_not_at_all() {
        let disk = Recorded::default();
        let database = Database::in_file(disk.clone());
        put_all(&database, 1);
        let mut synced = Vec::new();
        apply(&mut synced, std::mem::take(&mut disk.0.lock().unwrap().before).iter().flatten());
        put_all(&database, 2);
        let commits = database.commits().unwrap();
        let writes = std::mem::take(&mut disk.0.lock().unwrap().before);
        assert!(writes.iter().map(Vec::len).sum::<usize>() > 30, "{writes:?}");

        let mut found = [0, 0];
        let mut cut = |synced: &[u8], writes: Vec<&Write>| {
            let mut file = synced.to_vec();
            apply(&mut file, writes);
            let backend = InMemoryBackend::new();
            backend.set_len(u64::try_from(file.len()).unwrap()).unwrap();
            StorageBackend::write(&backend, 0, &file).unwrap();
            let database = Database::over(backend, 0).unwrap();
            let records = database.scan(Table::Keys, b"", None, usize::MAX).unwrap();
            let version = records[0].value[0];
            assert!(records.len() == 100 && records.iter().all(|record| record.value == vec![version; 900]));
            // The count tells the one from the other, and with it the mark.
            assert_eq!(database.commits().unwrap(), commits - i64::from(version == 1));
            found[usize::from(version) - 1] += 1;
            version
        };
        for since_sync in &writes {
            for number in 0..=since_sync.len() {
                cut(&synced, since_sync[..number].iter().collect());
                let others = since_sync.iter().enumerate().filter(|(other, _)| *other != number);
                cut(&synced, others.map(|(_, write)| write).collect());
            }
            apply(&mut synced, since_sync);
        }
        assert_eq!(cut(&synced, Vec::new()), 2);
        assert!(found[0] > 30 && found[1] > 0, "{found:?}");
    }
}
