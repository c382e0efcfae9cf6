//! The fuzz targets' way to the parsers of a store's own files. Not for other use: it changes as they do.

use super::header;
use super::mark::{decode, encode};

/// Whether these are the bytes of a `store.json`.
#[must_use]
pub fn is_header(bytes: &[u8]) -> bool {
    header::kind(bytes).is_ok()
}

/// The position that the bytes of a `mark` say, and that position's own bytes.
#[must_use]
pub fn mark(bytes: &[u8]) -> Option<(i64, Vec<u8>)> {
    decode(bytes).map(|position| (position, encode(position)))
}
