//! Which memory an arena gets when the kernel refuses some: with seccomp, per thread, and with real limits, in a child.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use Protection::{MemfdSecret, Mlock, Unlocked};
use claviger_secret::{Arena, ArenaError, ArenaOptions, Protection, SecretBytes};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::env;
use std::error::Error as _;
use std::io::{self, Write as _};
use std::process::Command;
use std::sync::Barrier;
use std::thread;

const fn options(keys: usize, accept: Protection) -> ArenaOptions {
    ArenaOptions { keys, states: 1, accept }
}

/// What this kernel grants to this process when nothing is forced.
fn strongest() -> Protection {
    Arena::new(&options(1, Unlocked)).unwrap().protection()
}

/// Says that a test cannot be made here, past the harness, which would keep it from view.
fn not_tested(what: &str) {
    let line = format!("NOT TESTED: {what}; the strongest memory to be had is {}\n", strongest());
    io::stderr().write_all(line.as_bytes()).unwrap();
}

fn keys(arena: &Arena, count: usize) -> Vec<SecretBytes> {
    (0..count).map(|_| arena.bytes(64).unwrap()).collect()
}

#[test]
fn the_strongest_kind_is_taken() {
    // SAFETY: makes a descriptor, which lives as long as the test process.
    let granted = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) } >= 0;
    if !granted {
        return not_tested("that memfd_secret is taken");
    }
    let arena = Arena::new(&options(1, MemfdSecret)).unwrap();
    assert_eq!(arena.protection(), MemfdSecret);
    assert_eq!(arena.usage().refused, []);
}

#[test]
fn each_refusal_leads_to_the_next_weaker_kind() {
    without(&[libc::SYS_memfd_secret], libc::ENOSYS, || {
        let arena = Arena::new(&options(1, Unlocked)).unwrap();
        if arena.protection() != Mlock {
            return not_tested("the step from memfd_secret to mlock");
        }
        assert_eq!(Arena::new(&options(1, Mlock)).unwrap().protection(), Mlock);
        let [refusal] = arena.usage().refused[..] else { panic!("{:?}", arena.usage()) };
        assert_eq!((refusal.protection(), refusal.cause().raw_os_error()), (MemfdSecret, Some(libc::ENOSYS)));
        assert!(refusal.advice().contains("5.14"));
    });
    without(&[libc::SYS_memfd_secret, libc::SYS_mlock2, libc::SYS_mlock], libc::EPERM, || {
        let arena = Arena::new(&options(1, Unlocked)).unwrap();
        assert_eq!(arena.protection(), Unlocked);
        assert_eq!(
            arena.usage().refused.iter().map(|refusal| refusal.protection()).collect::<Vec<_>>(),
            [MemfdSecret, Mlock]
        );
        assert!(arena.bytes(64).is_ok());
    });
}

#[test]
fn a_kernel_without_mlock2_still_locks() {
    without(&[libc::SYS_memfd_secret], libc::ENOSYS, || {
        if strongest() != Mlock {
            return not_tested("mlock where there is no mlock2");
        }
        without(&[libc::SYS_mlock2], libc::ENOSYS, || assert_eq!(strongest(), Mlock));
    });
}

#[test]
fn a_kind_that_is_not_accepted_is_not_used() {
    without(&[libc::SYS_memfd_secret], libc::EPERM, || {
        let obtainable = strongest();
        let error = Arena::new(&options(1, MemfdSecret)).unwrap_err();
        let message = error.to_string();
        let ArenaError::Refused { accept: MemfdSecret, obtainable: Some(best), bytes: 1088, ref source } = error else {
            panic!("{error:?}")
        };
        assert_eq!((best, source.protection()), (obtainable, MemfdSecret));
        assert!(message.contains(best.as_str()) && message.contains("seccomp"), "{message}");
        // The cause is told once: by the source.
        let source = error.source().unwrap().to_string();
        let cause = io::Error::from_raw_os_error(libc::EPERM).to_string();
        assert!(source.contains(&cause) && !message.contains(&cause), "{message}: {source}");
    });
    without(&[libc::SYS_memfd_secret, libc::SYS_mlock2, libc::SYS_mlock], libc::ENOMEM, || {
        let error = Arena::new(&options(1, Mlock)).unwrap_err();
        assert!(matches!(error, ArenaError::Refused { accept: Mlock, obtainable: Some(Unlocked), .. }), "{error:?}");
        assert!(error.to_string().contains("LimitMEMLOCK"), "{error}");
    });
}

