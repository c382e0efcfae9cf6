//! The audit log: who changed what, from where, and what came of it. One JSON object a line, each with its own hash and that of the
//! line before (`docs/service.md`, audit log).
//!
//! A changing request has a line before it runs and one after it, both on disk before its answer. A request without the second line
//! was interrupted. The chain shows what was changed within the log; that nobody has cut off its end or written all of it anew only a
//! copy elsewhere can show.

mod entry;
mod log;
mod verify;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::entry::{Event, clipped, clipped_arguments};
pub use self::entry::{InvalidLineHash, LineHash};
pub(crate) use self::log::AuditLog;
pub use self::verify::{AuditReport, BadLine, verify_audit};

/// Where the log is in a hierarchy's directory.
#[must_use]
pub fn audit_file(dir: &Path) -> PathBuf {
    dir.join("audit").join("audit.jsonl")
}

/// The audit log was not read or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The file cannot be read or written.
    #[error("cannot {action} the audit log {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its last line is none of a log: the next one cannot follow it.
    #[error("the last line of the audit log {} is damaged; keep the file for whoever looks into it, and move it away", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Whoever wrote ended before the line was on disk.
    #[error("a line of the audit log was not written to its end")]
    Lost,
    /// The log is full: 2^64 entries.
    #[error("the audit log {} has no more numbers", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
}
