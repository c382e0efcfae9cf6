//! What remembers, outside the store, how far the store has come: so that an older copy in its place is noticed.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_wrap::SealingKey;
use uuid::Uuid;

use crate::files;
use crate::open_error::OpenEngineError;
use crate::options::AnchorSource;
use crate::records::{self, AnchorRecord, RecordError, V1};

const FILE_NAME: &str = "anchor";
/// More than any anchor has; the rest of a longer file is not read.
const MAX_FILE_BYTES: u64 = 1_024;

/// Remembers the highest epoch of a hierarchy outside its store: in a file, in a counter of a TPM, at a peer.
///
/// The engine calls it from any thread, one call at a time. Where it does not answer, structural changes wait or are
/// refused; keys open all the same. Who can set it back, together with the store, rolls back unnoticed: an anchor is worth
/// as much as the place that it is kept in.
pub trait Anchor: Send + Sync {
    /// The highest epoch that `hierarchy` was raised to, or `None` if it never was.
    ///
    /// # Errors
    /// [`AnchorError`]; the hierarchy is then not opened.
    fn epoch(&self, hierarchy: Uuid) -> Result<Option<u64>, AnchorError>;

    /// Remembers `epoch`, durably when it returns. It is higher than any before, or the same once more where the answer did
    /// not come.
    ///
    /// # Errors
    /// [`AnchorError`]; the epoch may then be remembered or not.
    fn raise(&self, hierarchy: Uuid, epoch: u64) -> Result<(), AnchorError>;
}

/// An anchor was not read or not raised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The file cannot be read or written.
    #[error("the anchor {} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not open with the store's sealing key: it is damaged, or another store's.
    #[error("the anchor {} is damaged, or of another store; put the right file back", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why it does not open.
        source: Box<RecordError>,
    },
    /// The file is of another hierarchy with the same sealing key.
    #[error("the anchor {} is of another hierarchy; put the right file back", path.display())]
    OtherHierarchy {
        /// The file.
        path: PathBuf,
    },
    /// An anchor of the embedder's failed.
    #[error("the anchor failed")]
    Other(#[source] Box<dyn Error + Send + Sync>),
}

impl AnchorSource {
    /// The anchor of the store in `dir`; `None` where the embedder wants none.
    pub(crate) fn anchor(
        self,
        dir: Option<&Path>,
        sealing: &Arc<SealingKey>,
    ) -> Result<Option<Arc<dyn Anchor>>, OpenEngineError> {
        match self {
            Self::BesideStore => {
                let path = dir.ok_or(OpenEngineError::NoAnchor)?.join(FILE_NAME);
                Ok(Some(Arc::new(AnchorFile { path, sealing: sealing.clone() })))
            }
            Self::Provided(anchor) => Ok(Some(anchor)),
            Self::DangerNone => Ok(None),
        }
    }
}

impl fmt::Debug for AnchorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BesideStore => "BesideStore",
            Self::Provided(_) => "Provided(..)",
            Self::DangerNone => "DangerNone",
        })
    }
}

/// Whether a file of this name is the anchor, or one that was being written.
pub(crate) fn is_file_name(name: &std::ffi::OsStr) -> bool {
    files::is_named(name, FILE_NAME)
}

/// Copies the anchor beside one store, if there is one, to beside another.
pub(crate) fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut raw = Vec::new();
    match File::open(from.join(FILE_NAME)).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut raw)) {
        Ok(_) => files::replace(&to.join(FILE_NAME), &[&raw]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file `anchor` (`docs/formats.md`, anchor file).
struct AnchorFile {
    path: PathBuf,
    sealing: Arc<SealingKey>,
}

impl Anchor for AnchorFile {
    fn epoch(&self, hierarchy: Uuid) -> Result<Option<u64>, AnchorError> {
        let path = || self.path.clone();
        let mut raw = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut raw));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AnchorError::File { path: path(), source }),
        };
        let record = records::open::<AnchorRecord>(&self.sealing, AnchorRecord::KEY, raw)
            .map_err(|error| AnchorError::Damaged { path: path(), source: Box::new(error) })?
            .body;
        match record.hierarchy == hierarchy {
            true => Ok(Some(record.epoch)),
            false => Err(AnchorError::OtherHierarchy { path: path() }),
        }
    }

    fn raise(&self, hierarchy: Uuid, epoch: u64) -> Result<(), AnchorError> {
        let record = AnchorRecord { version: V1, hierarchy, epoch };
        let failed = |source| AnchorError::File { path: self.path.clone(), source };
        let sealed = records::seal(&self.sealing, &record).map_err(|error| failed(io::Error::other(error)))?;
        files::replace(&self.path, &[&sealed]).map_err(failed)
    }
}
