//! A hierarchy in a directory of its own, and commands on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PASSPHRASE: &str = "correct horse battery staple, twice over";
pub(crate) const OTHER_PASSPHRASE: &str = "another horse battery staple, twice over";
pub(crate) const LONG_PASSPHRASE: &str = "sixty-four characters and more, as the mode of Common Criteria has it";

/// The object of most keys here.
pub(crate) const UUID: &str = "5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a";

/// The binary, with arguments that are separated by blanks.
pub(crate) fn claviger(args: &str) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("claviger"));
    command.args(args.split_whitespace()).env_remove("CLAVIGER_LOG");
    // Nobody's own profiles.
    command.env_remove("CLAVIGER_PROFILE").env("CLAVIGER_PROFILE_FILE", "/dev/null");
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A pipe that nobody reads any more.
pub(crate) fn closed_pipe() -> PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

/// A directory for a hierarchy and files beside it.
pub(crate) struct Place {
    root: TempDir,
}

impl Place {
    /// Nothing is made yet.
    pub(crate) fn empty() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.write("p", PASSPHRASE);
        place.write("other", OTHER_PASSPHRASE);
        place.write("long", LONG_PASSPHRASE);
        place
    }

    /// A hierarchy with a keystore and the SVM vs0, which has no keys yet.
    pub(crate) fn with_svm() -> Self {
        let place = Self::empty();
        place.done("init");
        place.done("keystore create onboard --passphrase-file p");
        place.done("svm create vs0");
        place
    }

    /// The hierarchy's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.path("h")
    }

    /// A file beside it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A command on the hierarchy. It runs beside it, so that files there need no path.
    pub(crate) fn claviger(&self, args: &str) -> Command {
        let mut command = claviger(args);
        command.current_dir(self.root.path()).arg("--dir").arg(self.dir());
        command
    }

    /// What a command prints that does what was asked.
    #[track_caller]
    pub(crate) fn done(&self, args: &str) -> String {
        let output = self.claviger(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
        stdout(&output)
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn json(&self, args: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{args} --json"))).unwrap()
    }

    /// What a command says that fails with this exit code. It fails in the same way as JSON and as text, and prints
    /// nothing on standard output.
    #[track_caller]
    pub(crate) fn refused(&self, args: &str, exit: i32) -> String {
        let text = self.claviger(args).output().unwrap();
        let json = self.claviger(args).arg("--json").output().unwrap();
        let message = stderr(&text);
        for output in [&text, &json] {
            assert_eq!(output.status.code(), Some(exit), "{args}: {}", stderr(output));
            assert_eq!(stdout(output), "", "{args}");
        }
        let last = stderr(&json);
        let error: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
        assert_eq!(error["error"]["exit_code"], exit, "{args}");
        assert!(error["error"]["message"].is_string() && error["error"]["advice"].is_string(), "{error}");
        assert!(message.contains("error: "), "{args}: {message}");
        message
    }

    /// Every file below the hierarchy's directory, with its bytes.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.dir())
    }
}

/// Every file below `dir`, with its bytes.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => drop(all.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    all
}

/// Copies everything below `from` into a new directory `to`.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}
