//! The calls into sled, and what must be around each of them.

use std::convert::Infallible;
use std::fs::{File, TryLockError};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::local::{Damage, Fault, Mark, guarded};
use crate::turn::Records;
use crate::{Change, Entry, Expectation, Replacement, Table};

/// sled divides its log into segments of this size; fixed when a database is made.
///
/// What is larger than a quarter of a segment, sled writes to a file of its own, which nobody syncs. The largest thing
/// that it writes is a leaf. It divides a leaf of more than 16 records when it next comes by, after one more may have
/// been added, and 3 more may have come from a neighbour that it merged: 20 records of at most 32 KiB and their keys,
/// 660 KB of 1 MB. An inner node, with some 320 keys, stays below 90 KB.
pub(crate) const SEGMENT_BYTES: u32 = 4 * 1024 * 1024;

/// How far sled's log may run ahead of the last fdatasync, see [`Database::runs_ahead`].
const MAX_AHEAD: i64 = SEGMENT_BYTES as i64 / 4;

/// How much log may be written before the mark is moved again. Closing moves it too.
const MARK_INTERVAL: i64 = 1024 * 1024;

/// The smallest cache that is asked for: sled panics below 256 bytes, and far less than this is of no use.
const MIN_CACHE_BYTES: u64 = 1024 * 1024;

/// How long sled may take to let go of a database.
const MAX_CLOSING: Duration = Duration::from_secs(5);

/// sled's log, within its directory.
pub(super) const LOG: &str = "db";

/// An open sled database. Its one tree holds all tables: a key begins with the table's number.
pub(super) struct Database {
    db: sled::Db,
    /// A handle of our own on sled's log, for fdatasync.
    log: File,
    /// The position in the log up to which it is durable.
    synced: AtomicI64,
    /// Where that is noted, if it is to be.
    mark: Option<Mark>,
    /// The last field, so that it is dropped last.
    _attendant: Attendant,
}

