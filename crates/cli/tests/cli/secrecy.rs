//! No command says a byte of a secret, whatever it does and however talkative it is asked to be.

use std::collections::BTreeSet;
use std::fs;

use claviger::store::{Batch, Store as _};
use claviger::{SledStore, StoreOptions, Table};
use claviger_tests::heard::Heard;
use claviger_tests::secrets::Secrets;

use crate::refusals::REFUSED;
use crate::support::{Place, UUID, copy};

/// Done in this order on one hierarchy, but for those that a `!` marks, which fail.
const STORY: &[&str] = &[
    "init",
    "!init",
    "!backup create",
    "keystore create onboard --passphrase-file p",
    "keystore show",
    "svm create vs0",
    "svm list",
    "key create --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
    "key create --svm vs0 --aggregate 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
    "key create --svm vs0 --count 20",
    "key list --svm vs0",
    "key show --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
    "key rotate begin --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
    "rekey",
    "key rotate finish --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
    "keystore unlock --passphrase-file p",
    "!keystore unlock --passphrase-file other",
    "!keystore unlock",
    "!keystore unlock --passphrase-file missing",
    "keystore passphrase --passphrase-file p --new-passphrase-file other",
    "!keystore passphrase --passphrase-file other --new-passphrase-file other",
    "backup create --output backup",
    "backup create",
    "key delete --svm vs0 --aggregate 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a",
    "svm rename vs0 archive",
    "job list",
    "show",
    "verify",
    "svm rename archive vs0",
];

/// The same with a keystore of an SVM, whose keeper nobody answers for.
const KEYSTORES: &[&str] = &[
    "keystore create barbican --svm vs0 barbican --key-id https://127.0.0.1:1/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a \
     --keystone-url https://127.0.0.1:1/v3 --credential-id id --credential-file credential \
     --proxy http://user@127.0.0.1:1 --proxy-password-file proxy --danger-no-verify",
    "keystore list",
    "keystore show vs0/barbican",
    "!keystore check vs0/barbican",
    "!keystore enable vs0/barbican",
    "!keystore update vs0/barbican --credential-id other --credential-file proxy",
    "svm show vs0",
    "kek restore --all",
    "job list",
    "keystore delete vs0/barbican",
];

struct Run {
    place: Place,
    heard: Heard,
    secrets: Secrets,
}

impl Run {
    /// With passphrases that no message shares a word with.
    fn new() -> Self {
        let place = Place::empty();
        let mut secrets = Secrets::new().unwrap();
        for name in ["p", "other", "long"] {
            let id = || uuid::Uuid::new_v4().simple().to_string();
            let passphrase = if name == "long" { id() + &id() } else { id() };
            place.write(name, &passphrase);
            secrets.passphrase(passphrase.as_bytes());
        }
        Self { place, heard: Heard::default(), secrets }
    }

