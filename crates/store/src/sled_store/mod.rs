//! The store on sled.

mod database;
mod group;
mod open;

use std::fmt;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::database::Database;
pub(crate) use self::database::SEGMENT_BYTES;
use self::group::{GroupSync, Ticket};
use crate::local::{self, Access, CopiedStore, Health, Lock, Opened};
use crate::turn::{Turn, first_unmet};
use crate::{
    Batch, Entry, Expectation, OpenError, Operations, Outcome, Replacement, Store, StoreError, StoreOptions, Table,
};

/// How many records `replace_each` replaces before it lets others have a turn: some 0.3 ms.
const MAX_TURN: usize = 64;

/// A store in a directory, on [sled](https://docs.rs/sled/0.34.7) 0.34.7.
///
/// The directory belongs to the store, and must be on a local file system. One process has it open at a time. Below it
/// lie `lock`, `store.json` (what kind of store this is), `mark` (how far the log is durable) and `sled/` (the database).
///
/// # Durability
///
/// sled's own `flush` survives the death of the process but not a power cut: it ends in `sync_file_range(2)`, which
/// leaves data in the disk's cache. So each flush here is followed by an `fdatasync(2)` of the log, before anything is
/// acknowledged. Commits that wait at the same time share one. Nothing runs in the background to write later what a
/// caller takes for written.
///
/// # Concurrency
///
/// One lock gives every change its turn: whoever changes anything holds it alone, from looking at the first expectation
/// or guard until the last change of the turn is applied, and no longer: flush and fdatasync happen outside. So between
/// an expectation and the change that relies on it nothing else changes, and a guard that held when a turn of
/// `replace_each` began holds for every record of that turn, except where the turn itself replaces the guard's record;
/// then it is looked at again. A turn of `replace_each` is at most 64 records long. A scan holds the lock shared, so that
/// it sees no half of a commit. A get takes no lock: sled applies a change of one record, and also a batch, atomically.
///
/// What is applied is visible before it is durable. Whoever relies on it comes later in sled's log, and so cannot
/// survive a crash without it.
///
/// # When the disk or sled fails
///
/// sled asserts and unwraps where it meets what it did not expect, for instance in a damaged file. Every call into it
/// catches panics, and returns [`StoreError::Damaged`] or [`OpenError::Damaged`] instead. That needs a process that
/// unwinds: do not build it with `panic = "abort"`. The process's panic hook is called all the same, and the standard one
/// prints sled's message; a library cannot take a hook's place for one call without racing with others.
///
/// After the first change, flush or fdatasync that fails, it is unknown what is durable, and the kernel does not report
/// it again. So from then on every call returns [`StoreError::Failed`], reads too, until the store is opened anew.
///
/// sled protects what it writes with CRC-32. Damage in the part of its log that is older than the last opening is noticed
/// when it is read. In the newer part sled takes damage for a write that a crash cut short, and goes on without what
/// follows, so that older versions of these records, or none, would be read. Therefore `mark` says how far the log is
/// durable, to a MiB while the store is open and exactly once it is closed (but for a log that ends with a full segment),
/// and a log that sled recovers to less than that is refused. What remains unnoticed is damage to the newer part, with more
/// than two segments (8 MiB) of log behind it, before it was read again. In no case are other bytes read than were once
/// written under the key.
///
/// # Space and memory
///
/// sled's log is two to four times as large as the records in it, and is not compacted. `cache_bytes` bounds its cache;
/// it needs some 35 MB beside it, and a few threads. Opening writes a snapshot, and may write to the end of a segment: it
/// fails with [`OpenError::Io`] where the disk has not some 8 MiB free.
///
/// # Forking
///
/// The store belongs to the process that opened it. In a forked child every call is [`StoreError::Forked`], and dropping it
/// leaves everything as it is. As long as such a child lives, sled's log stays locked, even when the parent has closed it.
///
/// # Logging
///
/// sled writes keys and values to the `log` crate's trace level. They are sealed, but have no place in a log: keep the
/// level off for the target `sled`.
pub struct SledStore {
    open: Opened<Open>,
}

/// The store, in the process that opened it.
struct Open {
    database: Database,
    /// Gives every change its turn.
    turn: RwLock<()>,
    group: GroupSync,
    health: Health,
}

