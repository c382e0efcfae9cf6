//! `claviger`: the operator's commands over a key hierarchy. `claviger --help` says what there is.
//!
//! A command has two halves. The [`front`] is local to whoever gives it: arguments, files, secrets, the terminal. It makes a
//! [`request`], which is run over a hierarchy ([`commands`]) and speaks in [`event`]s, which the [`screen`] shows. What can go wrong
//! is a [`Failure`], and each has its [`Exit`] code.
#![forbid(unsafe_code)]

mod age;
mod args;
mod backup_file;
mod client;
mod commands;
mod event;
mod exit;
mod failure;
mod front;
mod output;
mod passphrase;
mod prompt;
mod remote;
mod request;
mod screen;
mod secret;
mod session;
mod tree;

use std::alloc::System;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

use crate::args::{Args, Command};
use crate::client::Environment;
use crate::event::Form;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

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
    let form = if args.common.json { Form::Json } else { Form::Text };
    let screen = Screen::of_process(form);
    let logging = match args.command {
        // As its configuration says.
        Command::Serve(_) => Ok(()),
        _ => log_to_stderr(form),
    };
    let done = logging.and_then(|()| front::run(args, &Environment::of_process(), &screen));
    done.unwrap_or_else(|failure| screen.failure(&failure)).into()
}

/// Help and the version are asked for; all else is a request that cannot be read.
fn not_parsed(error: &clap::Error) -> Exit {
    // Nobody has read the flag, and whoever gave it reads JSON all the same.
    let json = std::env::args_os().any(|arg| arg == "--json");
    if json && error.use_stderr() {
        return Screen::of_process(Form::Json).failure(&Failure::Usage { message: in_one_line(error) });
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

fn log_to_stderr(form: Form) -> Result<(), Failure> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(filter) => EnvFilter::builder().parse(filter).map_err(|_| Failure::Log)?,
        // Whoever reads JSON expects nothing else.
        Err(_) if form == Form::Json => EnvFilter::new("off"),
        Err(_) => EnvFilter::new("error"),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
