//! The project's own commands. `cargo xtask test` is what a change must pass.
#![forbid(unsafe_code)]
// A terminal is what this program is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attack;
mod fuzz;
mod steps;
mod tools;
mod tree;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::steps::{Outcome, STEPS, Step};
use crate::workspace::Workspace;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test { list: true, .. } => {
            list();
            Ok(())
        }
        Command::Test { only, list: false } => test(&only),
        Command::Crash { args } => attack("crash", &args),
        Command::Powerloss { args } => attack("powerloss", &args),
        Command::Fuzz { seconds, target } => {
            Workspace::of_this_build().and_then(|workspace| fuzz::run_targets(&workspace, seconds, &target))
        }
        Command::Leaks { args } => attack("leaks", &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the checks that every change must pass, in order, up to the first failure
    ///
    /// What a step needs and the machine lacks is installed below `target/`: cargo-deny from source, once, and a
    /// Python environment for the interoperability tests. A step that cannot be done here says so and is counted as
    /// skipped.
    Test {
        /// Run only this step; may be given more than once
        #[arg(long, value_name = "STEP", value_parser = step_parser())]
        only: Vec<&'static Step>,
        /// Name the steps and do nothing
        #[arg(long, conflicts_with = "only")]
        list: bool,
    },
    /// Kill a process under load with SIGKILL, over and over, and check every acknowledged key; `-- --help` says more
    Crash {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Cut the power below the store, and check every acknowledged key; `-- --help` says more
    Powerloss {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Feed the parsers and the engine inputs without end, guided by coverage; fails on any finding
    Fuzz {
        /// How long each target runs
        #[arg(long, value_name = "N", default_value_t = fuzz::SECONDS)]
        seconds: u64,
        /// Run only this target; may be given more than once
        #[arg(long, value_name = "NAME")]
        target: Vec<String>,
    },
    /// Look for keys in the memory, the core dump and the output of a running process; `-- --help` says more
    Leaks {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn attack(name: &str, args: &[OsString]) -> Result<()> {
    attack::run_attack(&Workspace::of_this_build()?, name, args)
}

fn step_parser() -> impl TypedValueParser<Value = &'static Step> {
    PossibleValuesParser::new(STEPS.iter().map(|step| step.name))
        .try_map(|name| STEPS.iter().find(|step| step.name == name).ok_or("no such step"))
}

fn list() {
    for step in STEPS {
        println!("{:12} {}", step.name, step.about);
    }
}

fn test(only: &[&Step]) -> Result<()> {
    let workspace = Workspace::of_this_build()?;
    let mut summary = Vec::new();
    for step in STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|chosen| chosen.name == step.name)) {
        println!("==> {}: {}", step.name, step.about);
        let started = Instant::now();
        let result = (step.run)(&workspace);
        let verdict = match &result {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Err(_) => "FAILED".to_owned(),
        };
        if matches!(result, Ok(Outcome::Skipped(_))) {
            println!("{verdict}");
        }
        summary.push((step.name, started.elapsed(), verdict));
        if let Err(error) = result {
            print_summary(&summary);
            return Err(error)
                .with_context(|| format!("step `{0}` failed (alone: cargo xtask test --only {0})", step.name));
        }
    }
    print_summary(&summary);
    Ok(())
}

fn print_summary(summary: &[(&str, Duration, String)]) {
    println!("==> summary");
    for (name, elapsed, verdict) in summary {
        println!("{name:12} {:7.1} s  {verdict}", elapsed.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn steps_are_chosen_by_name() {
        let cli = Cli::try_parse_from(["xtask", "test", "--only", "fmt", "--only", "tree"]).unwrap();
        let Command::Test { only, list: false } = cli.command else { panic!("not the tests") };
        assert_eq!(only.iter().map(|step| step.name).collect::<Vec<_>>(), ["fmt", "tree"]);
        assert!(Cli::try_parse_from(["xtask", "test", "--only", "nothing"]).is_err());
    }
}
