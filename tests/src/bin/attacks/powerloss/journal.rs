//! What the recorder has written down (`tests/powerloss/shim.c`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A call that took effect. Paths are relative to the watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Opened {
        inode: u64,
        path: PathBuf,
        mode: u32,
        created: bool,
    },
    MadeDir {
        inode: u64,
        path: PathBuf,
        mode: u32,
    },
    Wrote {
        inode: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncated {
        inode: u64,
        len: usize,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    Unlinked {
        path: PathBuf,
    },
    RemovedDir {
        path: PathBuf,
    },
    SyncBegan {
        inode: u64,
        ticket: u64,
    },
    SyncEnded {
        ticket: u64,
    },
    /// sync_file_range(2), which makes nothing durable.
    RangeSynced,
    /// What the process said.
    Said {
        line: Vec<u8>,
    },
}

const HEAD: usize = 32;

/// Reads a journal from its beginning to its end.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = std::fs::read(path).context("the journal cannot be read")?;
    let (mut rest, mut records) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let (record, behind) = parse(rest).with_context(|| format!("record {} of the journal", records.len()))?;
        records.push(record);
        rest = behind;
    }
    Ok(records)
}

fn parse(bytes: &[u8]) -> Result<(Record, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD).context("cut short")?;
    let small = |at| head.get(at..).and_then(|from| from.first_chunk().copied()).map(u32::from_ne_bytes);
    let large = |at| head.get(at..).and_then(|from| from.first_chunk().copied()).map(u64::from_ne_bytes);
    let fields = (small(0), small(4), small(8), small(12), large(16), large(24));
    let (Some(kind), Some(first), Some(second), Some(flags), Some(inode), Some(number)) = fields else {
        bail!("cut short")
    };
    let (first, rest) = rest.split_at_checked(usize::try_from(first)?).context("cut short")?;
    let (second, rest) = rest.split_at_checked(usize::try_from(second)?).context("cut short")?;
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let record = match kind {
        1 => Record::Opened { inode, path: path(first), mode: flags, created: number == 1 },
        2 => Record::MadeDir { inode, path: path(first), mode: flags },
        3 => Record::Wrote { inode, offset: number.try_into()?, bytes: second.to_vec() },
        4 => Record::Truncated { inode, len: number.try_into()? },
        5 => Record::Renamed { from: path(first), to: path(second) },
        6 => Record::Unlinked { path: path(first) },
        7 => Record::RemovedDir { path: path(first) },
        8 => Record::SyncBegan { inode, ticket: number },
        9 => Record::SyncEnded { ticket: number },
        10 => Record::RangeSynced,
        11 => Record::Said { line: second.to_vec() },
        _ => bail!("of the unknown kind {kind}"),
    };
    Ok((record, rest))
}
