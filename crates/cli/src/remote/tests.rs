//! Commands over a real connection: what they say is what they say over a directory, and who may do what.

mod lab;
mod parity;

use std::io::BufRead as _;

use claviger::KeyType;
use claviger_ontap::Role;
use claviger_server::{Background, Work};
use serde_json::{Value, json};

use self::lab::{Lab, PASSWORD, Said, until};
use crate::exit::Exit;

#[track_caller]
fn refused(said: &Said, exit: Exit, part: &str) {
    assert_eq!((said.exit, said.out.as_str()), (exit, ""), "{}", said.err);
    assert!(said.err.contains(part), "{part}: {}", said.err);
}

#[test]
fn a_reader_reads_and_changes_nothing() {
    let lab = Lab::with_svm();
    for command in
        ["svm list", "svm show vs0", "keystore list", "keystore show", "keystore check", "key list --svm vs0"]
    {
        assert_eq!(lab.remote_as("reader", command).exit, Exit::Done, "{command}");
    }
    for command in ["verify", "job list", "show", "kek show vs0"] {
        assert_eq!(lab.remote_as("reader", command).exit, Exit::Done, "{command}");
    }
    for command in [
        "svm create vs1",
        "svm delete vs0",
        "key create --svm vs0 --count 1",
        "rekey",
        "backup create",
        "kek restore --all",
        "keystore unlock --passphrase-file @p",
    ] {
        refused(&lab.remote_as("reader", command), Exit::Passphrase, "the account may only read");
    }
    assert_eq!(lab.engine().svms().len(), 2);
}

#[test]
fn a_reader_opens_no_locked_keystore() {
    let lab = Lab::locked();
    refused(&lab.remote_as("reader", "verify --passphrase-file @long"), Exit::Passphrase, "only read");
    assert!(lab.engine().keystore().unwrap().locked);
}

#[test]
fn a_secret_goes_out_when_it_is_asked_for_and_not_before() {
    let lab = Lab::locked();
    lab.forget();
    assert_eq!(lab.remote("key create --svm vs0 --count 3 --passphrase-file @long").exit, Exit::Done);
    let bodies = lab.bodies();
    let with_secrets: Vec<_> = bodies.iter().map(|body| body.contains("secrets")).collect();
    assert_eq!(with_secrets, [false, true]);

    // It is open now, and nobody has to open it again.
    lab.forget();
    assert_eq!(lab.remote("rekey --passphrase-file @missing").exit, Exit::Done);
    assert_eq!(lab.bodies().len(), 1);
}

#[test]
fn what_is_audited_says_what_was_asked_and_no_secret() {
    let lab = Lab::with_svm();
    lab.forget();
    lab.remote("svm rename vs0 archive");
    lab.remote("svm rename vs0 archive");
    lab.remote("keystore unlock --passphrase-file @p");
    lab.remote_as("reader", "svm delete archive");
    let audited = lab.audited();
    let seen: Vec<_> = audited.iter().map(|(seen, status)| (&*seen.what, seen.arguments.clone(), *status)).collect();
    assert_eq!(
        seen,
        [
            ("svm rename", json!({ "svm": { "rename": { "svm": "vs0", "name": "archive" } } }), 200),
            ("svm rename", json!({ "svm": { "rename": { "svm": "vs0", "name": "archive" } } }), 404),
            ("keystore unlock", json!({ "keystore": "unlock" }), 428),
            ("keystore unlock", json!({ "keystore": "unlock" }), 200),
            ("svm delete", json!({ "svm": { "delete": { "svm": "archive" } } }), 403),
        ]
    );
}

