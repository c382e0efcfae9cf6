//! What this process has in memory.

use std::fs;

use anyhow::{Context as _, Result};

/// Bytes that a field of `/proc/self/status` says, such as `VmRSS` (proc_pid_status(5)).
///
/// # Errors
/// The file cannot be read, or has no such field.
pub fn resident(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib =
        line.and_then(|line| line.trim().strip_suffix(" kB")).context("/proc/self/status without resident memory")?;
    Ok(kib.parse::<u64>()? * 1_024)
}
