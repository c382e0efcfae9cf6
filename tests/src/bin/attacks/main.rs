//! The attacks on the promises that need whole processes: `cargo xtask crash`, `powerloss` and `leaks`.
//!
//! Each prints one summary line with counts, and exits with 1 where a promise was broken.
#![forbid(unsafe_code)]
// A terminal is what this program is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod crash;
mod leaks;
mod ledger;
mod powerloss;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Attacks on the promises of the design")]
struct Cli {
    #[command(subcommand)]
    attack: Attack,
}

#[derive(Subcommand)]
enum Attack {
    Crash(crash::Args),
    Powerloss(powerloss::Args),
    Leaks(leaks::Args),
    #[command(hide = true)]
    Workload(workload::Args),
    #[command(hide = true)]
    BareSled(powerloss::BareArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().attack {
        Attack::Crash(args) => crash::run(&args),
        Attack::Powerloss(args) => powerloss::run(&args),
        Attack::Leaks(args) => leaks::run(&args),
        Attack::Workload(args) => workload::run(&args),
        Attack::BareSled(args) => powerloss::run_bare(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
