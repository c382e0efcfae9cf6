//! The mapping under a slab.
#![allow(unsafe_code)]

use crate::Protection;
use crate::fork::{self, Cover};
use rustix::fs::ftruncate;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MlockFlags, ProtFlags, madvise, mlock, mlock_with, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::ptr::{self, NonNull};

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// One mapping of zeros, page-aligned, absent from core dumps and from children. Its pages are touched only when they
/// are used.
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
    generation: u64,
    /// From the moment that children no longer inherit the mapping.
    cover: Option<&'static Cover>,
}

// SAFETY: a mapping belongs to no thread; who may access which part of it is the slab's affair.
unsafe impl Send for Map {}
// SAFETY: as above; `&Map` gives out an address and nothing else.
unsafe impl Sync for Map {}

impl Map {
    /// Maps `len` bytes, at least one.
    pub(crate) fn new(protection: Protection, len: usize) -> Result<Self, Errno> {
        fork::watch()?;
        let mut map = match protection {
            Protection::MemfdSecret => Self::secret(len)?,
            Protection::Mlock => Self::locked(len)?,
            Protection::Unlocked => Self::ordinary(len)?,
        };
        map.hide()?;
        Ok(map)
    }

    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Whether this process got the mapping from its parent, which means that it is not there.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }

    fn secret(len: usize) -> Result<Self, Errno> {
        // SAFETY: memfd_secret(2) takes flags and touches no memory. The flag is O_CLOEXEC: the kernel refuses the
        // FD_CLOEXEC of the manual page.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd = match RawFd::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
            Ok(fd @ 0..) => unsafe { OwnedFd::from_raw_fd(fd) },
            _ => return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOSYS)),
        };
        ftruncate(&fd, u64::try_from(len).map_err(|_| Errno::OVERFLOW)?)?;
        // SAFETY: a new mapping, at an address of the kernel's choice. The file has no name and its only descriptor is
        // closed on return, so nobody can shorten it.
        let start = unsafe { mmap(ptr::null_mut(), len, READ_WRITE, MapFlags::SHARED, &fd, 0) }?;
        Self::adopt(start, len)
    }

    fn locked(len: usize) -> Result<Self, Errno> {
        let map = Self::ordinary(len)?;
        // SAFETY: the range is the whole of a mapping that nobody else knows. A kernel that cannot lock pages as they
        // are touched locks, and so touches, all of them now.
        unsafe { mlock_with(map.as_ptr(), len, MlockFlags::ONFAULT).or_else(|_| mlock(map.as_ptr(), len)) }?;
        Ok(map)
    }

    fn ordinary(len: usize) -> Result<Self, Errno> {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, READ_WRITE, MapFlags::PRIVATE) }?;
        Self::adopt(start, len)
    }

    fn adopt(start: *mut c_void, len: usize) -> Result<Self, Errno> {
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len, generation: fork::generation(), cover: None })
    }

    /// Leaves the pages out of core dumps and children. A child that another thread forks before this inherits the mapping,
    /// at an address that nothing in it knows; for secret memory, which is shared, that is the parent's.
    fn hide(&mut self) -> Result<(), Errno> {
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: the range is the whole of a mapping that nobody else knows, and its content stays.
            unsafe { madvise(self.as_ptr(), self.len, advice) }?;
        }
        self.cover = Some(Cover::claim(self.as_ptr(), self.len));
        Ok(())
    }

    fn as_ptr(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.is_inherited() {
            return;
        }
        if let Some(cover) = self.cover {
            cover.release();
        }
        // A failure, which takes a process at its limit of mappings, leaks addresses but no secret: slots are wiped.
        // SAFETY: this process made the mapping, and whatever pointed into it kept it alive.
        unsafe { munmap(self.as_ptr(), self.len) }.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    const LEN: usize = 1 << 18;

    /// A mapping of this kind; or `None`, said aloud, where this kernel refuses it.
    fn map(protection: Protection) -> Option<Map> {
        match Map::new(protection, LEN) {
            Ok(map) => Some(map),
            Err(errno) => {
                io::stderr()
                    .write_all(format!("NOT TESTED: {protection} is refused here: {errno}\n").as_bytes())
                    .unwrap();
                None
            }
        }
    }

    /// The flags of the mapping that `address` is in, as in proc_pid_smaps(5). The kernel may have merged neighbours.
    fn flags_at(address: NonNull<u8>) -> Option<Vec<String>> {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        lines.find(|line| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds = range.map(|(from, to)| [from, to].map(|bound| usize::from_str_radix(bound, 16)));
            matches!(bounds, Some([Ok(from), Ok(to)]) if (from..to).contains(&address.addr().get()))
        })?;
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags: ")).unwrap();
        Some(flags.split_whitespace().map(str::to_owned).collect())
    }

    /// How many pages of the mapping have memory behind them, as in proc_pid_pagemap(5).
    fn present(map: &Map) -> usize {
        // SAFETY: touches no memory of ours.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        let first = map.start.addr().get() / page;
        let entry = |page| {
            let mut entry = [0; 8];
            pagemap.read_exact_at(&mut entry, page as u64 * 8).unwrap();
            u64::from_ne_bytes(entry)
        };
        (first..first + map.len.div_ceil(page)).filter(|page| entry(*page) >> 63 == 1).count()
    }

    #[test]
    fn no_kind_is_dumped_or_inherited() {
        for (protection, flags) in [
            (Protection::MemfdSecret, &["dd", "dc", "lo"][..]),
            (Protection::Mlock, &["dd", "dc", "lo"]),
            (Protection::Unlocked, &["dd", "dc"]),
        ] {
            let Some(map) = map(protection) else { continue };
            let found = flags_at(map.start).unwrap();
            for flag in flags {
                assert!(found.iter().any(|word| word == flag), "{protection} lacks {flag}: {found:?}");
            }
        }
    }

    #[test]
    fn pages_are_not_touched_before_they_are_used() {
        for protection in Protection::STRONGEST_FIRST {
            let Some(map) = map(protection) else { continue };
            assert_eq!(present(&map), 0, "{protection}");
            // SAFETY: the mapping is ours.
            unsafe { map.start.write_volatile(1) };
            assert_eq!(present(&map), 1, "{protection}");
        }
    }

    #[test]
    fn the_kernel_cannot_read_secret_memory() {
        let memory = File::open("/proc/self/mem").unwrap();
        for protection in Protection::STRONGEST_FIRST {
            let Some(map) = map(protection) else { continue };
            // SAFETY: the mapping is ours.
            unsafe { map.start.write_bytes(0xa5, 32) };
            let mut copy = [0; 32];
            let read = memory.read_exact_at(&mut copy, map.start.addr().get() as u64);
            match protection {
                Protection::MemfdSecret => assert_eq!(read.unwrap_err().raw_os_error(), Some(libc::EIO)),
                Protection::Mlock | Protection::Unlocked => assert_eq!((read.unwrap(), copy), ((), [0xa5; 32])),
            }
        }
    }

    #[test]
    fn drop_unmaps() {
        // So long that no other slab of the tests reaches down to its start. Memory of another kind may.
        let map = Map::new(Protection::Unlocked, 77 << 20).unwrap();
        let start = map.start;
        let is_slab = || flags_at(start).is_some_and(|flags| flags.iter().any(|flag| flag == "dc"));
        assert!(is_slab());
        drop(map);
        assert!(!is_slab());
    }
}
