//! Help, the version, and completions.

use crate::support::{Place, claviger, stdout};

const COMMANDS: &[&str] = &[
    "quickstart",
    "init",
    "svm create",
    "svm show",
    "svm list",
    "svm rename",
    "svm delete",
    "keystore create onboard",
    "keystore create barbican",
    "keystore list",
    "keystore show",
    "keystore check",
    "keystore enable",
    "keystore switch",
    "keystore update",
    "keystore disable",
    "keystore delete",
    "keystore passphrase",
    "keystore unlock",
    "key create",
    "key list",
    "key show",
    "key delete",
    "key rotate begin",
    "key rotate finish",
    "rekey",
    "migrate",
    "kek show",
    "kek restore",
    "verify",
    "backup create",
    "backup verify",
    "backup restore",
    "store copy",
    "job list",
    "job show",
    "job wait",
    "job cancel",
    "show",
    "account create",
    "account list",
    "account set-password",
    "account delete",
    "audit verify",
    "completions",
];

/// Runs until it is told to stop.
const SERVICE: &str = "serve";

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in COMMANDS.iter().chain([&SERVICE]) {
        let output = claviger(&format!("{command} --help")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}");
        let help = stdout(&output);
        assert!(help.contains(&format!("Example:\n  claviger {command}")), "{command}: {help}");
        assert!(help.contains("--dir <D>") && help.contains("--json"), "{command}");
    }
}

#[test]
fn an_example_is_accepted_as_it_stands() {
    for command in COMMANDS {
        let help = stdout(&claviger(&format!("{command} --help")).output().unwrap());
        let examples = help.split("Example:\n").nth(1).unwrap().lines();
        for example in examples.map_while(|line| line.strip_prefix("  claviger ")) {
            // What the shell takes for itself.
            let example = example.split(" >").next().unwrap();
            let place = Place::empty();
            let example = example.replace("/var/lib/claviger", place.path("no-hierarchy").to_str().unwrap());
            let output = claviger(&example).current_dir(place.path("")).env("TMPDIR", place.path("")).output().unwrap();
            // Most find no hierarchy, which is told after the arguments have been read.
            assert!([Some(0), Some(3)].contains(&output.status.code()), "{example}: {output:?}");
        }
    }
}

#[test]
fn the_groups_list_their_commands() {
    for group in
        ["", "svm", "keystore", "keystore create", "key", "key rotate", "kek", "backup", "job", "account", "audit"]
    {
        let listed = stdout(&claviger(&format!("{group} --help")).output().unwrap());
        let prefix = if group.is_empty() { String::new() } else { format!("{group} ") };
        let below = COMMANDS.iter().filter_map(|command| command.strip_prefix(&prefix));
        for command in below.filter_map(|rest| rest.split_whitespace().next()) {
            assert!(listed.lines().any(|line| line.trim_start().starts_with(command)), "{group}: {command}");
        }
    }
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let help = stdout(&claviger("--help").output().unwrap());
    for code in 0..=9 {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{code}: {help}");
    }
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = claviger(&format!("completions {shell}")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("quickstart"), "{shell}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(stdout(&claviger("--version").output().unwrap()), concat!("claviger ", env!("CARGO_PKG_VERSION"), "\n"));
}
