//! What no tracked file may contain. The forbidden words are put together from halves, so that this file passes too.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::steps::Outcome;
use crate::workspace::{Workspace, stdout_of};

/// Directories of the machines that this was written on: a path there means nothing anywhere else.
const FOREIGN_DIRECTORIES: [&str; 3] = ["work", "root", "farm"];

/// Names that only mean something on those machines.
const FOREIGN_NAMES: [&str; 2] = [concat!("../", "shared"), concat!(".", "library")];

/// The keyword that only `KEEPER_OF_KEYWORD` may use.
const KEYWORD: &str = concat!("un", "safe");
const KEEPER_OF_KEYWORD: &str = "crates/secret/";

/// The longest a Rust file may be, tests at its end not counted.
const MAX_LINES: usize = 600;

/// Reads every file that git tracks or would offer to track.
pub(crate) fn check(workspace: &Workspace) -> Result<Outcome> {
    if !workspace.path(".git").exists() {
        return Ok(Outcome::Skipped("not a git checkout, so there is no list of tracked files".to_owned()));
    }
    // In a container the checkout often belongs to another user; reading its file list does no harm.
    let trusted = format!("safe.directory={}", workspace.root().display());
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = stdout_of(workspace.command("git").args(["-c", &trusted]).args(words))?;

    let mut findings = Vec::new();
    for path in listed.split_terminator('\0') {
        let file = workspace.path(path);
        // A file deleted but not yet committed is still listed, and a link's target is read under its own name.
        if file.is_file() && !file.is_symlink() {
            let bytes = fs::read(&file).with_context(|| format!("cannot read {path}"))?;
            findings.extend(findings_in(path, &String::from_utf8_lossy(&bytes)));
        }
    }
    if !findings.is_empty() {
        bail!("what no tracked file may contain:\n{}", findings.join("\n"));
    }
    Ok(Outcome::Passed)
}

/// Each finding as `path:line: what is wrong`.
fn findings_in(path: &str, text: &str) -> Vec<String> {
    let is_rust = path.ends_with(".rs");
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut found = |what: String| findings.push(format!("{path}:{number}: {what}"));
        for directory in FOREIGN_DIRECTORIES.iter().filter(|directory| has_path_below(line, directory)) {
            found(format!("an absolute path below /{directory}"));
        }
        for name in FOREIGN_NAMES.iter().filter(|name| line.contains(**name)) {
            found(format!("`{name}`"));
        }
        if is_rust && !path.starts_with(KEEPER_OF_KEYWORD) && code_of(line).split(is_not_word).any(|w| w == KEYWORD) {
            found(format!("`{KEYWORD}` outside {KEEPER_OF_KEYWORD}"));
        }
    }
    let length = lines_before_tests(text);
    if is_rust && length > MAX_LINES {
        findings.push(format!("{path}: {length} lines without tests, more than {MAX_LINES}: split it"));
    }
    findings
}

/// Whether an absolute path below this top directory is named; the end of a longer path does not count.
fn has_path_below(line: &str, directory: &str) -> bool {
    let continues_a_path = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c));
    let below = format!("/{directory}/");
    line.match_indices(&below).filter_map(|(at, _)| line.get(..at)).any(|before| !continues_a_path(before))
}

/// The line without its comment.
fn code_of(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn is_not_word(c: char) -> bool {
    !c.is_alphanumeric() && c != '_'
}

/// Lines up to the module of tests that ends the file, or all of them.
fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let opens_tests = |pair: &[&str]| matches!(pair, [attribute, module] if *attribute == "#[cfg(test)]" && module.starts_with("mod ") && module.ends_with('{'));
    lines.windows(2).rposition(opens_tests).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_of_those_machines_are_found() {
        for directory in FOREIGN_DIRECTORIES {
            for line in ["/{}/x", "see /{}/x", "`/{}/x`", "file:///{}/x", "DIR=/{}/x", "-I/usr:/{}/x", ">/{}/x"] {
                let line = line.replace("{}", directory);
                assert_eq!(
                    findings_in("a.md", &line),
                    [format!("a.md:1: an absolute path below /{directory}")],
                    "{line}"
                );
            }
            for line in
                ["target/{}/x", "../{}/x", "~/{}/x", "${HOME}/{}/x", "https://example.org/{}/x", "/{}s/x", "/{}"]
            {
                let line = line.replace("{}", directory);
                assert_eq!(findings_in("a.md", &line), Vec::<String>::new(), "{line}");
            }
        }
    }

    #[test]
    fn names_of_those_machines_are_found() {
        for name in FOREIGN_NAMES {
            assert_eq!(findings_in("a.toml", &format!("\nx = \"{name}/y\"\n")), [format!("a.toml:2: `{name}`")]);
        }
    }

    #[test]
    fn the_keyword_is_found_in_code_alone() {
        let line = format!("    {KEYWORD} {{ read() }}");
        let finding = format!("crates/wrap/src/a.rs:1: `{KEYWORD}` outside crates/secret/");
        assert_eq!(findings_in("crates/wrap/src/a.rs", &line), [finding]);
        assert_eq!(findings_in("crates/secret/src/a.rs", &line), Vec::<String>::new());
        assert_eq!(findings_in("docs/a.md", &line), Vec::<String>::new());
        for line in [format!("// no {KEYWORD} code"), format!("#![forbid({KEYWORD}_code)]"), format!("un_{KEYWORD}()")]
        {
            assert_eq!(findings_in("crates/wrap/src/a.rs", &line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn length_is_counted_up_to_the_tests() {
        let tests = "#[cfg(test)]\nmod tests {\n    fn more() {}\n}\n";
        let full = "fn f() {}\n".repeat(MAX_LINES);
        assert_eq!(findings_in("a.rs", &format!("{full}{tests}")), Vec::<String>::new());
        let finding = "a.rs: 601 lines without tests, more than 600: split it";
        assert_eq!(findings_in("a.rs", &format!("fn f() {{}}\n{full}{tests}")), [finding]);
        // What is for tests but further up hides nothing of what follows it.
        assert_eq!(findings_in("a.rs", &format!("#[cfg(test)]\n{full}")), [finding]);
        assert_eq!(findings_in("a.rs", &format!("{tests}{full}{tests}")).len(), 1);
        assert_eq!(findings_in("a.md", &full.repeat(2)), Vec::<String>::new());
    }
}
