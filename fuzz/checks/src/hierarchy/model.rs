//! What somebody outside knows of a hierarchy.

use std::collections::BTreeMap;

use claviger::{Key, KeyAlgorithm, ObjectRef, OpenKey, SvmId};

/// An SVM; one without an id does not exist.
#[derive(Default)]
pub(super) struct Svm {
    pub(super) id: Option<SvmId>,
    /// The current KEK's version as it was last seen.
    pub(super) kek: Option<u32>,
    pub(super) keys: BTreeMap<ObjectRef, Versions>,
    /// A rekey was begun, and its end has not been seen.
    pub(super) rekeying: bool,
    /// A deletion failed, and may go on.
    pub(super) deleting: bool,
}

/// The live versions of an object's key with their bytes, the older first.
pub(super) type Versions = Vec<(u32, Vec<u8>)>;

pub(super) fn versions(opened: &OpenKey) -> Versions {
    match opened {
        OpenKey::Current(key) => vec![version(key)],
        OpenKey::Rotating { old, new } => vec![version(old), version(new)],
    }
}

pub(super) fn version(key: &Key) -> (u32, Vec<u8>) {
    (key.version().get(), key.expose().to_vec())
}

/// Whether these are of a key that was just made.
pub(super) fn is_new(versions: &Versions, algorithm: KeyAlgorithm) -> bool {
    matches!(&versions[..], [(1, bytes)] if bytes.len() == algorithm.key_len())
}

/// Whether `now` is what `before` becomes when a rotation begins.
pub(super) fn is_rotated(before: &Versions, now: &Versions) -> bool {
    let [(old, old_bytes)] = &before[..] else { return false };
    match &now[..] {
        [first, (new, bytes)] => {
            *first == before[0] && *new == old + 1 && bytes.len() == old_bytes.len() && bytes != old_bytes
        }
        _ => false,
    }
}
