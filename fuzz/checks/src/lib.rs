//! What the fuzz targets check: each takes any bytes, and panics where the code does not do what the formats and the
//! promises say. The targets in `fuzz/targets/` feed them inputs without end; `tests/inputs.rs` feeds them, on every run of
//! the tests, all inputs that were ever worth keeping.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a finding is told"
)]

mod backups;
mod barbican;
mod blobs;
mod files;
mod hierarchy;
mod input;
mod memory;
mod records;
mod sealed;
mod secrets;
mod seeds;
mod texts;

pub use seeds::{Seed, seeds};

/// What is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its program, its seeds and its dictionary.
    pub name: &'static str,
    /// Panics on a finding.
    pub check: fn(&[u8]),
}

macro_rules! targets {
    ($($module:ident: $($name:ident)+;)+) => {
        $(pub use $module::{$($name),+};)+

        /// All targets.
        pub const TARGETS: &[Target] = &[$($(Target { name: stringify!($name), check: $name }),+),+];
    };
}

targets! {
    blobs: key_blob key_record;
    sealed: sealed_record;
    records: record_node record_svms record_keystores record_keks record_jobs record_certificates record_volumes
        backup_hierarchy;
    backups: backup_text backup_bytes;
    barbican: barbican_metadata barbican_urls keystore_name;
    texts: passphrase svm_name;
    files: sealing_key_file store_header store_mark;
    hierarchy: engine;
}
