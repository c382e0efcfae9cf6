//! A service for trying things on: the binary that a node runs, in a directory of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use claviger_tests::heard::Heard;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// `claviger serve --dev`, until it is dropped.
pub(crate) struct Service {
    process: Child,
    told: Told,
    dir: TempDir,
}

/// What it says when it serves.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Told {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// The certificate that a client has to trust.
    pub(crate) ca: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Service {
    pub(crate) fn start() -> Self {
        let dir = TempDir::with_prefix("claviger-rest-").unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut process = Command::new(binary())
            .args(["serve", "--dev", "--json", "--listen", "127.0.0.1:0", "--dir"])
            .arg(dir.path().join("site"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line);
        let told = told.unwrap_or_else(|error| panic!("said {line:?} ({error}), and {}", log_of(&dir)));
        Self { process, told, dir }
    }

    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    /// An account that may read. The service notices.
    pub(crate) fn create_account(&self, name: &str, password: &str) {
        let file = self.dir.path().join("password");
        fs::write(&file, password).unwrap();
        let output = Command::new(binary())
            .args(["account", "create", name, "--role", "readonly", "--new-password-file"])
            .arg(&file)
            .arg("--dir")
            .arg(&self.told.dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Stops it in good order: it has to end well, to have had no failure of its own, to leave a hierarchy and an audit log that verify, and to
    /// have written down neither these secrets nor its account's password.
    pub(crate) fn stop<'a>(mut self, secrets: impl IntoIterator<Item = &'a str>) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let status = self.process.wait().unwrap();
        let log = log_of(&self.dir);
        assert!(status.success(), "{status}, after {log}");
        assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");

        let mut heard = Heard::default();
        heard.bytes(log.as_bytes());
        heard.bytes(&fs::read(self.told.dir.join("audit/audit.jsonl")).unwrap());
        let mut found = heard.find(secrets.into_iter().map(|secret| ("a secret", secret.as_bytes())));
        found.append(&mut heard.find([("the password", self.told.password.as_bytes())]));
        assert!(found.is_empty(), "{found:?} in what the service has written");
        for check in [&["verify"][..], &["audit", "verify"]] {
            let output = Command::new(binary()).args(check).arg("--dir").arg(&self.told.dir).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{check:?}: {}", String::from_utf8_lossy(&said));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

fn log_of(dir: &TempDir) -> String {
    let mut log = String::new();
    fs::File::open(dir.path().join("log")).unwrap().read_to_string(&mut log).unwrap();
    log
}

/// Cargo puts it beside the directory of this test.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().with_file_name("claviger");
    assert!(binary.exists(), "there is no {}: `cargo build --package claviger-cli` makes it", binary.display());
    binary
}
