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

#[cfg(test)]
mod tests {
    use super::frugally;

    #[test]
    fn memory_in_proportion_is_allowed() {
        assert_eq!(frugally(1_000, || vec![1_u8; 16_000]).len(), 16_000);
    }

    #[test]
    #[should_panic(expected = "20097 bytes of memory where 20096 should be enough")]
    fn more_memory_is_not() {
        frugally(1_000, || vec![1_u8; 16_000 + 4_097]);
    }

    #[test]
    #[should_panic(expected = "bytes of memory")]
    fn memory_that_is_given_back_counts() {
        frugally(0, || drop(std::hint::black_box(vec![1_u8; 10_000])));
    }
}
