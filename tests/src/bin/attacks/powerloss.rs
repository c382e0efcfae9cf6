//! Cut the power below the store, and check every acknowledged key

use anyhow::{Result, bail};

/// Cut the power below the store, and check every acknowledged key
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    bail!("not there yet")
}