/// Says how it is open, and nothing of what is in it.
impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = self.open.here().map(|open| open.health.access());
        f.debug_struct("SledStore").field("access", &access).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Creates a store in `dir`. The directory is made if it is not there, for its owner alone; its parent must be there.
    /// A creation that was interrupted can be repeated.
    ///
    /// # Errors
    /// [`OpenError`], as each of its variants says. [`OpenError::Exists`] where there is a store.
    pub fn create(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        let lock = open::create(dir, options.cache_bytes)?;
        Self::open_locked(dir, options, lock)
    }

    /// Opens the store in `dir`. Takes some 0.5 s per million records.
    ///
    /// # Errors
    /// [`OpenError`], as each of its variants says. [`OpenError::Missing`] where there is no store.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        let lock = local::lock(dir)?;
        Self::open_locked(dir, options, lock)
    }

    /// Opens a copy of the store in `dir`, for reading only. Nothing is written below `dir`: opening a sled database
    /// writes to it, so this one is copied into a directory of its own below [`std::env::temp_dir`], which the value
    /// removes when it is dropped. The store itself is locked while it is copied, and free again after that.
    ///
    /// # Errors
    /// [`OpenError`], as each of its variants says.
    pub fn open_copy(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        Self::open_copy_and(dir, options, CopiedStore::IsFree)
    }

    pub(crate) fn open_copy_and(dir: &Path, options: &StoreOptions, copied: CopiedStore) -> Result<Self, OpenError> {
        let (database, copy, lock) = open::open_copy(dir, options.cache_bytes)?;
        Ok(Self::over(database, Access::ReadOnly { _copy: copy, _lock: copied.keep(lock) }))
    }

    fn open_locked(dir: &Path, options: &StoreOptions, lock: Lock) -> Result<Self, OpenError> {
        let database = open::open(dir, options.cache_bytes, &lock)?;
        Ok(Self::over(database, Access::read_write(dir, options, lock)?))
    }

    fn over(database: Database, access: Access) -> Self {
        let (turn, group, health) = (RwLock::default(), GroupSync::default(), Health::new(access));
        Self { open: Opened::new(Open { database, turn, group, health }) }
    }
}

impl Store for SledStore {
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
        let record = self.database.get(table, key).map_err(|fault| self.health.error(fault))?;
        Ok(record.map(|value| value.to_vec()))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.health.may_read()?;
        let _shared = self.shared_turn();
        self.database.scan(table, prefix, after, limit).map_err(|fault| self.health.error(fault))
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let Operations { expectations, changes } = batch.into_operations()?;
        self.health.may_write()?;
        if changes.iter().any(|change| change.value().is_some()) {
            self.health.has_room()?;
        }
        let ticket = {
            let _turn = self.turn_to_change()?;
            let unmet = first_unmet(&mut &self.database, &expectations).map_err(|fault| self.health.error(fault))?;
            if let Some(unmet) = unmet {
                return Err(StoreError::Conflict { table: unmet.table, key: unmet.key.clone() });
            }
            self.database.apply(&changes).map_err(|fault| self.health.fail(fault))?;
            self.group.applied()
        };
        self.make_durable(ticket)
    }

    fn replace_each(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
    ) -> Result<Vec<Outcome>, StoreError> {
        items.iter().try_for_each(|item| item.fits(table))?;
        self.health.may_write()?;
        let (mut outcomes, mut replaced) = (Vec::with_capacity(items.len()), None);
        while let Some(rest) = items.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            self.health.has_room()?;
            replaced = self.take_turn(table, rest, guard, &mut outcomes)?.or(replaced);
        }
        replaced.map_or(Ok(()), |last| self.make_durable(last))?;
        Ok(outcomes)
    }
}

impl Open {
    /// One turn of `replace_each`: as many of `items` as a turn may take, and at least one. Returns what stands for the
    /// last replacement, if there was one.
    fn take_turn(
        &self,
        table: Table,
        items: &[Replacement],
        guard: &[Expectation],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Option<Ticket>, StoreError> {
        let mut replaced = None;
        let _turn = self.turn_to_change()?;
        let mut turn = Turn::begin(&self.database, table, guard).map_err(|fault| self.health.error(fault))?;
        for item in items.iter().take(MAX_TURN) {
            let outcome = turn.take(item).map_err(|fault| self.health.fail(fault))?;
            outcomes.push(outcome);
            if outcome == Outcome::Replaced {
                replaced = Some(self.group.applied());
                if self.database.runs_ahead() {
                    break;
                }
            }
        }
        Ok(replaced)
    }

    fn make_durable(&self, ticket: Ticket) -> Result<(), StoreError> {
        let synced = self.group.make_durable(ticket, self.health.failure(), || self.database.sync());
        synced.map_err(|error| self.health.not_durable(error))
    }

    /// A turn to change something, when sled's log is not too far ahead of the last sync. What is asked before the turn
    /// would be of no use: all who wait for theirs would have been told the same.
    fn turn_to_change(&self) -> Result<RwLockWriteGuard<'_, ()>, StoreError> {
        loop {
            // The lock holds no data, and sled's panics do not reach it.
            let turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
            if !self.database.runs_ahead() {
                return Ok(turn);
            }
            drop(turn);
            self.make_durable(self.group.applied())?;
        }
    }

