//! The files beside the database.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use claviger::{OpenEngineError, fuzzing};
use claviger_store::fuzzing as store;

use crate::input::Input;
use crate::memory::{frugally, within};
use crate::secrets::arena;

/// A file `sealing.key`: what others may do with it (1), its bytes.
pub fn sealing_key_file(data: &[u8]) {
    let mut input = Input::new(data);
    let (others, bytes) = (u32::from(input.byte() & 0o77), input.rest());
    let dir = in_memory();
    let path = dir.path().join("sealing.key");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600 | others)).unwrap();
    match frugally(0, || fuzzing::sealing_key(arena(), dir.path())) {
        Ok(key) => assert!(others == 0 && bytes == [b"CLVK\x01", key.expose()].concat()),
        Err(OpenEngineError::SealingKeyExposed { mode, .. }) => assert!(others != 0 && mode == 0o600 | others),
        Err(OpenEngineError::SealingKeyFormat { .. }) => {
            assert!(others == 0 && (bytes.len() != 37 || !bytes.starts_with(b"CLVK\x01")));
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// A directory that is gone at the end, where no disk is waited for, if there is such a place.
fn in_memory() -> TempDir {
    let shared_memory = Path::new("/dev/shm");
    let parent = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).unwrap()
}

/// `store.json`. There is one for each kind of store.
pub fn store_header(data: &[u8]) {
    const SLED: &str = concat!(
        "{\n  \"compression\": false,\n  \"format\": 1,\n  \"kind\": \"sled\",\n",
        "  \"segment_bytes\": 4194304,\n  \"sled\": \"0.34.7\"\n}\n"
    );
    const REDB: &str = "{\n  \"file_format\": 3,\n  \"format\": 1,\n  \"kind\": \"redb\"\n}\n";
    // Its members are not known before it is read, so memory is bounded by the longest header that is looked at.
    assert_eq!(within(256 << 10, || store::is_header(data)), [SLED, REDB].map(str::as_bytes).contains(&data));
}

/// `mark`.
pub fn store_mark(data: &[u8]) {
    let is_mark = match data.split_last() {
        Some((b'\n', digits @ [b'0'..=b'7', ..])) => {
            digits.len() == 16 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        }
        _ => false,
    };
    let read = frugally(data.len(), || store::mark(data));
    assert_eq!(read.is_some(), is_mark);
    if let Some((position, written)) = read {
        assert!(position >= 0 && written == data);
    }
}
