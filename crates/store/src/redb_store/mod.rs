//! The store on redb.

mod combine;
mod database;
mod file;

use std::fmt;
use std::path::Path;

use self::combine::Combiner;
use self::database::{Database, Records};
use crate::local::{self, Access, Copied, CopiedStore, Fault, Health, Layout, Lock, NotDurable, Opened};
use crate::turn::{Turn, first_unmet};
use crate::{
    Batch, Entry, Expectation, OpenError, Operations, Outcome, Replacement, Store, StoreError, StoreKind, StoreOptions,
    Table,
};

const KIND: StoreKind = StoreKind::Redb;

/// How many records `replace_each` replaces in one transaction.
const MAX_TURN: usize = 1024;

/// A store in a directory, on [redb](https://docs.rs/redb/4) 4.
///
/// The directory belongs to the store, and must be on a local file system. One process has it open at a time. Below it
/// lie `lock`, `store.json` (what kind of store this is), `mark` (how many commits are durable) and `redb/db` (the
/// database).
///
/// # Durability
///
/// redb is a copy-on-write tree: a transaction writes new pages, then the file's head, and ends in an `fdatasync(2)`. After
/// a power cut it goes back to the transaction before, where the checksums of the last one's pages are not right. That
/// could as well be damage to a commit that was acknowledged. So each transaction counts, and before it is acknowledged
/// the count goes into `mark`, with an `fdatasync` of its own; a database with fewer commits than that is refused.
///
/// # Concurrency
///
/// redb has one transaction that writes at a time, and any number that read, each of them on the state as of its begin.
/// So a scan sees all of a commit or nothing of it, and neither a get nor a scan waits for who writes. Nothing is visible
/// before it is in the file and synced.
///
/// Commits that wait for their turn at the same time share a transaction, and its two syncs; the turn goes to who has
/// waited longest. The expectations of each are looked at after the changes of those before it. `replace_each` takes a transaction per 1024 records, and takes along
/// who waits to commit. A guard that held when a transaction began holds for every record of it, except where the
/// transaction itself replaces the guard's record; then it is looked at again.
///
/// # When the disk or redb fails
///
/// redb asserts and unwraps in places where it meets what it did not expect. Every call into it catches panics, and returns
/// [`StoreError::Damaged`] or [`OpenError::Damaged`] instead. That needs a process that unwinds: do not build it with
/// `panic = "abort"`.
///
/// After the first transaction, or note of it in `mark`, that fails, it is unknown what is durable. So from then on every
/// call returns [`StoreError::Failed`], reads too, until the store is opened anew.
///
/// redb has a checksum of every page, but compares it only on demand. Every opening demands it, and so reads the whole
/// file: a store that opens has been read and is right, to the last bit of every record. Where any page is not, the store
/// does not open, but for [reading a copy](RedbStore::open_copy). While it is open, a checksum of each block that was read or written is kept in memory, two megabytes per
/// gigabyte, and what is read again must still have it: a block that does not is damage, and each get or scan that needs
/// it returns [`StoreError::Damaged`], while other records stay readable. A change that needs such a block fails as any
/// failing write does.
///
/// # Space and memory
///
/// The file is 1.1 to 2 times as large as the records in it. Freed pages are used again; what is free at the file's end is
/// cut off when it is closed. `cache_bytes` bounds redb's cache, of which at most half holds what a transaction has not
/// written yet. The store opens on a disk without a free byte; any change, a deletion too, needs some.
///
/// # Forking
///
/// The store belongs to the process that opened it. In a forked child every call is [`StoreError::Forked`], and dropping it
/// leaves everything as it is.
pub struct RedbStore {
    open: Opened<Open>,
}

/// The store, in the process that opened it.
struct Open {
    database: Database,
    combiner: Combiner<Operations, Committed>,
    health: Health,
}

/// What became of a batch: the first expectation that did not hold, if there is one.
type Committed = Result<(), Expectation>;

