//! `claviger completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

pub(crate) fn run(screen: &Screen, shell: Shell) -> Result<Exit, Failure> {
    // `generate` panics where it cannot write, which a vector always can.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "claviger", &mut script);
    screen.print(&script).map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}
