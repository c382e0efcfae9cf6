//! Cut the power below the store, and check every acknowledged key

use anyhow::{Result, bail};

/// Cut the power below the store, and check every acknowledged key
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    bail!("not there yet")
}

#[derive(Debug, clap::Args)]
pub(crate) struct BareArgs {}
pub(crate) fn run_bare(_args: &BareArgs) -> Result<()> {
    bail!("not there yet")
}
