//! What the failures of a database become: it reports some, and panics for others.

use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::OpenError;

/// A failure of the database. It can be told more than once: to who met it, and to all who come after.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Io(Arc<io::Error>),
    Damaged(Arc<dyn Error + Send + Sync>),
}

/// What is wrong with a store that is damaged, where it is not the database that says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("there is a database, but its header store.json is gone")]
    NoHeader,
    #[error("there is a header, but the directory of its database is gone")]
    NoDatabase,
    #[error("the header store.json is not JSON")]
    HeaderNotJson(#[source] serde_json::Error),
    #[error("the header store.json is not as it was written")]
    HeaderChanged,
    #[error("the mark of how far the database was durable is gone")]
    NoMark,
    #[error("the mark of how far the database was durable is not as it was written")]
    MarkChanged,
    #[error(
        "the database's log ends at {end}, though it was durable up to {mark}: it has lost what follows, or is an older one"
    )]
    LogCutShort { end: i64, mark: i64 },
    #[error("the database's log, sled/db, is gone or empty")]
    NoLog,
    #[error("the database has no snapshot, though every database that was opened once has one")]
    NoSnapshot,
    #[error("sled found nothing in the database's log and began a new one")]
    BegunAnew,
    #[error(
        "the database holds {commits} commits, though {mark} were durable: it has lost what follows, or is an older one"
    )]
    CommitsLost { commits: i64, mark: i64 },
    #[error("the database's file, redb/db, is gone or empty")]
    NoFile,
    #[error("the database panicked{}", .0.map(|message| format!(": {message}")).unwrap_or_default())]
    Panicked(Option<&'static str>),
}

/// Calls a database. Its assertions and `unwrap`s meet what a damaged file holds, so that each call may panic.
///
/// The panic's message reaches the process's panic hook, and thereby standard error if the host has not set one. It is
/// kept only where it is fixed text: a formatted one may quote records.
///
/// Going on after a panic is safe because a writer's panic ends all use of the database, see
/// [`Health::fail`](super::Health::fail), and a reader changes nothing but the database's cache.
pub(crate) fn guarded<T, E: Into<Fault>>(call: impl FnOnce() -> Result<T, E>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(Into::into),
        Err(payload) => Err(Damage::Panicked(payload.downcast_ref::<&'static str>().copied()).into()),
    }
}

impl Fault {
    pub(crate) fn cause(self) -> Arc<dyn Error + Send + Sync> {
        match self {
            Self::Io(error) => error,
            Self::Damaged(cause) => cause,
        }
    }

    pub(crate) fn on_opening(self, dir: &Path) -> OpenError {
        match self {
            Self::Io(error) => OpenError::Io {
                action: "open the database in",
                path: dir.to_owned(),
                source: Arc::try_unwrap(error).unwrap_or_else(shared),
            },
            Self::Damaged(cause) => OpenError::Damaged { dir: dir.to_owned(), source: Box::new(cause) },
        }
    }
}

/// An error that others hold too.
pub(crate) fn shared(error: Arc<io::Error>) -> io::Error {
    io::Error::new(error.kind(), error)
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => of_database_io(error),
            error => Self::Damaged(Arc::new(error)),
        }
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => of_database_io(error),
            // What redb answers from the first I/O error on, of a read too. It says nothing of the records.
            error @ redb::Error::PreviousIo => Self::Io(Arc::new(io::Error::other(error))),
            error => Self::Damaged(Arc::new(error)),
        }
    }
}

fn of_database_io(error: io::Error) -> Fault {
    match error.kind() {
        // What lies behind the end of the file, or in a file that is gone, or is no database at all.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
            Fault::Damaged(Arc::new(error))
        }
        _ => Fault::Io(Arc::new(error)),
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damaged(Arc::new(damage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_damage_and_quotes_no_record() {
        let told = |call: fn() -> sled::Result<()>| guarded(call).unwrap_err().cause().to_string();
        assert_eq!(told(|| panic!("a fixed text")), "the database panicked: a fixed text");
        assert_eq!(told(|| panic!("node {:?}", [201, 202])), "the database panicked");
        assert_eq!(told(|| std::panic::panic_any(7)), "the database panicked");
        guarded(|| Ok::<_, redb::Error>(())).unwrap();
    }

    #[test]
    fn what_is_not_there_to_be_read_is_damage() {
        for of_database in [|kind| sled::Error::Io(kind).into(), |kind| redb::Error::Io(kind).into()] {
            let fault = |kind: io::ErrorKind| -> Fault { of_database(kind.into()) };
            assert!(matches!(fault(io::ErrorKind::UnexpectedEof), Fault::Damaged(_)));
            assert!(matches!(fault(io::ErrorKind::NotFound), Fault::Damaged(_)));
            assert!(matches!(fault(io::ErrorKind::InvalidData), Fault::Damaged(_)));
            assert!(matches!(fault(io::ErrorKind::StorageFull), Fault::Io(_)));
        }
        assert!(matches!(sled::Error::Corruption { at: None, bt: () }.into(), Fault::Damaged(_)));
        assert!(matches!(redb::Error::Corrupted(String::new()).into(), Fault::Damaged(_)));
    }

    #[test]
    fn an_earlier_failure_of_the_disk_is_no_damage() {
        assert!(matches!(redb::Error::PreviousIo.into(), Fault::Io(_)));
    }
}
