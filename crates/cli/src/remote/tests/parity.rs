//! Every command over a directory and over the network, side by side: standard output, standard error and exit code are the same,
//! byte by byte, but for what is random, and for times.

use std::collections::BTreeMap;

use super::lab::{Lab, Said};
use crate::exit::Exit;

/// In this order on one hierarchy. What fails is told by its exit code.
const STORY: &[(&str, Exit)] = &[
    ("svm list", Exit::Done),
    ("svm create vs1", Exit::Done),
    ("svm create vs1", Exit::Taken),
    ("svm rename vs1 archive", Exit::Done),
    ("svm rename vs1 archive", Exit::NotFound),
    ("svm show vs0", Exit::Done),
    ("rekey --svm vs0", Exit::Request),
    ("keystore list", Exit::Done),
    ("keystore list --svm nope", Exit::NotFound),
    ("keystore show", Exit::Done),
    ("keystore show vs0/nope", Exit::NotFound),
    ("keystore create onboard --passphrase-file @p", Exit::Taken),
    ("key create --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Done),
    ("key create --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Taken),
    ("key create --svm vs0 --aggregate 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --algorithm aes-256", Exit::Done),
    ("key create --svm vs0 --drive 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Done),
    ("key create --svm vs0 --count 1500", Exit::Done),
    ("key create --svm nope --count 1", Exit::NotFound),
    ("key show --svm vs0 --drive 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Done),
    ("key show --svm archive --drive 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::NotFound),
    ("key list --svm vs0 --type aggregate", Exit::Done),
    ("key list --svm vs0 --type drive --limit 1", Exit::Done),
    ("key list --svm archive", Exit::Done),
    ("key rotate begin --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Done),
    ("key rotate begin --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Taken),
    ("rekey --svm vs0", Exit::Done),
    ("rekey", Exit::Done),
    ("key rotate finish --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Done),
    ("key delete --svm vs0 --aggregate 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::Done),
    ("key delete --svm vs0 --aggregate 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::NotFound),
    ("svm delete vs0", Exit::Request),
    ("svm delete archive", Exit::Done),
    ("kek show vs0", Exit::Done),
    ("kek show nope", Exit::NotFound),
    ("kek restore --all", Exit::Done),
    ("job list", Exit::Done),
    ("job show 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::NotFound),
    ("job wait 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::NotFound),
    ("job cancel 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::NotFound),
    ("verify", Exit::Done),
    ("show", Exit::Done),
    ("backup create --output @backup", Exit::Done),
    ("backup create --output @no/such/dir", Exit::NotFound),
    ("keystore unlock", Exit::Passphrase),
    ("keystore unlock --passphrase-file @p", Exit::Done),
    ("keystore unlock --passphrase-file @missing", Exit::NotFound),
    ("keystore unlock --passphrase-file @other", Exit::Passphrase),
    ("keystore passphrase --passphrase-file @p", Exit::Passphrase),
    ("keystore passphrase --passphrase-file @p --new-passphrase-file @p", Exit::Request),
    ("keystore passphrase --passphrase-file @p --new-passphrase-file @other", Exit::Done),
    ("keystore unlock --passphrase-file @other", Exit::Done),
    ("CREATE", Exit::Request),
    ("CREATE --credential-file @p", Exit::Done),
    ("CREATE --credential-file @p", Exit::Taken),
    ("CREATE --credential-file @p --proxy http://me@proxy:1", Exit::Request),
    ("CREATE --credential-file @p --ca @missing", Exit::NotFound),
    // Before its keeper was asked: a service remembers what came of it.
    ("keystore show vs0/barbican", Exit::Done),
    ("keystore check vs0/barbican", Exit::Keeper),
    ("keystore enable vs0/barbican", Exit::Keeper),
    ("keystore enable vs0/barbican --migrate", Exit::Keeper),
    ("keystore update vs0/barbican", Exit::Request),
    ("keystore update vs0/barbican --timeout 3", Exit::Keeper),
    ("keystore switch --svm vs0 --to vs0/barbican", Exit::Keeper),
    ("migrate --svm vs0 --to vs0/barbican", Exit::NotFound),
    ("rekey --svm vs0 --external https://127.0.0.1:1/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a", Exit::NotFound),
    ("keystore disable vs0/barbican", Exit::Request),
    ("keystore delete vs0/barbican", Exit::Done),
];

/// At a Barbican that does not answer.
const CREATE: &str = "keystore create barbican --svm vs0 barbican \
     --key-id https://127.0.0.1:1/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a \
     --keystone-url https://127.0.0.1:1/v3 --credential-id me --danger-no-verify";

fn story(form: &str) {
    let lab = Lab::with_svm();
    let mut sides = [Side::default(), Side::default()];
    for (command, exit) in STORY {
        let command = format!("{}{form}", command.replace("CREATE", CREATE));
        let remove = || std::fs::remove_file(lab.path("backup")).unwrap_or_default();
        remove();
        let local = lab.local(&command);
        remove();
        let remote = lab.remote(&command);
        assert_eq!(local.exit, *exit, "{command}: {local:?}");
        let [here, there] = &mut sides;
        assert_eq!(here.plain(local), there.plain(remote), "{command}");
    }
}

#[test]
fn as_text_every_command_says_the_same() {
    story("");
}

#[test]
fn as_json_every_command_says_the_same() {
    story(" --json");
}

#[test]
fn a_locked_keystore_says_the_same() {
    for form in ["", " --json"] {
        let lab = Lab::locked();
        let mut sides = [Side::default(), Side::default()];
        for command in [
            "keystore show",
            "show",
            "key create --svm vs0 --count 1",
            "key create --svm nope --count 1",
            "rekey",
            "rekey --svm vs0 --passphrase-file @missing",
            "verify",
            "backup create",
            "rekey --passphrase-file @long",
        ] {
            let command = format!("{command}{form}");
            let [here, there] = &mut sides;
            assert_eq!(here.plain(lab.local(&command)), there.plain(lab.remote(&command)), "{command}");
        }
    }
}

#[test]
fn what_is_damaged_is_told_alike() {
    for form in ["", " --json"] {
        let lab = Lab::damaged();
        let mut sides = [Side::default(), Side::default()];
        for (command, exit) in [("verify", Exit::Damage), ("key list --svm vs0", Exit::Damage), ("show", Exit::Done)] {
            let command = format!("{command}{form}");
            let local = lab.local(&command);
            assert_eq!(local.exit, exit, "{command}: {local:?}");
            let [here, there] = &mut sides;
            assert_eq!(here.plain(local), there.plain(lab.remote(&command)), "{command}");
        }
    }
}

/// What is random on one side, by when it was seen first.
#[derive(Default)]
struct Side(BTreeMap<String, usize>);

impl Side {
    fn plain(&mut self, said: Said) -> Said {
        Said { exit: said.exit, out: self.text(&said.out), err: self.text(&said.err) }
    }

    fn text(&mut self, text: &str) -> String {
        text.split_inclusive('\n').map(|line| self.line(line)).collect()
    }

    fn line(&mut self, line: &str) -> String {
        let mut plain = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            let is_word = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            plain += &self.word(word);
            let next = behind.find(is_word).unwrap_or(behind.len());
            plain += &behind[..next];
            rest = &behind[next..];
        }
        // Ages, times, and the key memory of one process or the other.
        match [" ago", "slots", " ms ", "\"milliseconds\"", "accepted in"].iter().any(|part| plain.contains(part)) {
            true => plain.replace(|c: char| c.is_ascii_digit(), ""),
            false => plain,
        }
    }

    fn word(&mut self, word: &str) -> String {
        const CHOSEN: &str = "5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a";
        let bare = word.trim_end_matches([':', '.', '-']);
        let is_hex = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_time = |text: &str| text.len() >= 20 && text.starts_with("20") && text.ends_with('Z');
        let seen = self.0.len();
        match bare {
            CHOSEN => word.to_owned(),
            uuid if uuid::Uuid::try_parse(uuid).is_ok() || is_hex(uuid) => {
                let number = self.0.entry(uuid.to_owned()).or_insert(seen);
                word.replace(uuid, &format!("#{number}"))
            }
            time if is_time(time) => word.replace(time, "TIME"),
            _ => word.to_owned(),
        }
    }
}
