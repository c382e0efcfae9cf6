//! Kill a process under load with SIGKILL, over and over, and check every acknowledged key

use anyhow::{Result, bail};

/// Kill a process under load with SIGKILL, over and over, and check every acknowledged key
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    bail!("not there yet")
}