#[test]
fn a_full_slab_overflows_to_the_next_weaker_kind() {
    let kinds: Vec<_> = [MemfdSecret, Mlock, Unlocked].into_iter().filter(|kind| *kind <= strongest()).collect();
    if kinds.len() < 3 {
        not_tested("the whole chain of overflow");
    }
    for accept in &kinds {
        let arena = Arena::new(&options(2, *accept)).unwrap();
        let mut held = Vec::new();
        for kind in kinds.iter().filter(|kind| *kind >= accept) {
            held.extend(keys(&arena, 2));
            assert_eq!(arena.protection(), *kind);
        }
        let slabs = arena.usage().slabs;
        assert!(slabs.iter().map(|slab| &slab.protection).eq(kinds.iter().filter(|kind| *kind >= accept)));
        assert!(slabs.iter().all(|slab| (slab.keys.used, slab.keys.capacity) == (2, 2)));

        let error = arena.bytes(64).unwrap_err();
        let ArenaError::Full { capacity, refusal: None, .. } = error else { panic!("{error:?}") };
        assert_eq!(capacity, held.len());
        // The states of the first slab are free, so they come from there.
        assert!(arena.bytes(1024).is_ok());
        assert_eq!(arena.usage().states.capacity, slabs.len());

        // What comes back is taken again, strongest first; what the arena admits to does not rise.
        let before = arena.protection();
        held.clear();
        let _again = keys(&arena, 1);
        assert_eq!(arena.usage().slabs[0].keys.used, 1);
        assert_eq!(arena.protection(), before);
    }
}

#[test]
fn a_refused_overflow_says_why_and_is_tried_again() {
    if strongest() != MemfdSecret {
        return not_tested("the refusal of an overflow from memfd_secret to mlock");
    }
    let arena = Arena::new(&options(1, Mlock)).unwrap();
    let _first = arena.bytes(64).unwrap();
    without(&[libc::SYS_mlock2, libc::SYS_mlock], libc::ENOMEM, || {
        let error = arena.bytes(64).unwrap_err();
        let ArenaError::Full { capacity: 1, refusal: Some(refusal), .. } = error else { panic!("{error:?}") };
        assert_eq!((refusal.protection(), refusal.cause().raw_os_error()), (Mlock, Some(libc::ENOMEM)));
        assert!(error.to_string().contains("LimitMEMLOCK"), "{error}");
        assert_eq!(error.source().unwrap().to_string(), refusal.to_string());
        assert_eq!((arena.usage().refused, arena.protection()), (vec![refusal], MemfdSecret));
    });
    // The filter was that thread's: here the kernel grants it, as after a raise of the limit.
    let _second = arena.bytes(64).unwrap();
    assert_eq!((arena.usage().refused, arena.protection()), (vec![], Mlock));
}

#[test]
fn an_overflow_skips_a_refused_kind() {
    let arena = Arena::new(&options(1, Unlocked)).unwrap();
    if arena.protection() != MemfdSecret {
        return not_tested("an overflow that skips mlock");
    }
    let _first = arena.bytes(64).unwrap();
    without(&[libc::SYS_mlock2, libc::SYS_mlock], libc::ENOMEM, || {
        let _second = arena.bytes(64).unwrap();
        assert_eq!(arena.protection(), Unlocked);
        assert_eq!(arena.usage().refused.len(), 1);
        assert!(matches!(arena.bytes(64), Err(ArenaError::Full { capacity: 2, refusal: None, .. })));
    });
}

#[test]
fn threads_that_overflow_together_add_one_slab() {
    if strongest() == Unlocked {
        return not_tested("an overflow in several threads");
    }
    for _ in 0..50 {
        let arena = Arena::new(&options(2, Unlocked)).unwrap();
        let _held = keys(&arena, 2);
        let start = Barrier::new(2);
        let take = || {
            start.wait();
            arena.bytes(64).unwrap()
        };
        let _both = thread::scope(|scope| [scope.spawn(take), scope.spawn(take)].map(|thread| thread.join().unwrap()));
        assert_eq!(arena.usage().slabs.iter().map(|slab| slab.keys.used).collect::<Vec<_>>(), [2, 2]);
    }
}