impl Database {
    /// Opens the database in `dir`, or makes one if there is none.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Fault> {
        let db = guarded(|| {
            sled::Config::new()
                .path(dir)
                .cache_capacity(cache_bytes.max(MIN_CACHE_BYTES))
                .segment_size(SEGMENT_BYTES as usize)
                .use_compression(false)
                .flush_every_ms(None)
                .open()
        })?;
        let attendant = Attendant::start(db.clone())?;
        let (log, synced) = (File::open(dir.join(LOG))?, AtomicI64::new(position(&db)));
        Ok(Self { db, log, synced, mark: None, _attendant: attendant })
    }

    /// Has the mark follow the log from now on. The log must reach it.
    pub(super) fn move_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// Waits until no handle is left on the log in `dir`, and tells whether that came true in time.
    ///
    /// sled locks its log too. A database that was closed a moment ago may still have work under way in sled's threads,
    /// and be locked until that is done.
    pub(super) fn wait_until_closed(dir: &Path) -> io::Result<bool> {
        let log = File::open(dir.join(LOG))?;
        let until = Instant::now() + MAX_CLOSING;
        loop {
            match log.try_lock() {
                // Not left to the closing of the file: a process that is being forked from this one may delay that, and
                // sled, which asks for the lock next, does not wait.
                Ok(()) => return log.unlock().map(|()| true),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() > until => return Ok(false),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Whether sled found a database, rather than having made one.
    pub(super) fn was_recovered(&self) -> bool {
        self.db.was_recovered()
    }

    /// The position up to which the log is durable.
    pub(super) fn end(&self) -> i64 {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<sled::IVec>, Fault> {
        guarded(|| self.db.get(table.whole_key(key)))
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
            let mut entries = Vec::new();
            // The end is found by looking, which spares computing what comes after the last key with the prefix.
            for record in self.db.range((first, Bound::Unbounded)).take(limit) {
                let (key, value) = record?;
                let Some(key) = table.key_within(&key, prefix) else { break };
                entries.push(Entry { key: key.to_vec(), value: value.to_vec() });
            }
            Ok::<_, sled::Error>(entries)
        })
    }

    /// Applies the changes together: after a crash, all of them are there or none.
    ///
    /// A `sled::Batch` costs several times what its records do, so that it is used only where there is more than one.
    /// sled writes a batch's end into a record before it; on recovery it stops at that record if the log is not whole up
    /// to the end.
    pub(super) fn apply(&self, changes: &[Change]) -> Result<(), Fault> {
        if changes.is_empty() {
            return Ok(());
        }
        guarded(|| {
            if let [change] = changes {
                let (table, key) = change.place();
                let replaced = match change.value() {
                    Some(value) => self.db.insert(table.whole_key(key), value),
                    None => self.db.remove(table.whole_key(key)),
                };
                return replaced.map(drop);
            }
            let mut batch = sled::Batch::default();
            for change in changes {
                let (table, key) = change.place();
                match change.value() {
                    Some(value) => batch.insert(table.whole_key(key), value),
                    None => batch.remove(table.whole_key(key)),
                }
            }
            self.db.apply_batch(batch)
        })
    }

    /// Makes durable what was applied before the call.
    ///
    /// sled's flush writes to the file and waits with sync_file_range(2), which, as its manual page says, flushes no
    /// disk's write cache and no metadata: it is the fdatasync that makes it durable.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        guarded(|| self.db.flush())?;
        let written = position(&self.db);
        self.log.sync_data()?;
        self.synced.store(written, Ordering::Release);
        match &self.mark {
            Some(mark) if written - mark.position() > MARK_INTERVAL => Ok(note(mark, written)?),
            _ => Ok(()),
        }
    }

    /// Whether so much has been written since the last sync that there must be one before the next change.
    ///
    /// sled takes what it has written for durable, and writes over the old version of a record as soon as two segments
    /// of log have followed the new one. Were the new one not durable by then, a power cut could take both.
    pub(super) fn runs_ahead(&self) -> bool {
        position(&self.db) - self.end() > MAX_AHEAD
    }
}

impl Records for &Database {
    type Error = Fault;

    fn holds(&mut self, Expectation { table, key, expect }: &Expectation) -> Result<bool, Fault> {
        Ok(expect.holds(self.get(*table, key)?.as_deref()))
    }

    fn replace(&mut self, table: Table, Replacement { key, expect, value }: &Replacement) -> Result<bool, Fault> {
        let swap = || self.db.compare_and_swap(table.whole_key(key), expect.value(), Some(value.as_slice()));
        Ok(guarded(swap)?.is_ok())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(mark) = &self.mark
            && let Err(error) = note(mark, self.end())
        {
            tracing::warn!(%error, "how far the store's log is durable could not be noted; it is noted the next time");
        }
    }
}

#[cfg(test)]
impl Database {
    /// Has the file of this handle synced instead of the log.
    pub(super) fn sync_instead(&mut self, file: File) {
        self.log = file;
    }
}

/// Moves the mark to a position up to which the log is durable, and which sled finds again.
///
/// A segment that is full ends in padding, and the position is then the segment's last byte. Where the process dies before
/// the next segment begins, sled recovers the log to its last record, before the padding: a mark behind that would
/// refuse a log that has lost nothing. So it waits for the next segment.
fn note(mark: &Mark, position: i64) -> io::Result<()> {
    match (position + 1) % i64::from(SEGMENT_BYTES) {
        0 => Ok(()),
        _ => mark.set(position),
    }
}

/// The position in the log up to which sled has written. The field and method are public but not documented; the
/// dependency is pinned.
fn position(db: &sled::Db) -> i64 {
    db.context.pagecache.log.stable_offset()
}

