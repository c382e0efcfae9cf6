//! Decoders must not allocate more than the input's size times a small constant, whatever a length field in it says.

use crate::secrets::{arena, sealing_key};

/// Room for what does not grow with the input: an error's message, a few small fields.
const FIXED: u64 = 4 << 10;
const PER_BYTE: u64 = 16;

/// Runs `decode`, which reads `len` bytes, and panics if it has had more memory at one time than that allows.
pub(crate) fn frugally<T>(len: usize, decode: impl FnOnce() -> T) -> T {
    within(PER_BYTE * len as u64 + FIXED, decode)
}

/// Runs `decode`, and panics if it has had more than `allowed` bytes of memory at one time.
pub(crate) fn within<T>(allowed: u64, decode: impl FnOnce() -> T) -> T {
    // Made once, whoever is the first to need it.
    arena();
    sealing_key();
    let mut decoded = None;
    let used = allocation_counter::measure(|| decoded = Some(decode()));
    assert!(used.bytes_max <= allowed, "{} bytes of memory where {allowed} should be enough", used.bytes_max);
    decoded.expect("decoded above")
}
