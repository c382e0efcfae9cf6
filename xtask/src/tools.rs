//! What the steps need beyond the Rust toolchain, installed below `target/` when a step first asks for it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, run, stdout_of};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// What [`python`] has installed: exact versions, one a line.
const PYTHON_REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Exits with failure where Python is too old for the requirements.
const PYTHON_IS_NEW_ENOUGH: &str = "import sys; sys.exit(sys.version_info < (3, 11))";

/// The path of cargo-deny, built from source if this version is not there yet.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    let program = workspace.path("target/tools/bin/cargo-deny");
    let installed = stdout_of(workspace.command(&program).arg("--version")).ok();
    if installed.is_none_or(|version| version.trim() != format!("cargo-deny {CARGO_DENY_VERSION}")) {
        println!("cargo-deny {CARGO_DENY_VERSION} is not in target/tools: building it, some minutes, once");
        let package = format!("cargo-deny@{CARGO_DENY_VERSION}");
        // Its work is reading files: optimising it costs minutes and saves seconds.
        let profile = ["--profile", "dev"];
        run(workspace.cargo(["install", "--locked", &package, "--root", "target/tools"]).args(profile))?;
    }
    Ok(program)
}

/// The path of a Python interpreter that has the packages the interoperability tests import.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf> {
    let program = workspace.path("target/venv/bin/python");
    // Written last, so an interrupted installation is done again.
    let stamp = workspace.path("target/venv/requirements.txt");
    let installed = fs::read_to_string(&stamp).is_ok_and(|text| text == PYTHON_REQUIREMENTS);
    if installed && stdout_of(workspace.command(&program).arg("--version")).is_ok() {
        return Ok(program);
    }
    println!("the Python environment in target/venv is missing or out of date: making it");
    require_system_python(workspace)?;
    run(workspace.command("python3").args(["-m", "venv", "--clear", "target/venv"]))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    // Wheels only: a build from source would want a second Rust project's worth of tools.
    let packages = ["--only-binary", ":all:", "--requirement", "xtask/requirements.txt"];
    run(workspace.command(&program).args(pip).args(packages))?;
    fs::write(&stamp, PYTHON_REQUIREMENTS).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(program)
}

fn require_system_python(workspace: &Workspace) -> Result<()> {
    let has = |code: &str| stdout_of(workspace.command("python3").args(["-c", code])).is_ok();
    if !has("") {
        bail!("there is no python3, which the interoperability tests need: `apt-get install python3 python3-venv`");
    }
    if !has(PYTHON_IS_NEW_ENOUGH) {
        bail!("python3 is older than 3.11, which the interoperability tests need: put a newer one first in PATH");
    }
    // Debian ships venv without ensurepip, which it cannot work without.
    if !has("import ensurepip, venv") {
        bail!("python3 cannot make virtual environments: `apt-get install python3-venv`");
    }
    Ok(())
}
