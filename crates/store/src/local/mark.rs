//! `mark`: how far the database is known to be durable.
//!
//! When a database recovers, it takes what it cannot read at its newest end for a write that a crash has cut short, and
//! goes on without. The mark tells such a write from one that was acknowledged: a database that ends before the mark has
//! lost something, or an older one has been put in its place. What it counts is the database's own affair: sled's is a
//! position in its log, redb's a number of commits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use super::fault::Damage;

/// The file's length: a position in hexadecimal digits, and a line's end.
const LEN: usize = 17;

#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    position: AtomicI64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MarkError {
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Mark {
    /// Makes the file, or makes it anew.
    pub(crate) fn create(path: &Path, position: i64) -> io::Result<()> {
        let file = File::create(path)?;
        file.write_all_at(&encode(position), 0)?;
        file.sync_all()
    }

    pub(crate) fn open(path: &Path) -> Result<Self, MarkError> {
        let position = AtomicI64::new(Self::read(path)?);
        Ok(Self { file: OpenOptions::new().write(true).open(path)?, position })
    }

    pub(crate) fn read(path: &Path) -> Result<i64, MarkError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(decode(&bytes).ok_or(Damage::MarkChanged)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Damage::NoMark.into()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn position(&self) -> i64 {
        self.position.load(Ordering::Acquire)
    }

    /// Moves the mark to a position up to which the database is durable. It is overwritten in place: what a disk writes at
    /// once, a sector, is far larger.
    pub(crate) fn set(&self, position: i64) -> io::Result<()> {
        self.file.write_all_at(&encode(position), 0)?;
        self.file.sync_data()?;
        self.position.store(position, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
impl Mark {
    /// One that cannot be made durable: the kernel refuses it for a device.
    pub(crate) fn that_fails() -> Self {
        Self { file: OpenOptions::new().write(true).open("/dev/null").unwrap(), position: AtomicI64::new(0) }
    }
}

pub(super) fn encode(position: i64) -> Vec<u8> {
    format!("{position:016x}\n").into_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let position = i64::from_str_radix(digits, 16).ok().filter(|position| *position >= 0)?;
    // Other spellings of the same number are refused.
    (bytes.len() == LEN && encode(position) == bytes).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_what_was_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        Mark::create(&path, 7).unwrap();
        let mark = Mark::open(&path).unwrap();
        assert_eq!(mark.position(), 7);
        for position in [1, 0xABCD_EF01, i64::MAX] {
            mark.set(position).unwrap();
            assert_eq!((mark.position(), Mark::read(&path).unwrap()), (position, position));
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"7fffffffffffffff\n");
    }

    #[test]
    fn what_is_no_mark_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        assert!(matches!(Mark::read(&path), Err(MarkError::Damaged(Damage::NoMark))));
        for bytes in [
            &b""[..],
            b"0",
            b"0000000000000000",
            b"000000000000000\n",
            b"0000000000000000\n\n",
            b"00000000000000000\n",
            b"000000000000000A\n",
            b"+000000000000000\n",
            b"-000000000000001\n",
            b"ffffffffffffffff\n",
            &[0; LEN],
            &[0xFF; LEN],
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(Mark::open(&path), Err(MarkError::Damaged(Damage::MarkChanged))), "{bytes:?}");
        }
    }
}
