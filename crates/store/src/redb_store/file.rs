//! The file under redb, read so that damage shows.
//!
//! redb keeps a checksum of every page, but compares it only when it opens a database, in the check that
//! [`Database::open`](super::database::Database::open) asks for. What the disk gives back later than that, it takes as it
//! comes. So a checksum of every block is kept in memory from when it was first read or last written, eight bytes for
//! 4 KiB, and a block that is read again must still have it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{PoisonError, RwLock};

use redb::StorageBackend;

/// redb's page, the unit of all that it reads and writes but for the first page's head.
const BLOCK: usize = 4096;

/// One process opens the file at a time because the store is locked, so that redb's own locks are not implemented.
#[derive(Debug)]
pub(super) struct CheckedFile {
    file: File,
    sums: RwLock<Vec<Sum>>,
}

/// The CRC-32 of a block, where it is known.
type Sum = Option<u32>;

impl CheckedFile {
    pub(super) fn new(file: File) -> Self {
        Self { file, sums: RwLock::default() }
    }

    /// Makes zeroes of a page of which a block is not what it was: no page of redb begins with a zero, so that redb takes
    /// them for damage each time, and reads what does not need them. An error, it would never forget.
    fn check(&self, offset: u64, page: &mut [u8]) {
        let mut known = true;
        let changed = {
            let sums = self.sums.read().unwrap_or_else(PoisonError::into_inner);
            blocks(offset, page).find_map(|(block, bytes)| match sums.get(block).copied().flatten() {
                Some(sum) => (sum != crc32fast::hash(bytes)).then_some(block),
                None => {
                    known = false;
                    None
                }
            })
        };
        match changed {
            Some(block) => {
                tracing::error!(block, "a block of the database's file is not what it was");
                page.fill(0);
            }
            None if known => {}
            None => self.note(offset, page),
        }
    }

    /// Takes what was read or written for what will be read.
    fn note(&self, offset: u64, bytes: &[u8]) {
        let noted: Vec<_> = blocks(offset, bytes).map(|(block, bytes)| (block, Some(crc32fast::hash(bytes)))).collect();
        self.set(&noted);
    }

    fn forget(&self, offset: u64, bytes: &[u8]) {
        let forgotten: Vec<_> = blocks(offset, bytes).map(|(block, _)| (block, None)).collect();
        self.set(&forgotten);
    }

    fn set(&self, noted: &[(usize, Sum)]) {
        let mut sums = self.sums.write().unwrap_or_else(PoisonError::into_inner);
        for (block, sum) in noted {
            if sums.len() <= *block {
                sums.resize(block + 1, None);
            }
            if let Some(known) = sums.get_mut(*block) {
                *known = *sum;
            }
        }
    }
}

impl StorageBackend for CheckedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)?;
        self.check(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.sums.write().unwrap_or_else(PoisonError::into_inner).truncate(first_block(len));
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // Whatever becomes of a write that fails.
        self.forget(offset, data);
        self.file.write_all_at(data, offset)?;
        self.note(offset, data);
        Ok(())
    }
}

/// The whole blocks in what lies at `offset`, with their numbers. The head of the first page is none: redb writes that in
/// place, and has a checksum of its own in it.
fn blocks(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes.chunks_exact(BLOCK).enumerate().map(move |(number, block)| (first_block(offset) + number, block))
}

/// All that is longer than a block begins at the beginning of one.
fn first_block(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX) / BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: usize = 3;

    fn file_of(pages: usize) -> (CheckedFile, File) {
        let file = tempfile::tempfile().unwrap();
        let checked = CheckedFile::new(file.try_clone().unwrap());
        checked.write(0, &vec![7; pages * BLOCK]).unwrap();
        (checked, file)
    }

    fn at(block: usize) -> u64 {
        u64::try_from(block * BLOCK).unwrap()
    }

    #[test]
    fn a_page_that_changed_is_read_as_zeroes_and_the_others_as_they_are() {
        let (checked, file) = file_of(PAGES);
        file.write_all_at(&[8], at(1) + 100).unwrap();
        for _ in 0..2 {
            for (block, blocks, expected) in [(0, 1, 7), (1, 1, 0), (2, 1, 7), (0, 2, 0), (1, 2, 0)] {
                let mut read = vec![1; blocks * BLOCK];
                checked.read(at(block), &mut read).unwrap();
                assert!(read.iter().all(|byte| *byte == expected), "{blocks} from {block}");
            }
        }
        checked.write(at(1), &[9; BLOCK]).unwrap();
        let mut read = [0; BLOCK];
        checked.read(at(1), &mut read).unwrap();
        assert_eq!(read, [9; BLOCK]);
    }

    #[test]
    fn a_page_is_noted_of_which_a_block_is_not_known() {
        let (_, file) = file_of(PAGES);
        let checked = CheckedFile::new(file.try_clone().unwrap());
        checked.write(at(1), &[6; BLOCK]).unwrap();
        let mut read = vec![0; PAGES * BLOCK];
        checked.read(0, &mut read).unwrap();
        file.write_all_at(&[8], at(2)).unwrap();
        checked.read(0, &mut read).unwrap();
        assert!(read.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_read_first_is_what_must_be_read_again() {
        let (_, file) = file_of(PAGES);
        let checked = CheckedFile::new(file.try_clone().unwrap());
        let mut read = [0; BLOCK];
        checked.read(at(2), &mut read).unwrap();
        assert_eq!(read, [7; BLOCK]);
        file.write_all_at(&[8], at(2)).unwrap();
        checked.read(at(2), &mut read).unwrap();
        assert_eq!(read, [0; BLOCK]);
    }

    #[test]
    fn the_head_of_the_first_page_is_written_and_read_as_it_is() {
        let (checked, _) = file_of(PAGES);
        checked.write(0, &[1; 320]).unwrap();
        let mut read = [0; 320];
        checked.read(0, &mut read).unwrap();
        assert_eq!(read, [1; 320]);
    }

    #[test]
    fn what_was_cut_off_is_forgotten() {
        let (checked, _) = file_of(PAGES);
        checked.set_len(at(1)).unwrap();
        checked.set_len(at(PAGES)).unwrap();
        let mut read = [1; BLOCK];
        checked.read(at(2), &mut read).unwrap();
        assert_eq!(read, [0; BLOCK]);
        checked.write(at(2), &[5; BLOCK]).unwrap();
        checked.read(at(2), &mut read).unwrap();
        assert_eq!(read, [5; BLOCK]);
    }

    #[test]
    fn a_read_behind_the_end_is_an_error() {
        let (checked, _) = file_of(PAGES);
        let error = checked.read(at(PAGES), &mut [0; BLOCK]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
