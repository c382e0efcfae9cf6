//! The attacks: one program of its own, optimised as the product is.

use std::ffi::OsStr;

use anyhow::Result;

use crate::workspace::{Workspace, run};

/// Runs the attack of this name.
pub(crate) fn run_attack<S: AsRef<OsStr>>(workspace: &Workspace, name: &str, args: &[S]) -> Result<()> {
    // Some attack the product's binary, or another of their own, which they look for beside theirs. Each is built alone: what the
    // tests turn on is in no product.
    for package in ["claviger-cli", "claviger-tests"] {
        run(&mut workspace.cargo(["build", "--release", "--quiet", "--locked", "--bins", "--package", package]))?;
    }
    let program = ["run", "--release", "--quiet", "--locked", "--package", "claviger-tests", "--bin", "attacks", "--"];
    run(workspace.cargo(program).arg(name).args(args))
}
