//! Checking the log.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::AuditError;
use super::entry::{Broken, Entry, Event, LineHash};

/// What a check of a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// Lines that are whole and follow one another.
    pub entries: u64,
    /// The hash of the last of them, to be noted elsewhere; zeros where there is none.
    pub head: LineHash,
    /// Behind how many of them the hash stands that was noted; `None` where it is none of theirs.
    pub noted: Option<u64>,
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
    /// Its own hash is another line's.
    #[error("line {line} is not as it was written: its hash is another line's")]
    Changed {
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
    #[error("line {line} does not follow the line before it: one of the two was written anew")]
    Chain {
        /// Counted from 1.
        line: u64,
    },
}

/// Reads the whole log and checks that each line is as it was written and follows the one before. A log that was cut off or written
/// anew looks whole: it does not have the hash that was `noted` of it. `progress` is called with the number of lines.
///
/// # Errors
/// [`AuditError::File`]. What is wrong with the log is in the report.
pub fn verify_audit(
    path: &Path,
    noted: Option<LineHash>,
    mut progress: impl FnMut(u64),
) -> Result<AuditReport, AuditError> {
    let failed = |source| AuditError::File { action: "read", path: path.to_owned(), source };
    let mut log = BufReader::new(File::open(path).map_err(failed)?);
    let (mut entries, mut last, mut line) = (0, LineHash::NONE, Vec::new());
    let (mut unfinished, mut bad) = (false, None);
    let mut found = (noted == Some(last)).then_some(entries);
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
        let (event, hash) = match check(whole, entries + 1, last) {
            Ok(checked) => checked,
            Err(wrong) => {
                bad = Some(wrong);
                break;
            }
        };
        match event {
            Event::Request { request, .. } => _ = running.insert(request),
            Event::Result { request, .. } => _ = running.remove(&request),
            Event::Started { .. }
            | Event::Stopped
            | Event::LoginFailed { .. }
            | Event::Writable
            | Event::Torn { .. } => {}
        }
        (entries, last) = (entries + 1, hash);
        if noted == Some(hash) {
            found = Some(entries);
        }
        progress(entries);
    }
    let interrupted = running.len() as u64;
    Ok(AuditReport { entries, head: last, noted: found, interrupted, unfinished, bad })
}

fn check(text: &[u8], line: u64, last: LineHash) -> Result<(Event, LineHash), BadLine> {
    let (entry, hash) = Entry::open(text).map_err(|broken| match broken {
        Broken::NoEntry => BadLine::NoEntry { line },
        Broken::Changed => BadLine::Changed { line },
    })?;
    match entry {
        Entry { seq, .. } if seq != line => Err(BadLine::Sequence { line, expected: line, found: seq }),
        Entry { previous, .. } if previous != last => Err(BadLine::Chain { line }),
        Entry { event, .. } => Ok((event, hash)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AuditLog, audit_file};
    use super::*;

    /// A log of five lines, changed by `change`.
    fn changed(change: impl FnOnce(&mut Vec<String>)) -> AuditReport {
        changed_since(None, change)
    }

    fn changed_since(noted: Option<usize>, change: impl FnOnce(&mut Vec<String>)) -> AuditReport {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        for version in 1..=5 {
            log.write(Event::Started { version: version.to_string() }).unwrap();
        }
        let path = audit_file(dir.path());
        let mut lines: Vec<_> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        let noted = noted.map(|line| Entry::open(lines[line].as_bytes()).unwrap().1);
        change(&mut lines);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        verify_audit(&path, noted, |_| {}).unwrap()
    }

    #[test]
    fn a_log_that_nobody_touched_is_whole() {
        let report = changed(|_| {});
        assert_eq!((report.entries, report.bad), (5, None));
        assert_eq!(report.head.to_string().len(), 64);
    }

    #[test]
    fn a_changed_line_is_told_also_where_it_is_the_last() {
        for line in [2, 4] {
            let version = format!("\"{}\"", line + 1);
            let report = changed(|lines| lines[line] = lines[line].replace(&version, "\"9\""));
            assert_eq!(report.bad, Some(BadLine::Changed { line: line as u64 + 1 }));
        }
    }

    #[test]
    fn a_line_that_was_written_anew_is_told_by_the_next_one() {
        let anew = |line: &String| {
            let (mut entry, _) = Entry::open(line.as_bytes()).unwrap();
            entry.event = Event::Started { version: "9".to_owned() };
            String::from_utf8(entry.seal().unwrap().line).unwrap()
        };
        assert_eq!(changed(|lines| lines[2] = anew(&lines[2])).bad, Some(BadLine::Chain { line: 4 }));
        let report = changed_since(Some(4), |lines| lines[4] = anew(&lines[4]));
        assert_eq!((report.bad, report.noted), (None, None));
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
    fn an_end_that_was_cut_off_shows_against_a_noted_head_alone() {
        assert_eq!(changed_since(Some(3), |_| {}).noted, Some(4));
        let cut = changed_since(Some(3), |lines| lines.truncate(3));
        assert_eq!((cut.entries, cut.noted, cut.bad), (3, None, None));
        assert_eq!(changed_since(Some(2), |lines| lines.truncate(3)).noted, Some(3));
    }
}