    /// Runs a command.
    fn say(&mut self, words: &str, succeeds: bool, as_json: bool) {
        let mut command = self.place.claviger(words);
        if as_json {
            command.arg("--json");
        }
        let output = command.env("CLAVIGER_LOG", "trace").output().unwrap();
        self.heard.bytes(&output.stdout);
        self.heard.bytes(&output.stderr);
        assert_eq!(output.status.success(), succeeds, "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command, and learns what the hierarchy holds then.
    fn run(&mut self, words: &str, succeeds: bool, as_json: bool) {
        self.say(words, succeeds, as_json);
        if succeeds && self.place.path("h/store/sled").exists() {
            self.secrets.learn_from(&self.place.dir()).unwrap();
        }
    }

    fn check(self) {
        let secrets = self.secrets.all().map(|secret| (secret.name.as_str(), secret.forms[0].1.as_slice()));
        assert!(secrets.clone().count() > 10);
        assert_eq!(self.heard.find(secrets), BTreeSet::new());
    }
}

#[test]
fn no_command_says_a_secret() {
    for as_json in [false, true] {
        let mut run = Run::new();
        for words in STORY {
            let bare = words.strip_prefix('!');
            run.run(bare.unwrap_or(words), bare.is_none(), as_json);
        }
        for (words, _, _) in REFUSED {
            run.run(words, false, as_json);
        }
        assert!(run.heard.contains("the rekey is complete") && run.heard.contains("passphrase changed"));

        // Records that are damaged are quoted by none.
        copy(&run.place.dir(), &run.place.path("copy"));
        for table in [Table::Keys, Table::Keks, Table::Svms, Table::Keystores, Table::Node] {
            fs::remove_dir_all(run.place.dir()).unwrap();
            copy(&run.place.path("copy"), &run.place.dir());
            damage(&run.place, table);
            for words in [
                "verify",
                "show",
                "rekey",
                "key list --svm vs0",
                "backup create",
                "keystore unlock --passphrase-file other",
            ] {
                let mut command = run.place.claviger(words);
                let output = command.args(as_json.then_some("--json")).env("CLAVIGER_LOG", "trace").output().unwrap();
                run.heard.bytes(&output.stdout);
                run.heard.bytes(&output.stderr);
            }
        }
        run.check();
    }
}

#[test]
fn keystores_of_svms_say_no_secret_either() {
    for as_json in [false, true] {
        let mut run = Run::new();
        run.run("init", true, as_json);
        run.run("keystore create onboard --passphrase-file p", true, as_json);
        run.run("svm create vs0", true, as_json);
        run.run("key create --svm vs0 --count 20", true, as_json);
        for name in ["credential", "proxy"] {
            let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            run.place.write(name, &secret);
            run.secrets.learn_key(name, secret.as_bytes()).unwrap();
        }
        for words in KEYSTORES {
            let bare = words.strip_prefix('!');
            run.say(bare.unwrap_or(words), bare.is_none(), as_json);
        }
        assert!(run.heard.contains("Barbican keystore created"));
        run.check();
    }
}

#[test]
fn common_criteria_mode_says_no_secret_either() {
    let mut run = Run::new();
    run.run("init", true, false);
    run.run("keystore create onboard --common-criteria --passphrase-file p", false, false);
    run.run("keystore create onboard --common-criteria --passphrase-file long", true, false);
    run.run("svm create vs0 --passphrase-file long", true, true);
    run.run(&format!("key create --svm vs0 --volume {UUID} --passphrase-file long"), true, false);
    run.run(&format!("key create --svm vs0 --drive {UUID}"), false, true);
    run.run("verify --passphrase-file long", true, true);
    run.run("rekey --passphrase-file long", true, false);
    run.run("backup create --passphrase-file long", true, true);
    run.run("keystore unlock --passphrase-file other", false, false);
    run.run("keystore unlock --passphrase-file long", false, true);
    run.check();
}

/// It shows the passphrase that it makes on standard error, once, and nowhere else.
#[test]
fn quickstart_shows_its_passphrase_once() {
    let mut run = Run::new();
    let output = run.place.claviger("quickstart --keys 50 --json").env("CLAVIGER_LOG", "trace").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let (shown, rest): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.starts_with("onboard passphrase ("));
    let [shown] = shown[..] else { panic!("{shown:?}") };
    run.secrets.passphrase(shown.rsplit_once(": ").unwrap().1.as_bytes());
    run.secrets.learn_from(&run.place.dir()).unwrap();
    run.heard.bytes(rest.join("\n").as_bytes());
    run.heard.bytes(&output.stdout);
    run.check();
}

/// Changes the last byte of every record of a table.
fn damage(place: &Place, table: Table) {
    let store = SledStore::open(&place.dir().join("store"), &StoreOptions::default()).unwrap();
    for entry in store.scan(table, &[], None, usize::MAX).unwrap() {
        let mut value = entry.value;
        *value.last_mut().unwrap() ^= 1;
        store.commit(Batch::new().put(table, entry.key, value)).unwrap();
    }
}