/// Says how it is open, and nothing of what is in it.
impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = self.open.here().map(|open| open.health.access());
        f.debug_struct("RedbStore").field("access", &access).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Creates a store in `dir`. The directory is made if it is not there, for its owner alone; its parent must be there.
    /// A creation that was interrupted can be repeated.
    ///
    /// # Errors
    /// [`OpenError`], as each of its variants says. [`OpenError::Exists`] where there is a store.
    pub fn create(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        let lock = local::create(dir, KIND, |_, new_database| {
            Database::create(new_database, options.cache_bytes).map_err(|fault| fault.on_opening(dir))
        })?;
        Self::open_locked(dir, options, lock)
    }

    /// Opens the store in `dir`, and reads and checks all of it.
    ///
    /// # Errors
    /// [`OpenError`], as each of its variants says. [`OpenError::Missing`] where there is no store.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        let lock = local::lock(dir)?;
        Self::open_locked(dir, options, lock)
    }

    /// Opens a copy of the store in `dir`, for reading only. Nothing is written below `dir`: checking a redb database
    /// writes to it, so this one is copied into a directory of its own below [`std::env::temp_dir`], which the value
    /// removes when it is dropped. The store itself is locked while it is copied, and free again after that.
    ///
    /// A database with a damaged page, which [`RedbStore::open`] refuses, is opened for reading where all of its records can
    /// still be reached: those in that page are as they are found, and whoever sealed them can tell which. So what is not
    /// damaged can be saved.
    ///
    /// # Errors
    /// [`OpenError`], as each of its variants says.
    pub fn open_copy(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        Self::open_copy_and(dir, options, CopiedStore::IsFree)
    }

    pub(crate) fn open_copy_and(dir: &Path, options: &StoreOptions, copied: CopiedStore) -> Result<Self, OpenError> {
        // redb is closed when it is dropped.
        let Copied { scratch, database, mark, lock } = local::copy(Layout::of(dir), KIND, |_| Ok(()))?;
        let (path, cache_bytes) = (database.as_path(), options.cache_bytes);
        let opened = Database::open(path, mark, cache_bytes).or_else(|fault| match fault {
            Fault::Damaged(cause) => {
                let rescued = Database::rescue(path, mark, cache_bytes).map_err(|_| Fault::Damaged(cause.clone()))?;
                tracing::error!(error = %cause, "the database is damaged; its records are read as they are");
                Ok(rescued)
            }
            fault => Err(fault),
        });
        let database = opened.map_err(|fault| fault.on_opening(dir))?;
        Ok(Self::over(database, Access::ReadOnly { _copy: scratch, _lock: copied.keep(lock) }))
    }

    fn open_locked(dir: &Path, options: &StoreOptions, lock: Lock) -> Result<Self, OpenError> {
        let layout = Layout::of(dir);
        local::check(layout, KIND)?;
        let mark = local::mark(layout)?;
        let open = || {
            let mut database = Database::open(&layout.database(KIND), mark.position(), options.cache_bytes)?;
            database.move_mark(mark)?;
            Ok(database)
        };
        let database = open().map_err(|fault: Fault| fault.on_opening(dir))?;
        Ok(Self::over(database, Access::read_write(dir, options, lock)?))
    }

    fn over(database: Database, access: Access) -> Self {
        Self { open: Opened::new(Open { database, combiner: Combiner::default(), health: Health::new(access) }) }
    }
}

impl Store for RedbStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.open.here()?.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.open.here()?.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.open.here()?.commit(batch)
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.open.here()?.replace_each(table, items, guard)
    }
}

impl Store for Open {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.health.may_read()?;
        self.database.get(table, key).map_err(|fault| self.health.error(fault))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.health.may_read()?;
        self.database.scan(table, prefix, after, limit).map_err(|fault| self.health.error(fault))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let operations = batch.into_operations()?;
        self.health.may_write()?;
        if operations.changes.iter().any(|change| change.value().is_some()) {
            self.health.has_room()?;
        }
        let work = |batches: &[Operations]| self.write(|records| commit_all(records, batches));
        match self.combiner.run(operations, work).map_err(|error| self.health.not_durable(error))? {
            Ok(()) => Ok(()),
            Err(Expectation { table, key, expect: _ }) => Err(StoreError::Conflict { table, key }),
        }
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        items.iter().try_for_each(|item| item.fits(table))?;
        self.health.may_write()?;
        let mut outcomes = Vec::with_capacity(items.len());
        for items in items.chunks(MAX_TURN) {
            self.health.has_room()?;
            // Who waits to commit does so in the same transaction.
            let work = |batches: &[Operations]| {
                self.write(|records| {
                    let committed = commit_all(records, batches)?;
                    let mut turn = Turn::begin(records, table, guard)?;
                    let outcomes = items.iter().map(|item| turn.take(item)).collect::<Result<Vec<_>, _>>()?;
                    Ok((committed, outcomes))
                })
            };
            outcomes.extend(self.combiner.run_along(work).map_err(|error| self.health.not_durable(error))?);
        }
        Ok(outcomes)
    }
}