/// A thread that holds a database for two reasons.
///
/// - When a write in the background fails, sled does not always wake who waits for it in `flush`. A call that comes
///   later does, and this thread makes it.
/// - The last to let go of a database writes and syncs, and panics where that fails. Here nobody minds.
#[derive(Debug)]
struct Attendant {
    // Dropped, they end the thread.
    running: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Attendant {
    fn start(db: sled::Db) -> io::Result<Self> {
        let (running, ended) = mpsc::channel::<Infallible>();
        let attend = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(1)) {
                if db.context.global_error().is_err() {
                    // Wakes all who wait, and returns the error that is there already.
                    drop(db.context.pagecache.log.make_stable(i64::MAX));
                }
            }
        };
        let thread = thread::Builder::new().name("claviger-sled".to_owned()).spawn(attend)?;
        Ok(Self { running: Some(running), thread: Some(thread) })
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!(error = %Damage::Panicked(None), "closing the database failed; what was acknowledged is not affected");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::MAX_RECORD_BYTES;

    fn put(database: &Database, number: u32) {
        let (key, value) = (number.to_be_bytes().to_vec(), vec![0; MAX_RECORD_BYTES]);
        database.apply(&[Change::Put { table: Table::Keys, key, value }]).unwrap();
    }

    #[test]
    fn what_is_synced_is_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), 0).unwrap();
        let (synced, log) = (database.log.metadata().unwrap(), dir.path().join(LOG).metadata().unwrap());
        assert_eq!((synced.dev(), synced.ino()), (log.dev(), log.ino()));
    }

    #[test]
    fn a_sync_writes_all_that_was_applied() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), 0).unwrap();
        for number in 0..3 {
            put(&database, number);
            let before = database.end();
            database.sync().unwrap();
            let after = database.end();
            assert!(after - before > i64::try_from(MAX_RECORD_BYTES).unwrap(), "{before} to {after}");
        }
    }

    #[test]
    fn a_log_without_syncs_runs_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), 0).unwrap();
        assert!(!database.runs_ahead());
        // sled writes in the background when a segment is full, so that it is not sure at which record it happens.
        let far_ahead = (0..100_000).any(|number| {
            put(&database, number);
            database.runs_ahead()
        });
        assert!(far_ahead);
        database.sync().unwrap();
        assert!(!database.runs_ahead());
    }

    /// Where a process dies when a segment is full and the next one has not begun, sled recovers less than it has written.
    #[test]
    fn the_mark_is_never_where_a_log_that_lost_nothing_may_not_reach() {
        let dir = tempfile::tempdir().unwrap();
        let [place, left] = ["sled", "left"].map(|name| dir.path().join(name));
        let database = Database::open(&place, 0).unwrap();
        let full = i64::from(SEGMENT_BYTES) - 1;
        (0..).take_while(|number| position(&database.db) < full && *number < 100_000).for_each(|n| put(&database, n));
        database.sync().unwrap();
        fs::create_dir(&left).unwrap();
        fs::copy(place.join("conf"), left.join("conf")).unwrap();
        let first_segment = fs::read(place.join(LOG)).unwrap()[..SEGMENT_BYTES as usize].to_vec();
        fs::write(left.join(LOG), first_segment).unwrap();
        let recovered = Database::open(&left, 0).unwrap().end();
        assert!(recovered < full, "{recovered} of {full}");

        let path = dir.path().join("mark");
        Mark::create(&path, 0).unwrap();
        let mark = Mark::open(&path).unwrap();
        note(&mark, recovered).unwrap();
        note(&mark, full).unwrap();
        assert_eq!(mark.position(), recovered);
    }

    #[test]
    fn a_database_that_is_open_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        drop(Database::open(dir.path(), 0).unwrap());
        let held = File::open(dir.path().join(LOG)).unwrap();
        held.lock().unwrap();
        thread::scope(|scope| {
            let closed = scope.spawn(|| Database::wait_until_closed(dir.path()).unwrap());
            drop(held);
            assert!(closed.join().unwrap());
        });
    }
}