#[test]
fn who_is_not_known_or_not_sure_whom_it_talks_to_is_told() {
    let lab = Lab::with_svm();
    refused(&lab.remote_as("nobody", "show"), Exit::Passphrase, "refuses the account \"nobody\"");
    lab.write("word", "another word");
    let said = lab.claviger(&format!("show --url {} --user admin --password-file @word --url-ca @ca", lab.url()));
    refused(&said, Exit::Passphrase, "refuses the account \"admin\"");

    let hasty = lab.remote_as("hasty", "show");
    refused(&hasty, Exit::Passphrase, "looks at no password now: nothing was checked");
    assert!(hasty.err.contains("try again in 7 s"), "{}", hasty.err);

    // Another authority, and the system's.
    lab.write("other-ca", &lab::certificate().0);
    for ca in ["--url-ca @other-ca", ""] {
        let said = lab.claviger(&format!("show --url {} --user admin --password-file @password {ca}", lab.url()));
        refused(&said, Exit::Service, "does not prove that it is the one");
    }
    // The certificate does not name it so.
    let url = lab.url().replace("localhost", "127.0.0.1");
    let said = lab.claviger(&format!("show --url {url} --user admin --password-file @password --url-ca @ca"));
    refused(&said, Exit::Service, "does not prove that it is the one");
    assert!(lab.bodies().is_empty(), "a request went out");

    let said = lab.claviger("show --url https://localhost:1 --user admin --password-file @password --url-ca @ca");
    refused(&said, Exit::Service, "is not to be reached");
    let said = lab.claviger(&format!("show --url {} --user admin --url-ca @ca", lab.url()));
    refused(&said, Exit::Passphrase, "no password of the service's account was given");
}

#[test]
fn a_request_that_is_none_is_refused_as_the_api_does() {
    let lab = Lab::with_svm();
    let show = json!({ "interface": 1, "form": "json", "watched": false, "command": "show" });
    let with = |field: &str, value: Value| {
        let mut request = show.clone();
        request[field] = value;
        request.to_string()
    };
    for (body, target, part) in [
        (with("interface", json!(2)), json!("interface"), "speaks interface 2"),
        (with("command", json!("destroy")), Value::Null, "no request that this release knows"),
        (with("more", json!(1)), Value::Null, "no request that this release knows"),
        (with("command", json!({ "svm": { "list": { "all": true } } })), Value::Null, "line 1"),
        (with("command", json!({ "svm": { "create": { "name": "vs1", "x": 1 } } })), Value::Null, "line 1"),
        (with("secrets", json!({ "passphrase": "ABCD" })), json!("secrets"), "\"passphrase\" is no hex"),
        (with("secrets", json!({ "passphrase": "00".repeat(257) })), json!("secrets"), "too long"),
        (with("secrets", json!({ "word": "00" })), Value::Null, "no request that this release knows"),
        (with("form", json!("hunter2")), Value::Null, "no request that this release knows"),
        ("hunter2".to_owned(), Value::Null, "no request that this release knows"),
    ] {
        let (status, answer) = lab.post("admin", "application/json", &body);
        assert_eq!(
            (status, &answer["error"]["code"], &answer["error"]["target"]),
            (400, &json!("2"), &target),
            "{body}"
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(part) && !message.contains("hunter2"), "{body}: {message}");
    }
    let (status, answer) = lab.post("admin", "text/plain", &show.to_string());
    assert_eq!((status, &answer["error"]["target"]), (400, &json!("Content-Type")));
    let (status, _) = lab.post("admin", "application/json", &" ".repeat(3 << 20));
    assert_eq!(status, 413);
    // Whoever serves the router has forgotten to say who calls.
    let (status, answer) = lab.post("forgotten", "application/json", &show.to_string());
    assert_eq!((status, &answer["error"]["code"]), (401, &json!("6691623")));
}

#[test]
fn keys_are_made_until_the_client_goes_away() {
    let lab = Lab::with_svm();
    let command = json!({ "key": { "create-volumes": { "svm": "vs0", "count": u64::MAX, "algorithm": null } } });
    let request = json!({ "interface": 1, "form": "text", "watched": true, "command": command });
    lab.forget();
    let mut lines = lab.begin("admin", &request.to_string());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("counting"), "{line}");
    // It was answered before it ended.
    assert_eq!(lab.audited().first().unwrap().1, 202);
    let svm = lab.engine().svm_named("vs0").unwrap().id();
    let count = || lab.engine().count_keys(svm).unwrap().get(&KeyType::Vek).copied().unwrap_or_default();
    until(|| count() > 0);
    drop(lines);

    until(|| all_of(&lab).len() == Background::MOST);
    // What it was at is whole.
    assert_eq!(count() % 1_024, 0);
}