impl Open {
    fn write<T>(&self, work: impl FnOnce(&mut Records<'_>) -> Result<T, redb::Error>) -> Result<T, NotDurable<Fault>> {
        // Since the caller looked, who had the turn before may have failed.
        match self.health.failure().get() {
            Some(before) => Err(NotDurable::Before(before.clone())),
            None => {
                self.database.write(work).map_err(|fault| NotDurable::Now(self.health.failure().set(fault).clone()))
            }
        }
    }
}

/// Applies each batch whose expectations hold, one after the other.
fn commit_all(records: &mut Records<'_>, batches: &[Operations]) -> Result<Vec<Committed>, redb::Error> {
    let commit =
        |Operations { expectations, changes }: &Operations| match first_unmet(&mut &mut *records, expectations)? {
            Some(unmet) => Ok(Err(unmet.clone())),
            None => records.apply(changes).map(Ok),
        };
    batches.iter().map(commit).collect()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;
    use tempfile::TempDir;

    use super::*;
    use crate::Expect;
    use crate::local::Mark;

    const TABLE: Table = Table::Keys;

    /// A file that works until it is told to fail.
    #[derive(Debug)]
    struct Failing {
        file: InMemoryBackend,
        fails: Arc<AtomicBool>,
        /// Whether it is the sync that fails, or the write.
        in_sync: bool,
    }

    impl Failing {
        fn unless_failing(&self, in_sync: bool) -> io::Result<()> {
            match self.fails.load(Ordering::SeqCst) && in_sync == self.in_sync {
                true => Err(io::Error::other("Invalid argument")),
                false => Ok(()),
            }
        }
    }

    impl StorageBackend for Failing {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.unless_failing(true)
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.unless_failing(false)?;
            self.file.write(offset, data)
        }
    }

    /// A store whose writes all fail, in each way in which they may.
    fn stores_that_cannot_write() -> Vec<(RedbStore, TempDir)> {
        [Some(true), Some(false), None].into_iter().map(store_that_cannot).collect()
    }

    /// Sync or else write its file; or else note in the mark that a commit is durable.
    fn store_that_cannot(sync: Option<bool>) -> (RedbStore, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = RedbStore::create(dir.path(), &StoreOptions::default()).unwrap();
        let fails = Arc::new(AtomicBool::new(false));
        let file = Failing { file: InMemoryBackend::new(), fails: fails.clone(), in_sync: sync == Some(true) };
        store.open.here_mut().database = Database::in_file(file);
        store.commit(Batch::new().put(TABLE, *b"before", *b"")).unwrap();
        match sync {
            Some(_) => fails.store(true, Ordering::SeqCst),
            None => store.open.here_mut().database.mark_in(Mark::that_fails()),
        }
        (store, dir)
    }

    fn failed(store: &RedbStore) {
        let answers = [
            store.get(TABLE, b"before").map(drop),
            store.scan(TABLE, b"", None, 1).map(drop),
            store.commit(Batch::new().put(TABLE, *b"after", *b"")),
            store.commit(Batch::new()),
            store.replace_each(TABLE, &[], &[]).map(drop),
        ];
        for answer in answers {
            let error = answer.unwrap_err();
            assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
            assert!(error.source().unwrap().to_string().contains("Invalid argument"), "{error:?}");
        }
    }

    #[test]
    fn nothing_is_acknowledged_unless_it_is_written_synced_and_marked() {
        let put = || Batch::new().put(TABLE, *b"a", *b"1");
        let replacement = Replacement { key: b"a".to_vec(), expect: Expect::Absent, value: b"1".to_vec() };
        type Write<'a> = &'a dyn Fn(&RedbStore) -> Result<(), StoreError>;
        let writes: [Write<'_>; 4] = [
            &|store| store.commit(put()),
            &|store| store.commit(put().require(TABLE, *b"a", Expect::Absent)),
            &|store| store.commit(Batch::new().delete(TABLE, *b"before")),
            &|store| store.replace_each(TABLE, std::slice::from_ref(&replacement), &[]).map(drop),
        ];
        for write in writes {
            for (store, _dir) in stores_that_cannot_write() {
                let error = write(&store).unwrap_err();
                assert!(matches!(error, StoreError::Io(_)), "{error:?}");
                failed(&store);
            }
        }
    }

    #[test]
    fn a_conflict_is_no_failure() {
        for (store, _dir) in stores_that_cannot_write() {
            let conflict = Batch::new().put(TABLE, *b"a", *b"").require(TABLE, *b"before", Expect::Absent);
            assert!(matches!(store.commit(conflict), Err(StoreError::Conflict { .. })));
            assert_eq!(store.get(TABLE, b"before").unwrap().unwrap(), b"");
        }
    }

    #[test]
    fn of_many_commits_none_is_acknowledged_where_the_writing_fails() {
        for (store, _dir) in stores_that_cannot_write() {
            std::thread::scope(|scope| {
                for number in 0..8 {
                    let store = &store;
                    scope.spawn(move || store.commit(Batch::new().put(TABLE, [number], [])).unwrap_err());
                }
            });
            failed(&store);
        }
    }

    #[test]
    fn debugging_tells_nothing_of_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::create(dir.path(), &StoreOptions::default()).unwrap();
        store.commit(Batch::new().put(TABLE, *b"key", [201, 202, 203])).unwrap();
        let text = format!("{store:?}");
        assert!(text.starts_with("RedbStore") && !text.contains("201, 202"), "{text}");
    }
}
