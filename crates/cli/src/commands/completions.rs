//! `claviger completions`.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(output: Output, shell: Shell) -> Result<Exit, Failure> {
    // `generate` panics where it cannot write, which a vector always can.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "claviger", &mut script);
    let mut out = output.stdout();
    out.write_all(&script).and_then(|()| out.flush()).map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}