/// All the room that there is for commands of an administrator.
fn all_of(lab: &Lab) -> Vec<Work> {
    std::iter::from_fn(|| lab.commands().begin(Role::Admin)).collect()
}

#[test]
fn commands_beyond_their_limit_are_told_when_to_come_again() {
    let lab = Lab::with_svm();
    let readers: Vec<_> = std::iter::from_fn(|| lab.commands().begin(Role::ReadOnly)).collect();
    let busy = lab.remote_as("reader", "show");
    refused(&busy, Exit::Service, "runs as many commands as it takes");
    assert!(busy.err.contains("try again in 5 s"), "{}", busy.err);
    assert_eq!(lab.remote("show").exit, Exit::Done);
    let others = all_of(&lab);
    refused(&lab.remote("show"), Exit::Service, "runs as many commands as it takes");
    drop((readers, others));
    assert_eq!(lab.remote_as("reader", "show").exit, Exit::Done);
}

#[test]
fn a_profile_names_the_service_and_a_directory_goes_before() {
    let lab = Lab::with_svm();
    let url = lab.url();
    lab.write(
        "profiles",
        &format!("[default]\nurl = '{url}'\nuser = 'admin'\nca = 'ca'\npassword_file = 'password'\n"),
    );
    for command in ["svm list", "svm list --profile default"] {
        let said = lab.claviger(command);
        assert_eq!((said.exit, said.err.as_str()), (Exit::Done, ""), "{command}");
        assert!(said.out.contains("SVM vs0"));
    }
    // The directory of the service, which has it.
    refused(&lab.claviger("svm list --dir @served"), Exit::Node, "open");
    refused(&lab.claviger("svm list --profile other"), Exit::NotFound, "there is no profile \"other\"");
}

#[test]
fn what_names_two_places_or_half_of_one_is_refused() {
    let lab = Lab::with_svm();
    for (command, part) in [
        ("show --dir @x --url https://a --user b", "exclude each other"),
        ("--dir @x show --profile a", "exclude each other"),
        ("show --url https://a --user b --profile c", "exclude each other"),
        ("show --url https://a", "--user NAME is missing"),
        ("show --user b", "belong to --url"),
        ("show --dir @local --url-ca @ca", "belong to --url"),
        ("serve --url https://a --user b", "`claviger serve` is about this machine"),
        ("show --password-file @password", "belong to --url"),
        ("show --url https://a --user b --danger-accept-rollback", "which the service has done"),
        ("init --url https://a --user b", "`claviger init` is about this machine"),
        ("quickstart --profile a", "takes neither --url nor --profile"),
        ("backup verify --from x --profile a", "`claviger backup verify`"),
        ("backup restore --from x --url https://a", "`claviger backup restore`"),
        ("store copy --from a --to b --store redb --url https://a", "`claviger store copy`"),
        ("completions bash --url https://a", "`claviger completions`"),
    ] {
        refused(&lab.claviger(command), Exit::Request, part);
    }
}

#[test]
fn a_backup_that_was_made_over_the_network_is_one() {
    let lab = Lab::with_svm();
    lab.remote("key create --svm vs0 --count 5");
    assert_eq!(lab.remote("backup create --output @backup").exit, Exit::Done);
    let verified = lab.claviger("backup verify --from @backup --passphrase-file @p");
    assert_eq!(verified.exit, Exit::Done, "{}", verified.err);
    refused(&lab.remote("backup create --output @backup"), Exit::Taken, "exists already");
    assert!(!lab.bodies().concat().contains(PASSWORD));
}
