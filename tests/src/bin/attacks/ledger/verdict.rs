//! How an attack ends that has found something.

use anyhow::{Error, Result, bail};
use tempfile::TempDir;

use super::Violations;

/// More of them say no more.
const MOST: usize = 20;

/// Fails where a promise was broken, and says which.
pub(crate) fn none(violations: &Violations, seed: u64) -> Result<()> {
    for violation in violations.iter().take(MOST) {
        eprintln!("violation: {violation}");
    }
    match violations.len() {
        0 => Ok(()),
        count => bail!("{count} violations (seed {seed})"),
    }
}

/// Keeps the directory of an attack that failed, and says where it is.
pub(crate) fn kept(place: TempDir, error: Error) -> Error {
    let place = place.keep();
    error.context(format!("the attack failed, and its directory is kept: {}", place.display()))
}
