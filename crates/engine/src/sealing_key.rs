//! The sealing key's sources (`docs/formats.md`, sealing key file).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use claviger_secret::Arena;
use claviger_wrap::{Key256, SystemRandom};

use crate::files;
use crate::open_error::OpenEngineError;
use crate::options::SealingSource;

const FILE_NAME: &str = "sealing.key";
const MAGIC_AND_FORMAT: &[u8; 5] = b"CLVK\x01";
const FILE_LEN: usize = MAGIC_AND_FORMAT.len() + Key256::LEN;
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

impl SealingSource {
    /// The key for a new store in `dir`; makes the file where that is the source.
    pub(crate) fn create(self, arena: &Arena, dir: Option<&Path>) -> Result<Key256, OpenEngineError> {
        match self {
            Self::BesideStore => {
                let path = dir.ok_or(OpenEngineError::NoSealingKey)?.join(FILE_NAME);
                // A creation that was interrupted has left its file: its key has sealed nothing yet, and serves.
                match path.try_exists() {
                    Ok(true) => read(arena, &path),
                    Ok(false) => write(arena, &path),
                    Err(source) => Err(OpenEngineError::SealingKeyFile { path, source }),
                }
            }
            Self::SystemdCredential(name) => credential(arena, &name),
            Self::Provided(key) => Ok(key),
        }
    }

    /// The key of the store in `dir`.
    pub(crate) fn open(self, arena: &Arena, dir: Option<&Path>) -> Result<Key256, OpenEngineError> {
        match self {
            Self::BesideStore => read(arena, &dir.ok_or(OpenEngineError::NoSealingKey)?.join(FILE_NAME)),
            Self::SystemdCredential(name) => credential(arena, &name),
            Self::Provided(key) => Ok(key),
        }
    }
}

/// Whether a file of this name is the sealing key, or one that was being written.
pub(crate) fn is_file_name(name: &OsStr) -> bool {
    files::is_named(name, FILE_NAME)
}

/// Copies the sealing key beside one store to beside another, unless it is there.
pub(crate) fn copy_file(arena: &Arena, from: &Path, to: &Path) -> Result<(), OpenEngineError> {
    let (key, path) = (read(arena, &from.join(FILE_NAME))?, to.join(FILE_NAME));
    let failed = |source| OpenEngineError::SealingKeyFile { path: path.clone(), source };
    match path.try_exists().map_err(failed)? {
        true if read(arena, &path)?.ct_eq(&key) => Ok(()),
        true => Err(OpenEngineError::OtherSealingKey),
        false => files::replace(&path, &[MAGIC_AND_FORMAT, key.expose()]).map_err(failed),
    }
}

fn write(arena: &Arena, path: &Path) -> Result<Key256, OpenEngineError> {
    let failed = |source| OpenEngineError::SealingKeyFile { path: path.to_owned(), source };
    let key = Key256::generate(arena, &mut SystemRandom).map_err(OpenEngineError::Key)?;
    files::replace(path, &[MAGIC_AND_FORMAT, key.expose()]).map_err(failed)?;
    Ok(key)
}

fn read(arena: &Arena, path: &Path) -> Result<Key256, OpenEngineError> {
    let failed = |source| OpenEngineError::SealingKeyFile { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(OpenEngineError::SealingKeyExposed { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    let malformed = || OpenEngineError::SealingKeyFormat { path: path.to_owned() };
    if metadata.len() != FILE_LEN as u64 {
        return Err(malformed());
    }
    let mut bytes = arena.bytes(FILE_LEN)?;
    file.read_exact(bytes.expose_mut()).map_err(failed)?;
    match bytes.expose().split_first_chunk() {
        Some((MAGIC_AND_FORMAT, key)) => copy(arena, key),
        _ => Err(malformed()),
    }
}

fn credential(arena: &Arena, name: &str) -> Result<Key256, OpenEngineError> {
    let dir = std::env::var_os(CREDENTIALS_DIRECTORY).ok_or(OpenEngineError::NoSealingKey)?;
    let path = PathBuf::from(dir).join(name);
    let failed = |source| OpenEngineError::SealingKeyFile { path: path.clone(), source };
    let mut file = File::open(&path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() != Key256::LEN as u64 {
        return Err(OpenEngineError::SealingKeyFormat { path });
    }
    let mut bytes = arena.bytes(Key256::LEN)?;
    file.read_exact(bytes.expose_mut()).map_err(failed)?;
    Ok(Key256::new(bytes)?)
}

fn copy(arena: &Arena, key: &[u8]) -> Result<Key256, OpenEngineError> {
    let mut bytes = arena.bytes(key.len())?;
    bytes.expose_mut().copy_from_slice(key);
    Ok(Key256::new(bytes)?)
}