#[test]
fn the_limit_of_locked_memory_is_reported_and_can_be_raised() {
    if !in_a_child("the_limit_of_locked_memory_is_reported_and_can_be_raised") {
        return;
    }
    if strongest() == Unlocked {
        return not_tested("the limit of locked memory");
    }
    give_up_ipc_lock();
    limit_locked_memory(0);
    let error = Arena::new(&options(1, Mlock)).unwrap_err();
    assert!(matches!(error, ArenaError::Refused { obtainable: Some(Unlocked), .. }), "{error:?}");
    assert!(error.to_string().contains("LimitMEMLOCK"), "{error}");
    assert_eq!(strongest(), Unlocked);

    // Room for one slab of 1 MiB and not for two.
    limit_locked_memory(3 << 19);
    let arena = Arena::new(&options(1 << 14, Mlock)).unwrap();
    let first = arena.protection();
    let _held = keys(&arena, 1 << 14);
    let error = arena.bytes(64).unwrap_err();
    assert!(matches!(error, ArenaError::Full { capacity: 16384, .. }), "{error:?}");
    if first != MemfdSecret {
        return not_tested("the raise of a limit that stops an overflow");
    }
    assert!(error.to_string().contains("LimitMEMLOCK"), "{error}");
    assert!(error.source().unwrap().to_string().starts_with("mlock was refused"), "{error:?}");

    limit_locked_memory(4 << 20);
    let _more = arena.bytes(64).unwrap();
    assert_eq!(arena.protection(), Mlock);
}

#[test]
fn dropping_an_arena_gives_its_locked_memory_back() {
    if !in_a_child("dropping_an_arena_gives_its_locked_memory_back") {
        return;
    }
    if strongest() == Unlocked {
        return not_tested("that locked memory is given back");
    }
    give_up_ipc_lock();
    limit_locked_memory(3 << 19);
    for _ in 0..8 {
        let arena = Arena::new(&options(1 << 14, Mlock)).unwrap();
        let _held = keys(&arena, 1 << 14);
    }
}

/// Runs `body` in a thread whose `calls` fail with `errno`.
fn without(calls: &[libc::c_long], errno: i32, body: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| match refuse(calls, errno) {
            Ok(()) => body(),
            Err(error) => not_tested(&format!("a refusal by seccomp ({error})")),
        });
    });
}

/// Installs a filter for this thread: seccomp(2).
fn refuse(calls: &[libc::c_long], errno: i32) -> io::Result<()> {
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    // Load the number of the call; on equality jump to the refusal, which is the last step but for the permission.
    let mut program = vec![step(0x20, 0, 0)];
    for (at, call) in calls.iter().enumerate() {
        let jump = u8::try_from(calls.len() - at).unwrap();
        program.push(step(0x15, jump, u32::try_from(*call).unwrap()));
    }
    program.push(step(0x06, 0, libc::SECCOMP_RET_ALLOW));
    program.push(step(0x06, 0, libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap()));
    let filter = libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the calls, which copy it.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
    };
    if installed { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process is the child that runs the named test alone; else runs it. Limits belong to a whole process.
fn in_a_child(test: &str) -> bool {
    const MARK: &str = "CLAVIGER_SECRET_TEST_CHILD";
    if env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    io::stderr().write_all(&output.stderr).unwrap();
    assert!(output.status.success() && said.contains("1 passed"), "in the child: {said}");
    false
}

fn limit_locked_memory(bytes: u64) {
    let maximum = getrlimit(Resource::Memlock).maximum;
    setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum }).unwrap();
}

/// Drops CAP_IPC_LOCK, which exempts root from the limit, from this thread: capset(2).
fn give_up_ipc_lock() {
    const VERSION_3: u32 = 0x2008_0522;
    const IPC_LOCK: u32 = 1 << 14;
    let header = [VERSION_3, 0];
    // For the lower and the higher 32 capabilities: effective, permitted, inheritable.
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: header and sets have the layout of the system call's structures.
    let done = unsafe {
        libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) == 0 && {
            sets[0][0] &= !IPC_LOCK;
            libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) == 0
        }
    };
    assert!(done, "{}", io::Error::last_os_error());
}
