//! Python with the clients in it: installed below the target directory when a test first needs it, and again when the list changes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::service::Told;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
const REQUIREMENTS: &str = include_str!("../../clients/requirements.txt");

/// Where Python's libraries for HTTP look for authorities and proxies, some of them before they do as they are told.
const ELSEWHERE: [&str; 6] =
    ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

/// Runs a client of `tests/clients`, which gets `told` as its standard input and has to end well.
pub(crate) fn run(script: &str, told: &Value) {
    let mut command = python("python");
    command.arg(Path::new(CLIENTS).join(script));
    finish(command, &told.to_string());
}

/// Has schemathesis try what the service's OpenAPI document allows, and what it does not. `tests/clients/schemathesis.toml` says how.
pub(crate) fn fuzz(service: &Told) {
    // It leaves files of its own.
    let scratch = TempDir::with_prefix("claviger-fuzz-").unwrap();
    let mut command = python("schemathesis");
    command
        .arg("--config-file")
        .arg(Path::new(CLIENTS).join("schemathesis.toml"))
        .args(["--no-color", "run", "--tls-verify"])
        .arg(&service.ca)
        .arg(format!("{}/docs/api/openapi.json", service.url))
        .current_dir(&scratch)
        .env("CLAVIGER_USER", &service.user)
        .env("CLAVIGER_PASSWORD", &service.password);
    finish(command, "");
}

fn finish(mut command: Command, input: &str) {
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A program of the environment.
fn python(program: &str) -> Command {
    let mut command = Command::new(environment().join("bin").join(program));
    command.env("NO_PROXY", "*").env("PYTHONDONTWRITEBYTECODE", "1");
    for variable in ELSEWHERE {
        command.env_remove(variable);
    }
    command
}

/// The environment, installed.
fn environment() -> &'static Path {
    static ENVIRONMENT: OnceLock<PathBuf> = OnceLock::new();
    ENVIRONMENT.get_or_init(install)
}

/// Tests of several processes may want it at a time: one installs, the others wait.
fn install() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // This program is in `target/PROFILE/deps`.
    let home = test.ancestors().nth(3).unwrap().join("clients");
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let digest = hex::encode(Sha256::digest(REQUIREMENTS));
    let environment = home.join(digest.get(..12).unwrap());
    // Written last, so that an installation that broke off is done again.
    let mark = environment.join("installed");
    if mark.exists() {
        return environment;
    }
    let venv = ["-m", "venv", "--clear"];
    said_well(Command::new("python3").args(venv).arg(&environment), "python3 with its module venv is needed");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir"];
    let requirements = Path::new(CLIENTS).join("requirements.txt");
    let mut install = Command::new(environment.join("bin/python"));
    install.args(pip).args(["--only-binary", ":all:", "--requirement"]).arg(requirements);
    said_well(&mut install, "the clients could not be installed; a package index must be within reach, once");
    File::create(mark).unwrap();
    environment
}

fn said_well(command: &mut Command, otherwise: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{otherwise}: {error}"));
    assert!(output.status.success(), "{otherwise}: {}", String::from_utf8_lossy(&output.stderr));
}
