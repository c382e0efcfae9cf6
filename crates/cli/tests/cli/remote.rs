//! Commands through the daemon itself.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{OTHER_PASSPHRASE, PASSPHRASE, Place, UUID, claviger, stderr, stdout};

/// A service of its own, and a profile that leads there.
struct Daemon {
    place: Place,
    process: Child,
    url: String,
    ca: String,
}

impl Daemon {
    fn start() -> Self {
        let place = Place::empty();
        let mut process = Command::new(env!("CARGO_BIN_EXE_claviger"))
            .args(["serve", "--dev", "--json", "--dir"])
            .arg(place.dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let [url, user, password, ca] = ["url", "user", "password", "ca"].map(|field| ready[field].as_str().unwrap());
        place.write("word", password);
        fs::set_permissions(place.path("word"), fs::Permissions::from_mode(0o600)).unwrap();
        place.write(
            "profiles",
            &format!("[default]\nurl = '{url}'\nuser = '{user}'\nca = '{ca}'\npassword_file = 'word'\n"),
        );
        let (url, ca) = (url.to_owned(), ca.to_owned());
        Self { place, process, url, ca }
    }

    fn claviger(&self, args: &str) -> assert_cmd::Command {
        let mut command = claviger(args);
        command.current_dir(self.place.path("")).env("CLAVIGER_PROFILE_FILE", self.place.path("profiles"));
        command
    }

    #[track_caller]
    fn json(&self, args: &str) -> Value {
        let output = self.claviger(&format!("{args} --json")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    }

    #[track_caller]
    fn refused(&self, args: &str, exit: i32, part: &str) {
        let output = self.claviger(args).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(exit), ""), "{args}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{args}: {}", stderr(&output));
    }

    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        drop(self.process.wait());
    }
}

#[test]
fn an_operator_runs_a_hierarchy_from_afar() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.json("keystore create onboard --passphrase-file p")["mode"], "unattended");
    daemon.json("svm create vs0");
    daemon.json(&format!("key create --svm vs0 --volume {UUID}"));
    assert_eq!(daemon.json("key create --svm vs0 --count 1500")["created"], 1500);
    assert_eq!(daemon.json("rekey --svm vs0")["kek_version"], 2);
    daemon.json("keystore passphrase --passphrase-file p --new-passphrase-file other");
    assert_eq!(daemon.json("verify")["opened"], 1501);
    assert_eq!(daemon.json("key list --svm vs0")["keys"].as_array().unwrap().len(), 1501);
    daemon.json("backup create --output backup");
    daemon.refused("svm create vs0", 4, "exists already");
    let shown = daemon.json("show");
    assert_eq!(shown["svms"][1]["keys"]["volume"], 1501);

    daemon.stop();
    let hierarchy = daemon.place.dir();
    let verified = daemon.json("backup verify --from backup --keys-from h --passphrase-file other");
    assert_eq!((&verified["opened"], &verified["findings"]), (&json!(1501), &json!([])));
    daemon.refused("show", 9, "is not to be reached");

    // Who asked for what is written down, and no secret.
    let audit = format!("audit verify --dir {}", hierarchy.display());
    assert_eq!(daemon.json(&audit)["bad"], Value::Null);
    let log = fs::read_to_string(hierarchy.join("audit/audit.jsonl")).unwrap();
    for what in ["svm create", "key create", "rekey", "keystore passphrase", "backup create"] {
        assert!(log.contains(&format!("\"what\":\"{what}\"")), "{what}: {log}");
    }
    for secret in [PASSPHRASE, OTHER_PASSPHRASE].map(|word| [word.to_owned(), to_hex(word)]).as_flattened() {
        assert!(!log.contains(secret));
    }
}

#[test]
fn a_stop_ends_what_makes_keys_without_end() {
    let mut daemon = Daemon::start();
    daemon.json("keystore create onboard --passphrase-file p");
    daemon.json("svm create vs0");
    let making = Command::new(env!("CARGO_BIN_EXE_claviger"))
        .args(["key", "create", "--svm", "vs0", "--count", "1000000000"])
        .current_dir(daemon.place.path(""))
        .env("CLAVIGER_PROFILE_FILE", daemon.place.path("profiles"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while daemon.json("show")["svms"][1]["keys"]["volume"].as_u64().unwrap_or_default() == 0 {}
    let begun = Instant::now();
    daemon.stop();
    assert!(begun.elapsed() < Duration::from_secs(20), "it was not asked to end");
    let made = making.wait_with_output().unwrap();
    assert_eq!(made.status.code(), Some(9));
    assert!(stderr(&made).contains("the service stops, and the command with it"), "{}", stderr(&made));
}

fn to_hex(word: &str) -> String {
    word.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_password_is_taken_from_files_and_descriptors_alone() {
    let daemon = Daemon::start();
    daemon.place.write("wrong", "another word");
    let named = format!("svm list --url {} --user admin --url-ca {}", daemon.url, daemon.ca);
    let password = fs::read_to_string(daemon.place.path("word")).unwrap();
    let mut piped = daemon.claviger(&format!("{named} --password-fd 0"));
    piped.write_stdin(password.clone()).assert().success();
    daemon.refused(&format!("{named} --password-file wrong"), 5, "refuses the account");
    daemon.refused(&named, 5, "no password of the service's account was given");
    daemon.refused(&format!("{named} --password {password}"), 2, "unexpected argument");
    let in_url = daemon.url.replace("https://", "https://admin:hunter2@");
    let output = daemon.claviger(&format!("svm list --url {in_url} --user admin")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
}
