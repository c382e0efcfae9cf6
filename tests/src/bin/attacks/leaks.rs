//! Look for keys in the memory, the core dump and the output of a running process

use anyhow::{Result, bail};

/// Look for keys in the memory, the core dump and the output of a running process
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    bail!("not there yet")
}
