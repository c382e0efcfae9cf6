//! The attacks: one program of its own, optimised as the product is.

use std::ffi::OsStr;

use anyhow::Result;

use crate::workspace::{Workspace, run};

/// Runs the attack of this name.
pub(crate) fn run_attack<S: AsRef<OsStr>>(workspace: &Workspace, name: &str, args: &[S]) -> Result<()> {
    // Some attack the product's binary, which they look for beside their own.
    run(&mut workspace.cargo(["build", "--release", "--quiet", "--locked", "--package", "claviger-cli"]))?;
    let program = ["run", "--release", "--quiet", "--locked", "--package", "claviger-tests", "--bin", "attacks", "--"];
    run(workspace.cargo(program).arg(name).args(args))
}
