//! `claviger`: the operator's commands over a key hierarchy. `claviger --help` says what there is.
//!
//! A command opens the hierarchy, does one thing through the library, and prints the result: text, or JSON. What can go
//! wrong is a [`Failure`], and each has its [`Exit`] code.
#![forbid(unsafe_code)]

mod age;
mod args;
mod commands;
mod exit;
mod failure;
mod output;
mod passphrase;
mod prompt;
mod secret;
mod session;
mod tree;

use std::alloc::System;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Wipes what is freed: the libraries for HTTP and TLS, which top-level keys and tokens pass through, do not.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

/// Names the filter of what is logged on standard error, as in `CLAVIGER_LOG=claviger=debug`.
const LOG_VARIABLE: &str = "CLAVIGER_LOG";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_parsed(&error).into(),
    };
    let output = Output::new(args.common.json);
    let logging = match args.command {
        // As its configuration says.
        Command::Serve(_) => Ok(()),
        _ => log_to_stderr(&output),
    };
    let done = logging.and_then(|()| commands::run(args, output));
    match done {
        Ok(exit) => exit,
        Err(failure) => output.failure(&failure),
    }
    .into()
}

/// Help and the version are asked for; all else is a request that cannot be read.
fn not_parsed(error: &clap::Error) -> Exit {
    // Nobody has read the flag, and whoever gave it reads JSON all the same.
    let json = std::env::args_os().any(|arg| arg == "--json");
    if json && error.use_stderr() {
        return Output::new(true).failure(&Failure::Usage { message: in_one_line(error) });
    }
    match (error.print(), error.use_stderr()) {
        // Where help cannot be printed, nobody reads it.
        (_, false) => Exit::Done,
        (_, true) => Exit::Request,
    }
}

/// What clap says before it comes to the usage.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let message = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    message.trim_start_matches("error: ").to_owned()
}

fn log_to_stderr(output: &Output) -> Result<(), Failure> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(filter) => EnvFilter::builder().parse(filter).map_err(|_| Failure::Log)?,
        // Whoever reads JSON expects nothing else.
        Err(_) if output.is_json() => EnvFilter::new("off"),
        Err(_) => EnvFilter::new("error"),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