    fn shared_turn(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs::File;

    use tempfile::TempDir;

    use super::*;
    use crate::Expect;

    const TABLE: Table = Table::Keys;

    /// A store whose every fdatasync fails: the kernel refuses it for a device.
    fn store_that_cannot_sync() -> (SledStore, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SledStore::create(dir.path(), &StoreOptions::default()).unwrap();
        store.commit(Batch::new().put(TABLE, *b"before", *b"")).unwrap();
        store.open.here_mut().database.sync_instead(File::open("/dev/null").unwrap());
        (store, dir)
    }

    fn failed(store: &SledStore) {
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
    fn nothing_is_acknowledged_without_fdatasync() {
        let put = || Batch::new().put(TABLE, *b"a", *b"1");
        let replacement = Replacement { key: b"a".to_vec(), expect: Expect::Absent, value: b"1".to_vec() };
        type Write<'a> = &'a dyn Fn(&SledStore) -> Result<(), StoreError>;
        let writes: [Write<'_>; 5] = [
            &|store| store.commit(put()),
            &|store| store.commit(put().require(TABLE, *b"a", Expect::Absent)),
            &|store| store.commit(put().put(TABLE, *b"b", *b"1")),
            &|store| store.commit(Batch::new().delete(TABLE, *b"before")),
            &|store| store.replace_each(TABLE, std::slice::from_ref(&replacement), &[]).map(drop),
        ];
        for write in writes {
            let (store, _dir) = store_that_cannot_sync();
            let error = write(&store).unwrap_err();
            assert!(matches!(error, StoreError::Io(_)), "{error:?}");
            failed(&store);
        }
    }

    #[test]
    fn a_conflict_is_no_failure() {
        let (store, _dir) = store_that_cannot_sync();
        let conflict = Batch::new().put(TABLE, *b"a", *b"").require(TABLE, *b"before", Expect::Absent);
        assert!(matches!(store.commit(conflict), Err(StoreError::Conflict { .. })));
        assert_eq!(store.get(TABLE, b"before").unwrap().unwrap(), b"");
    }

    #[test]
    fn of_many_commits_none_is_acknowledged_without_fdatasync() {
        let (store, _dir) = store_that_cannot_sync();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let store = &store;
                scope.spawn(move || store.commit(Batch::new().put(TABLE, [number], [])).unwrap_err());
            }
        });
        failed(&store);
    }

    /// One that waits for its turn while others write ahead of the last sync does not add to it: it syncs first, which
    /// here fails, so that its own record is not there.
    #[test]
    fn who_waited_for_a_turn_looks_again_how_far_the_log_is_ahead() {
        let (mut store, _dir) = store_that_cannot_sync();
        let open = store.open.here_mut();
        let filler = |number: u32| {
            let (key, value) = (number.to_be_bytes().to_vec(), vec![0; crate::MAX_RECORD_BYTES]);
            [crate::Change::Put { table: Table::Jobs, key, value }]
        };
        std::thread::scope(|scope| {
            let turn = open.turn.write().unwrap();
            let waits = scope.spawn(|| open.commit(Batch::new().put(TABLE, *b"waited", *b"")));
            let runs_ahead = (0..100_000).any(|number| {
                open.database.apply(&filler(number)).unwrap();
                open.database.runs_ahead()
            });
            assert!(runs_ahead);
            drop(turn);
            assert!(matches!(waits.join().unwrap(), Err(StoreError::Io(_))));
        });
        assert_eq!(open.database.get(TABLE, b"waited").unwrap(), None);
    }

    #[test]
    fn debugging_tells_nothing_of_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::create(dir.path(), &StoreOptions::default()).unwrap();
        store.commit(Batch::new().put(TABLE, *b"key", [201, 202, 203])).unwrap();
        let text = format!("{store:?}");
        assert!(text.starts_with("SledStore") && !text.contains("201, 202"), "{text}");
    }
}
