//! Forked children: how they are told from their parent, and what they find where a slab was.
//!
//! `MADV_DONTFORK` leaves a hole in the child, and a later mapping of the child may land in it: a dangling reference to
//! a key would then read foreign bytes as a key. So the child handler puts an inaccessible mapping over each hole
//! before `fork` returns in the child.
//!
//! Everything here is lock-free. A lock would be inherited in whatever state another thread had it.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::ffi::c_void;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Counts the forks between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// All covers ever made, as a linked list. They are reused and never freed.
static COVERS: AtomicPtr<Cover> = AtomicPtr::new(ptr::null_mut());

/// The generation of this process. Whatever was made in another one belongs to an ancestor.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has the child handler run in every child from now on.
pub(crate) fn watch() -> Result<(), Errno> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.load(Ordering::Acquire) {
        // Two threads may both get here; the handler can run twice without harm, so neither has to wait.
        // SAFETY: `enter_child` is a function for the life of the process, or until the C library unregisters it
        // together with the shared object that holds it.
        match unsafe { libc::pthread_atfork(None, None, Some(enter_child)) } {
            0 => WATCHED.store(true, Ordering::Release),
            errno => return Err(Errno::from_raw_os_error(errno)),
        }
    }
    Ok(())
}

/// An address range to make inaccessible in children, while it is claimed.
#[derive(Debug)]
pub(crate) struct Cover {
    /// Null: free. [`CLAIMED`]: being filled in. Else the start of the range; `len` is valid then.
    start: AtomicPtr<c_void>,
    len: AtomicUsize,
    next: *mut Cover,
}

/// Never the start of a mapping.
const CLAIMED: *mut c_void = ptr::without_provenance_mut(1);

impl Cover {
    /// Claims a cover for a mapping of this process.
    pub(crate) fn claim(start: *mut c_void, len: usize) -> &'static Self {
        let cover = covers().find(|cover| cover.try_claim()).unwrap_or_else(Self::push);
        cover.len.store(len, Ordering::Relaxed);
        cover.start.store(start, Ordering::Release);
        cover
    }

    /// Gives the cover up. To be called before the range is unmapped: afterwards it may be another mapping's.
    pub(crate) fn release(&self) {
        self.start.store(ptr::null_mut(), Ordering::Release);
    }

    fn try_claim(&self) -> bool {
        self.start.compare_exchange(ptr::null_mut(), CLAIMED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// A new cover, claimed, at the head of the list.
    fn push() -> &'static Self {
        let cover = Box::into_raw(Box::new(Self {
            start: AtomicPtr::new(CLAIMED),
            len: AtomicUsize::new(0),
            next: ptr::null_mut(),
        }));
        let mut head = COVERS.load(Ordering::Acquire);
        loop {
            // SAFETY: no other thread knows `cover` before the exchange below succeeds.
            unsafe { (*cover).next = head };
            match COVERS.compare_exchange_weak(head, cover, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: it came from a `Box`, is never freed, and is from now on only read through shared references.
                Ok(_) => return unsafe { &*cover },
                Err(newer) => head = newer,
            }
        }
    }

    /// Puts an inaccessible mapping where the range was, once.
    fn put_down(&self) {
        let start = self.start.swap(ptr::null_mut(), Ordering::Relaxed);
        if start.is_null() || start == CLAIMED {
            return;
        }
        let len = self.len.load(Ordering::Relaxed);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: FIXED_NOREPLACE leaves existing mappings alone, and nothing can be accessed through the new one.
        if unsafe { mmap_anonymous(start, len, ProtFlags::empty(), flags) }.is_err() {
            // The hole is open or already taken: a secret read here could be anything, and there is nobody to tell.
            process::abort();
        }
    }
}

fn covers() -> impl Iterator<Item = &'static Cover> {
    // SAFETY: every non-null pointer of the list is a cover that was published whole and is never freed.
    let deref = |cover: *mut Cover| unsafe { cover.as_ref() };
    std::iter::successors(deref(COVERS.load(Ordering::Acquire)), move |cover| deref(cover.next))
}

/// Runs in a child, on its only thread, before `fork` returns. Only atomics and system calls: no allocation, no lock.
extern "C" fn enter_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    covers().for_each(Cover::put_down);
}
