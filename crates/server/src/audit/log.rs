//! Writing the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::entry::{Entry, Event, LineHash, Sealed, clipped};
use super::{AuditError, audit_file};

/// Failed logins with a line of their own, at most, in each [`WINDOW`], and changes that callers tried who may only read. Neither
/// those who guess passwords nor they must fill the disk.
const MOST_REFUSALS: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// How much of the file's end is read at a time when it is opened.
const CHUNK: u64 = 64 * 1024;

/// The log, open for writing. Any thread may write; one line follows the other.
pub(crate) struct AuditLog {
    path: PathBuf,
    state: Mutex<State>,
    /// Whether the last line got to disk. Who only asks does not wait for the disk.
    is_writable: AtomicBool,
    failed_logins: Quota,
    readers: Quota,
}

struct State {
    file: File,
    /// Up to here all lines are whole and on disk.
    len: u64,
    seq: u64,
    last: LineHash,
    /// What was written behind `len` did not get to disk, or only in part.
    has_tail: bool,
}

/// Lines that have no room after so many.
struct Quota(Mutex<Used>);

struct Used {
    window: Instant,
    written: u32,
    unwritten: u64,
}

impl AuditLog {
    /// Opens the log of the hierarchy in `dir`, or makes it. A line that a crash left unfinished is kept as an entry.
    pub(crate) fn open(dir: &Path) -> Result<Self, AuditError> {
        let path = audit_file(dir);
        let (state, torn) = State::open(&path)?;
        let is_writable = AtomicBool::new(true);
        let log = Self { path, state: state.into(), is_writable, failed_logins: Quota::new(), readers: Quota::new() };
        if let Some(line) = torn {
            tracing::warn!("a crash had left an unfinished line in the audit log");
            log.write(Event::Torn { line: clipped(&line) })?;
        }
        Ok(log)
    }

    /// Adds a line; it is on disk when this returns. It waits for the disk.
    pub(crate) fn write(&self, event: Event) -> Result<(), AuditError> {
        self.append(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), event)
    }

    /// Where the last line did not get to disk: whether one does now. It waits for the disk, but for nobody else who writes.
    pub(crate) fn try_again(&self) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Whoever writes will see.
            Err(TryLockError::WouldBlock) => return,
        };
        if self.is_writable() {
            return;
        }
        // Only a line shows that lines can be written.
        match self.append(&mut state, Event::Writable) {
            Ok(()) => tracing::info!("the audit log can be written again"),
            Err(error) => tracing::debug!(error = crate::chain(&error), "the audit log cannot be written yet"),
        }
    }

    fn append(&self, state: &mut State, event: Event) -> Result<(), AuditError> {
        let failed = |source| AuditError::File { action: "write to", path: self.path.clone(), source };
        let seq = state.seq.checked_add(1).ok_or_else(|| AuditError::Full { path: self.path.clone() })?;
        let entry = Entry { seq, previous: state.last, time: Timestamp::now(), event };
        let Sealed { mut line, hash } = entry.seal().map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let appended = state.append(&line);
        self.is_writable.store(appended.is_ok(), Ordering::Release);
        appended.map_err(failed)?;
        (state.seq, state.last) = (seq, hash);
        Ok(())
    }

    /// Adds a line about a failed login, unless there were many of late.
    pub(crate) fn login_failed(&self, who: &str, from: std::net::SocketAddr) -> Result<(), AuditError> {
        match self.failed_logins.admit(Instant::now()) {
            Some(unwritten) => self.write(Event::LoginFailed { who: clipped(who), from, unwritten }),
            None => Ok(()),
        }
    }

    /// Adds a line about what came of a request of somebody who may only read, unless there were many of late. `line` makes it, of how
    /// many since the last one have none.
    pub(crate) fn reader_tried(&self, line: impl FnOnce(u64) -> Event) -> Result<(), AuditError> {
        match self.readers.admit(Instant::now()) {
            Some(unwritten) => self.write(line(unwritten)),
            None => Ok(()),
        }
    }

    /// Whether the last line got to disk.
    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable.load(Ordering::Acquire)
    }
}

impl Quota {
    fn new() -> Self {
        Self(Used { window: Instant::now(), written: 0, unwritten: 0 }.into())
    }

    /// `None` where this one is only counted; else how many were since the last line.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(used.window) >= WINDOW {
            (used.window, used.written) = (now, 0);
        }
        if used.written >= MOST_REFUSALS {
            used.unwritten = used.unwritten.saturating_add(1);
            return None;
        }
        used.written += 1;
        Some(std::mem::take(&mut used.unwritten))
    }
}

impl State {
    /// The log as it is, and what follows its last whole line.
    fn open(path: &Path) -> Result<(Self, Option<String>), AuditError> {
        let failed = |action| move |source| AuditError::File { action, path: path.to_owned(), source };
        let mut file = create(path).map_err(failed("open"))?;
        let tail = last_lines(&mut file).map_err(failed("read"))?;
        let (seq, last) = match &tail.last_whole {
            None => (0, LineHash::NONE),
            Some(line) => {
                let (entry, hash) = Entry::open(line).map_err(|_| AuditError::Damaged { path: path.to_owned() })?;
                (entry.seq, hash)
            }
        };
        let torn = (!tail.unfinished.is_empty()).then(|| String::from_utf8_lossy(&tail.unfinished).into_owned());
        Ok((Self { file, len: tail.len, seq, last, has_tail: torn.is_some() }, torn))
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.has_tail {
            self.file.set_len(self.len)?;
        }
        self.has_tail = true;
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(line)?;
        self.file.sync_data()?;
        self.has_tail = false;
        self.len += line.len() as u64;
        Ok(())
    }
}

