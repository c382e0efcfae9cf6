//! `serve`, `account` and `audit`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Place, claviger, stderr};

const PASSWORD: &str = "a password of the tests";

fn with_hierarchy() -> Place {
    let place = Place::empty();
    place.done("init");
    place.write("password", PASSWORD);
    place
}

#[test]
fn accounts_are_made_listed_changed_and_deleted() {
    let place = with_hierarchy();
    place.done("account create alice --role admin --new-password-file password");
    let list = place.json("account create bob --role readonly --new-password-file password");
    let accounts: Vec<_> =
        list["accounts"].as_array().unwrap().iter().map(|one| (&one["name"], &one["role"])).collect();
    assert_eq!(accounts, [(&"alice".into(), &"admin".into()), (&"bob".into(), &"readonly".into())]);
    let file = place.dir().join("accounts.json");
    let before = std::fs::read_to_string(&file).unwrap();
    assert!(before.contains("$argon2id$") && !before.contains(PASSWORD));
    place.done("account set-password bob --new-password-file p");
    assert_ne!(std::fs::read_to_string(&file).unwrap(), before);
    assert_eq!(place.done("account delete alice"), "bob (readonly)\n");
    // Without a service to log in at, it is the new account's.
    place.done("account create carol --role admin --password-file password");
    place.done("account set-password carol --password-file p");
    place.refused("account set-password carol --password-file p --new-password-file p", 2);
    place.refused("account delete carol --password-file p", 2);
    place.refused("account create dave --role admin --password-file password --url https://127.0.0.1:1", 2);
}

#[test]
fn what_is_no_account_is_refused() {
    let place = with_hierarchy();
    place.write("short", "short");
    place.done("account create alice --role admin --new-password-file password");
    place.refused("account create alice --role admin --new-password-file password", 4);
    place.refused("account create bob --role admin --new-password-file short", 2);
    place.refused("account create bob --role admin --new-password-file nowhere", 3);
    place.refused("account create bob --role admin", 2);
    place.refused("account create a:b --role admin --new-password-file password", 2);
    place.refused("account delete bob", 3);
    // Whoever makes an account before the hierarchy would keep that from being made.
    let place = Place::empty();
    place.refused("account list", 3);
    place.done("init");
}

#[test]
fn an_audit_log_is_checked() {
    let place = with_hierarchy();
    place.refused("audit verify", 3);
    let path = place.dir().join("audit/audit.jsonl");
    let service = Service::start(&place.path("dev"));
    let dir = service.ready["dir"].as_str().unwrap().to_owned();
    service.stop();
    // What was given is what the other commands want.
    let given = place.path("dev");
    assert_eq!(Path::new(&dir), given.canonicalize().unwrap());
    for command in ["audit verify", "show"] {
        let output = claviger(command).arg("--dir").arg(&given).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let log = std::fs::read_to_string(Path::new(&dir).join("audit/audit.jsonl")).unwrap();
    std::fs::write(&path, &log).unwrap();
    let report = place.json("audit verify");
    assert_eq!((&report["entries"], &report["bad"]), (&2.into(), &Value::Null));
    let head = report["head"].as_str().unwrap();
    place.done(&format!("audit verify --head {head}"));
    place.refused("audit verify --head 12", 2);
    std::fs::write(&path, log.lines().next().unwrap().to_owned() + "\n").unwrap();
    place.done("audit verify");
    let output = place.claviger(&format!("audit verify --head {head}")).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    std::fs::write(&path, log.replace("started", "Started")).unwrap();
    let output = place.claviger("audit verify").output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("line 1 is not as it was written"));
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_told_at_once() {
    let place = with_hierarchy();
    place.write("config", "listen = 1\nlisten_at = 2\n");
    let told = stderr(&place.claviger("serve --config config").output().unwrap());
    for part in ["listen (", "listen_at (", "line 2"] {
        assert!(told.contains(part), "{told}");
    }
    place.refused("serve --config config", 2);
}

#[test]
fn a_service_to_try_things_on_says_where_it_is_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Service::command();
    command.env("TMPDIR", scratch.path());
    let service = Service::of(command);
    assert_eq!(service.ready["user"], "admin");
    assert_eq!(service.ready["pid"], service.child.id());
    assert!(service.ready["password"].as_str().unwrap().len() >= 16);
    assert!(Path::new(service.ready["ca"].as_str().unwrap()).exists());
    let address = service.ready["url"].as_str().unwrap().strip_prefix("https://").unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    service.stop();
    assert!(TcpStream::connect(&address).is_err());
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_configured_service_serves_the_hierarchy_and_has_it_to_itself() {
    let place = with_hierarchy();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("claviger"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--dir"]).arg(place.dir());
    command.env("CLAVIGER_LOG_FORMAT", "json").env_remove("CLAVIGER_LOG").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("the service listens") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the service has ended");
        let _: Value = serde_json::from_str(&line).unwrap();
    }
    place.refused("svm list", 7);
    // Signals are heard a moment after it listens: until then, the first one ends it all the same.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    child.wait().unwrap();
    place.done("svm list");
}

struct Service {
    child: std::process::Child,
    ready: Value,
}

impl Service {
    fn command() -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("claviger"));
        command.args(["serve", "--dev", "--json"]).env_remove("CLAVIGER_LOG");
        command
    }

    fn start(dir: &Path) -> Self {
        let mut command = Self::command();
        command.arg("--dir").arg(dir);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}
