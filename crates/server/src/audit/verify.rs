//! Checking the log.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::AuditError;
use super::entry::{Entry, Event, LineHash};

/// What a check of a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// Lines that are whole and follow one another.
    pub entries: u64,
    /// The SHA-256 of the last of them in hexadecimal: compare it with one that was noted elsewhere.
    pub head: String,
    /// Requests that began and have no result: the service ended meanwhile.
    pub interrupted: u64,
    /// Whether a last line is unfinished: a crash left it, or the service is writing it now. It is no sign of tampering.
    pub unfinished: bool,
    /// The first line that is not as it was written, or not where. Behind it nothing was checked.
    pub bad: Option<BadLine>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLine {
    /// It is no entry.
    #[error("line {line} is no entry: it was changed or damaged")]
    NoEntry {
        /// Counted from 1.
        line: u64,
    },
    /// Its number is not the next one.
    #[error(
        "line {line} has the number {found} instead of {expected}: lines were taken out, put in or moved before it"
    )]
    Sequence {
        /// Counted from 1.
        line: u64,
        /// The next number.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// It does not follow the line before.
    #[error("line {line} does not follow the line before it: one of the two was changed")]
    Chain {
        /// Counted from 1.
        line: u64,
    },
}

/// Reads the whole log and checks that each line follows the one before. `progress` is called with the number of lines.
///
/// # Errors
/// [`AuditError::File`]. What is wrong with the log is in the report.
pub fn verify_audit(path: &Path, mut progress: impl FnMut(u64)) -> Result<AuditReport, AuditError> {
    let failed = |source| AuditError::File { action: "read", path: path.to_owned(), source };
    let mut log = BufReader::new(File::open(path).map_err(failed)?);
    let (mut entries, mut last, mut line) = (0, LineHash::NONE, Vec::new());
    let (mut unfinished, mut bad) = (false, None);
    let mut running = BTreeSet::new();
    loop {
        line.clear();
        if log.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let Some(whole) = line.strip_suffix(b"\n") else {
            unfinished = true;
            break;
        };
        match check(whole, entries + 1, last) {
            Ok(Event::Request { request, .. }) => _ = running.insert(request),
            Ok(Event::Result { request, .. }) => _ = running.remove(&request),
            Ok(Event::Started { .. } | Event::Stopped | Event::LoginFailed { .. } | Event::Torn { .. }) => {}
            Err(found) => {
                bad = Some(found);
                break;
            }
        }
        (entries, last) = (entries + 1, LineHash::of(whole));
        progress(entries);
    }
    let interrupted = running.len() as u64;
    Ok(AuditReport { entries, head: last.to_string(), interrupted, unfinished, bad })
}

fn check(text: &[u8], line: u64, last: LineHash) -> Result<Event, BadLine> {
    let entry: Entry = serde_json::from_slice(text).map_err(|_| BadLine::NoEntry { line })?;
    match entry {
        Entry { seq, .. } if seq != line => Err(BadLine::Sequence { line, expected: line, found: seq }),
        Entry { previous, .. } if previous != last => Err(BadLine::Chain { line }),
        Entry { event, .. } => Ok(event),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AuditLog, audit_file};
    use super::*;

    /// A log of five lines, changed by `change`.
    fn changed(change: impl FnOnce(&mut Vec<String>)) -> AuditReport {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        for version in 1..=5 {
            log.write(Event::Started { version: version.to_string() }).unwrap();
        }
        let path = audit_file(dir.path());
        let mut lines: Vec<_> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        verify_audit(&path, |_| {}).unwrap()
    }

    #[test]
    fn a_log_that_nobody_touched_is_whole() {
        let report = changed(|_| {});
        assert_eq!((report.entries, report.bad), (5, None));
        assert_eq!(report.head.len(), 64);
    }

    #[test]
    fn a_changed_line_is_told_by_the_next_one() {
        let report = changed(|lines| lines[2] = lines[2].replace("\"3\"", "\"9\""));
        assert_eq!(report.bad, Some(BadLine::Chain { line: 4 }));
    }

    #[test]
    fn lines_that_were_taken_out_put_in_or_moved_are_told() {
        let sequence = |line, found| Some(BadLine::Sequence { line, expected: line, found });
        assert_eq!(changed(|lines| drop(lines.remove(1))).bad, sequence(2, 3));
        assert_eq!(changed(|lines| drop(lines.remove(0))).bad, sequence(1, 2));
        assert_eq!(changed(|lines| lines.insert(3, lines[2].clone())).bad, sequence(4, 3));
        assert_eq!(changed(|lines| lines.swap(1, 2)).bad, sequence(2, 3));
    }

    #[test]
    fn a_line_that_is_no_entry_is_told_also_at_the_end() {
        assert_eq!(changed(|lines| lines[4] = "{}".to_owned()).bad, Some(BadLine::NoEntry { line: 5 }));
        let with_more = |lines: &mut Vec<String>| lines[1] = lines[1].replacen('{', "{\"extra\":1,", 1);
        assert!(changed(with_more).bad.is_some());
    }

    #[test]
    fn an_end_that_was_cut_off_shows_in_the_head_alone() {
        let whole = changed(|_| {});
        let cut = changed(|lines| lines.truncate(3));
        assert_eq!(cut.bad, None);
        assert_ne!((cut.entries, cut.head), (whole.entries, whole.head));
    }
}