/// The file, which is on disk with its name.
fn create(path: &Path) -> io::Result<File> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    if let Some(parent) = dir.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(file)
}

struct Tail {
    /// Where the last whole line ends.
    len: u64,
    last_whole: Option<Vec<u8>>,
    unfinished: Vec<u8>,
}

/// Reads the file from its end, as far as needed.
fn last_lines(file: &mut File) -> io::Result<Tail> {
    let end = file.metadata()?.len();
    let (mut from, mut bytes) = (end, Vec::new());
    loop {
        let mut ends = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let (last, before) = (ends.next(), ends.next());
        match (last, before) {
            (Some(last), before) if before.is_some() || from == 0 => {
                let start = before.map_or(0, |before| before + 1);
                let line = bytes.get(start..last).unwrap_or_default().to_vec();
                let unfinished = bytes.split_off(last + 1);
                return Ok(Tail { len: end - unfinished.len() as u64, last_whole: Some(line), unfinished });
            }
            (None, _) if from == 0 => return Ok(Tail { len: 0, last_whole: None, unfinished: bytes }),
            _ => {}
        }
        let begin = from.saturating_sub(CHUNK);
        file.seek(SeekFrom::Start(begin))?;
        let mut chunk = Vec::new();
        io::Read::by_ref(file).take(from - begin).read_to_end(&mut chunk)?;
        chunk.append(&mut bytes);
        (from, bytes) = (begin, chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify_audit;
    use super::*;

    fn torn_after(log: &Path, bytes: &[u8]) {
        OpenOptions::new().append(true).open(log).unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn lines_follow_one_another_over_openings() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let log = AuditLog::open(dir.path()).unwrap();
            log.write(Event::Started { version: "1".to_owned() }).unwrap();
            log.write(Event::Stopped).unwrap();
        }
        let report = verify_audit(&audit_file(dir.path()), None, |_| {}).unwrap();
        assert_eq!((report.entries, report.bad, report.unfinished), (6, None, false));
    }

    #[test]
    fn the_end_of_a_long_log_is_found_wherever_its_lines_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = audit_file(dir.path());
        for len in [1, 40_000, 64 * 1024, 150_000] {
            AuditLog::open(dir.path()).unwrap().write(Event::Started { version: "x".repeat(len) }).unwrap();
        }
        torn_after(&path, &vec![b'y'; 70_000]);
        AuditLog::open(dir.path()).unwrap().write(Event::Stopped).unwrap();
        let report = verify_audit(&path, None, |_| {}).unwrap();
        assert_eq!((report.entries, report.bad, report.unfinished), (6, None, false));
    }

    #[test]
    fn what_a_crash_left_is_kept_as_an_entry_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = audit_file(dir.path());
        AuditLog::open(dir.path()).unwrap().write(Event::Stopped).unwrap();
        torn_after(&path, b"{\"seq\":2,\"prev");
        assert!(verify_audit(&path, None, |_| {}).unwrap().unfinished);
        drop(AuditLog::open(dir.path()).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let (last, _) = Entry::open(text.lines().last().unwrap().as_bytes()).unwrap();
        assert_eq!((last.seq, last.event), (2, Event::Torn { line: "{\"seq\":2,\"prev".to_owned() }));
    }

    #[test]
    fn a_log_whose_last_line_is_none_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        AuditLog::open(dir.path()).unwrap().write(Event::Stopped).unwrap();
        torn_after(&audit_file(dir.path()), b"{}\n");
        assert!(matches!(AuditLog::open(dir.path()), Err(AuditError::Damaged { .. })));
        let path = audit_file(dir.path());
        let changed = std::fs::read_to_string(&path).unwrap().replace("{}\n", "").replace("stopped", "stoqqed");
        std::fs::write(&path, changed).unwrap();
        assert!(matches!(AuditLog::open(dir.path()), Err(AuditError::Damaged { .. })));
    }

    #[test]
    fn a_line_that_did_not_get_to_disk_is_no_part_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        log.write(Event::Stopped).unwrap();
        // The file as a failed write leaves it: opened for reading, it takes none.
        let whole = {
            let mut state = log.state.lock().unwrap();
            std::mem::replace(&mut state.file, File::open(audit_file(dir.path())).unwrap())
        };
        assert!(log.write(Event::Stopped).is_err() && !log.is_writable());
        torn_after(&audit_file(dir.path()), b"half a li");
        log.try_again();
        assert!(!log.is_writable());
        log.state.lock().unwrap().file = whole;
        log.try_again();
        assert!(log.is_writable());
        log.write(Event::Stopped).unwrap();
        let report = verify_audit(&audit_file(dir.path()), None, |_| {}).unwrap();
        assert_eq!((report.entries, report.bad, report.unfinished), (3, None, false));
    }

    #[test]
    fn whoever_asks_whether_the_log_can_be_written_waits_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let _writing = log.state.lock().unwrap();
        log.is_writable.store(false, Ordering::Release);
        log.try_again();
        assert!(!log.is_writable());
    }

    #[test]
    fn many_failed_logins_share_a_line() {
        let failures = Quota::new();
        let now = Instant::now();
        let admitted = (0..50).filter(|_| failures.admit(now).is_some()).count();
        assert_eq!(admitted, 20);
        assert_eq!(failures.admit(now + WINDOW), Some(30));
        assert_eq!(failures.admit(now + WINDOW), Some(0));
    }
}
