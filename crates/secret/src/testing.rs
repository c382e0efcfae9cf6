//! Forking, for tests of what a child can do with what it inherits. There is no safe way to fork, and this crate is the only
//! one with `unsafe` code.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Its body returned this.
    Returned(bool),
    /// Its body panicked.
    Panicked,
    /// It was killed by this signal.
    Signal(i32),
    /// There was no child: the system refused to fork or to wait.
    None,
}

/// A process that was forked from this one, until it is waited for.
#[derive(Debug)]
pub struct Child(libc::pid_t);

impl Child {
    /// Forks and runs `body` in the child, which is stopped after 20 seconds. A child of a process with threads must not use
    /// what those may have locked, such as standard output.
    pub fn running(body: impl FnOnce() -> bool) -> Self {
        // SAFETY: the child runs `body` on its only thread and ends without returning from here.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: async-signal-safe calls; the structure is valid.
            unsafe {
                libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
                libc::alarm(20);
            }
            let code = catch_unwind(AssertUnwindSafe(body)).map_or(2, |good| if good { 0 } else { 1 });
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(code) }
        }
        Self(child)
    }

    /// Waits for its end.
    #[must_use]
    pub fn wait(self) -> End {
        let mut status = 0;
        // SAFETY: a child of ours that nobody else waits for.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        match status {
            _ if self.0 <= 0 || waited != self.0 => End::None,
            _ if libc::WIFSIGNALED(status) => End::Signal(libc::WTERMSIG(status)),
            _ if libc::WEXITSTATUS(status) < 2 => End::Returned(libc::WEXITSTATUS(status) == 0),
            _ => End::Panicked,
        }
    }
}

/// Runs `body` in a child, and waits for its end.
pub fn in_child(body: impl FnOnce() -> bool) -> End {
    Child::running(body).wait()
}

/// The same with the child's own copy of `value`, also while threads of this process use theirs.
pub fn in_child_with<T>(value: &T, body: impl FnOnce(T) -> bool) -> End {
    in_child(|| {
        // SAFETY: `value` is initialised. The child ends without returning from `body`, so that nothing else in it ever
        // drops or uses its copy; threads that borrow the parent's do not exist in it.
        body(unsafe { std::ptr::read(value) })
    })
}
