//! What sled's failures become: it reports some, and panics for others.

use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::OpenError;

/// A failure of the database. It can be told more than once: to who met it, and to all who come after.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Io(Arc<io::Error>),
    Damaged(Arc<dyn Error + Send + Sync>),
}

/// What is wrong with a store that is damaged, where it is not sled that says so.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("there is a database, but its header store.json is gone")]
    NoHeader,
    #[error("there is a header, but the database directory sled is gone")]
    NoDatabase,
    #[error("the header store.json is not JSON")]
    HeaderNotJson(#[source] serde_json::Error),
    #[error("the header store.json is not as it was written")]
    HeaderChanged,
    #[error("the mark of how far the database's log was durable is gone")]
    NoMark,
    #[error("the mark of how far the database's log was durable is not as it was written")]
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
    #[error("sled panicked{}", .0.map(|message| format!(": {message}")).unwrap_or_default())]
    Panicked(Option<&'static str>),
}

/// Calls sled. Its assertions and `unwrap`s meet what a damaged file holds, so that each call may panic.
///
/// The panic's message reaches the process's panic hook, and thereby standard error if the host has not set one. It is
/// kept only where it is fixed text: a formatted one may quote records.
///
/// Going on after a panic is safe because a writer's panic ends all use of the database, see
/// [`SledStore`](super::SledStore), and a reader changes nothing but sled's cache.
pub(super) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => Ok(answer?),
        Err(payload) => Err(Damage::Panicked(payload.downcast_ref::<&'static str>().copied()).into()),
    }
}

impl Fault {
    pub(super) fn cause(self) -> Arc<dyn Error + Send + Sync> {
        match self {
            Self::Io(error) => error,
            Self::Damaged(cause) => cause,
        }
    }

    pub(super) fn on_opening(self, dir: &Path) -> OpenError {
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
pub(super) fn shared(error: Arc<io::Error>) -> io::Error {
    io::Error::new(error.kind(), error)
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        match error {
            // A record that lies behind the end of the file, or in a file that is gone.
            sled::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) =>
            {
                Self::Damaged(Arc::new(error))
            }
            sled::Error::Io(error) => Self::Io(Arc::new(error)),
            error => Self::Damaged(Arc::new(error)),
        }
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
        assert_eq!(told(|| panic!("a fixed text")), "sled panicked: a fixed text");
        assert_eq!(told(|| panic!("node {:?}", [201, 202])), "sled panicked");
        assert_eq!(told(|| std::panic::panic_any(7)), "sled panicked");
        guarded(|| Ok(())).unwrap();
    }

    #[test]
    fn what_is_not_there_to_be_read_is_damage() {
        let fault = |kind: io::ErrorKind| Fault::from(sled::Error::Io(kind.into()));
        assert!(matches!(fault(io::ErrorKind::UnexpectedEof), Fault::Damaged(_)));
        assert!(matches!(fault(io::ErrorKind::NotFound), Fault::Damaged(_)));
        assert!(matches!(fault(io::ErrorKind::StorageFull), Fault::Io(_)));
        assert!(matches!(sled::Error::Corruption { at: None, bt: () }.into(), Fault::Damaged(_)));
    }
}
