//! The steps of `cargo xtask test`: one table, and what each step does.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::attack::run_attack;
use crate::workspace::{Workspace, run, stdout_of};
use crate::{fuzz, tools, tree};

/// One step: a name for `--only`, a heading, and the work.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Workspace) -> Result<Outcome>,
}

/// How a step ended, if it did not fail.
pub(crate) enum Outcome {
    Passed,
    /// It cannot be done on this machine; the reason says what is missing.
    Skipped(String),
}

/// Every step, in the order in which they run: what fails quickly comes first.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "tree", about: "what no tracked file may contain", run: tree::check },
    Step { name: "fmt", about: "formatting", run: fmt },
    Step { name: "clippy", about: "lints, warnings are errors", run: clippy },
    Step { name: "deny", about: "banned packages, licences, sources", run: deny },
    Step { name: "advisories", about: "known vulnerabilities of dependencies", run: advisories },
    Step { name: "test", about: "unit, integration and documentation tests", run: test },
    Step { name: "doc", about: "documentation, warnings are errors", run: doc },
    Step { name: "features", about: "each library without its default features", run: features },
    Step { name: "msrv", about: "one rust-version, and no dependency asks for more", run: msrv },
    Step { name: "msrv-build", about: "the workspace compiles with that Rust", run: msrv_build },
    Step { name: "fuzz", about: "the fuzz targets find nothing in 5 seconds each", run: fuzz },
    Step { name: "bench", about: "benchmarks compile", run: bench },
    Step { name: "quickstart", about: "the release binary makes, rekeys and verifies keys", run: quickstart },
    Step { name: "crash", about: "a process under load is killed, over and over", run: crash },
    Step { name: "powerloss", about: "the power is cut below both stores", run: powerloss },
    Step { name: "leaks", about: "no key in memory, core dumps or output", run: leaks },
];

fn fmt(workspace: &Workspace) -> Result<Outcome> {
    run(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed)
}

fn clippy(workspace: &Workspace) -> Result<Outcome> {
    let words = ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    run(&mut workspace.cargo(words))?;
    Ok(Outcome::Passed)
}

fn deny(workspace: &Workspace) -> Result<Outcome> {
    let cargo_deny = tools::cargo_deny(workspace)?;
    // Licences are read from every package's source, also those that this platform does not compile.
    run(&mut workspace.cargo(["fetch", "--locked"]))?;
    let words = ["--offline", "--locked", "--all-features", "check", "bans", "licenses", "sources"];
    run(workspace.command(cargo_deny).args(words))?;
    Ok(Outcome::Passed)
}

/// `deny.toml` gives the same variable to cargo-deny.
const ADVISORY_DB: &str = "CLAVIGER_ADVISORY_DB";

fn advisories(workspace: &Workspace) -> Result<Outcome> {
    let Some(databases) = env::var_os(ADVISORY_DB) else {
        return Ok(Outcome::Skipped(format!("no advisory database ({ADVISORY_DB} is not set, see deny.toml)")));
    };
    if !Path::new(&databases).is_absolute() || !Path::new(&databases).is_dir() {
        bail!("{ADVISORY_DB} must be the absolute path of a directory, and {databases:?} is not");
    }
    let cargo_deny = tools::cargo_deny(workspace)?;
    run(&mut workspace.cargo(["fetch", "--locked"]))?;
    run(workspace.command(cargo_deny).args(["--offline", "--locked", "--all-features", "check", "advisories"]))?;
    Ok(Outcome::Passed)
}

fn test(workspace: &Workspace) -> Result<Outcome> {
    let python = tools::python(workspace)?;
    let mut command = workspace.cargo(["test", "--workspace", "--all-features", "--locked"]);
    run(command.env("CLAVIGER_PYTHON", python))?;
    Ok(Outcome::Passed)
}

fn doc(workspace: &Workspace) -> Result<Outcome> {
    let mut command = workspace.cargo(["doc", "--workspace", "--no-deps", "--all-features", "--locked"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed)
}

fn features(workspace: &Workspace) -> Result<Outcome> {
    // One at a time: checked together, one package would turn on what another lacks.
    for library in libraries(&workspace.metadata(["--no-deps"])?)? {
        run(&mut workspace.cargo(["check", "--package", &library, "--no-default-features", "--locked"]))?;
    }
    Ok(Outcome::Passed)
}

/// The published packages that have a library.
fn libraries(metadata: &Value) -> Result<Vec<String>> {
    let is_library = |target: &Value| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"lib".into()));
    let packages = packages(metadata)?.iter().filter(|package| package["publish"].is_null());
    packages
        .filter(|package| package["targets"].as_array().is_some_and(|targets| targets.iter().any(is_library)))
        .map(|package| name_of(package).map(str::to_owned))
        .collect()
}

fn msrv(workspace: &Workspace) -> Result<Outcome> {
    // Without the filter, what only other systems compile would be asked too.
    let platforms = ["--filter-platform", "x86_64-unknown-linux-gnu", "--filter-platform", "aarch64-unknown-linux-gnu"];
    let declared = declared_rust_version(&workspace.metadata(["--no-deps"])?)?;
    dependencies_accept(&declared, &workspace.metadata(platforms)?)?;
    Ok(Outcome::Passed)
}

/// The `rust-version` that every member declares.
fn declared_rust_version(metadata: &Value) -> Result<String> {
    let mut declared = None;
    for package in packages(metadata)? {
        let name = name_of(package)?;
        let own = package["rust_version"].as_str().with_context(|| format!("{name} declares no rust-version"))?;
        let (first, version) = *declared.get_or_insert((name, own));
        if own != version {
            bail!("{name} declares rust-version {own}, {first} declares {version}: inherit both from the workspace");
        }
    }
    declared.map(|(_, version)| version.to_owned()).context("the workspace has no packages")
}

/// Fails on the first dependency that needs a newer Rust than the workspace promises to work with.
fn dependencies_accept(declared: &str, metadata: &Value) -> Result<()> {
    let ours = rust_version(declared)?;
    for package in packages(metadata)? {
        if let Some(theirs) = package["rust_version"].as_str()
            && rust_version(theirs)? > ours
        {
            bail!("{} needs Rust {theirs}, the workspace promises {declared}", name_of(package)?);
        }
    }
    Ok(())
}

/// `1.90` or `1.90.0`, to be compared.
fn rust_version(text: &str) -> Result<(u32, u32, u32)> {
    let mut numbers = text.splitn(3, '.').map(str::parse);
    let mut next = || numbers.next().unwrap_or(Ok(0)).with_context(|| format!("`{text}` is not a Rust version"));
    Ok((next()?, next()?, next()?))
}

fn msrv_build(workspace: &Workspace) -> Result<Outcome> {
    let version = declared_rust_version(&workspace.metadata(["--no-deps"])?)?;
    let installed = stdout_of(workspace.command("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let Some(toolchain) = toolchain_of(&version, &installed) else {
        let reason = format!("Rust {version} is not installed (rustup toolchain install {version})");
        return Ok(Outcome::Skipped(reason));
    };
    let words = ["run", toolchain, "cargo", "check", "--workspace", "--all-features", "--locked"];
    run(workspace.command("rustup").args(words))?;
    Ok(Outcome::Passed)
}

/// The toolchain of this version, any patch level, in what `rustup toolchain list` prints.
fn toolchain_of<'a>(version: &str, installed: &'a str) -> Option<&'a str> {
    let names = installed.lines().filter_map(|line| line.split_whitespace().next());
    let of_version = |name: &&str| name.strip_prefix(version).is_some_and(|rest| rest.starts_with(['.', '-']));
    names.into_iter().find(of_version)
}

fn fuzz(workspace: &Workspace) -> Result<Outcome> {
    fuzz::check(workspace)?;
    fuzz::run_targets(workspace, fuzz::SECONDS, &[])?;
    Ok(Outcome::Passed)
}

fn bench(workspace: &Workspace) -> Result<Outcome> {
    // Whoever measures builds them optimised; that takes minutes, and finds nothing more.
    run(&mut workspace.cargo(["check", "--package", "claviger-benches", "--all-targets", "--locked"]))?;
    Ok(Outcome::Passed)
}

const QUICKSTART_KEYS: u64 = 1000;

fn quickstart(workspace: &Workspace) -> Result<Outcome> {
    let keys = QUICKSTART_KEYS.to_string();
    let quickstart = ["--", "quickstart", "--keys", &keys, "--json"];
    // Built first and shown, because the second command is silent.
    run(&mut workspace.cargo(["build", "--release", "--locked"]))?;
    let printed = stdout_of(workspace.cargo(["run", "--quiet", "--release", "--locked"]).args(quickstart))?;
    all_keys_came_through(&printed)?;
    Ok(Outcome::Passed)
}

/// Checks the counts of `claviger quickstart --json`.
fn all_keys_came_through(printed: &str) -> Result<()> {
    let report: Value = serde_json::from_str(printed).with_context(|| format!("quickstart printed `{printed}`"))?;
    for count in ["keys", "rekeyed", "verified"] {
        if report.get(count).and_then(Value::as_u64) != Some(QUICKSTART_KEYS) {
            bail!("quickstart was to report `{count}` as {QUICKSTART_KEYS}, and reported {report}");
        }
    }
    Ok(())
}

fn packages(metadata: &Value) -> Result<&Vec<Value>> {
    metadata["packages"].as_array().context("`cargo metadata` names no packages")
}

fn name_of(package: &Value) -> Result<&str> {
    package["name"].as_str().context("`cargo metadata` has a package without a name")
}

/// The short forms: the long ones are commands of their own.
const SHORT: &[&str] = &[];

fn crash(workspace: &Workspace) -> Result<Outcome> {
    run_attack(workspace, "crash", SHORT)?;
    Ok(Outcome::Passed)
}

fn powerloss(workspace: &Workspace) -> Result<Outcome> {
    run_attack(workspace, "powerloss", SHORT)?;
    Ok(Outcome::Passed)
}

fn leaks(workspace: &Workspace) -> Result<Outcome> {
    run_attack(workspace, "leaks", SHORT)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_steps_share_a_name() {
        let names: BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }

    #[test]
    fn libraries_are_the_published_ones() {
        let package = |name: &str, kind: &str, publish: Value| json!({ "name": name, "publish": publish, "targets": [{ "kind": [kind] }, { "kind": ["test"] }] });
        let metadata = json!({ "packages": [
            package("store", "lib", Value::Null),
            package("cli", "bin", Value::Null),
            package("benches", "lib", json!([])),
        ] });
        assert_eq!(libraries(&metadata).unwrap(), ["store"]);
    }

    #[test]
    fn members_agree_on_the_rust_version() {
        let metadata = |second: Value| {
            json!({ "packages": [
                { "name": "store", "rust_version": "1.90" },
                { "name": "cli", "rust_version": second },
            ] })
        };
        assert_eq!(declared_rust_version(&metadata(json!("1.90"))).unwrap(), "1.90");
        let error = declared_rust_version(&metadata(json!("1.89"))).unwrap_err().to_string();
        assert!(error.starts_with("cli declares rust-version 1.89, store declares 1.90"), "{error}");
        let error = declared_rust_version(&metadata(Value::Null)).unwrap_err().to_string();
        assert_eq!(error, "cli declares no rust-version");
    }

    #[test]
    fn a_dependency_may_not_need_a_newer_rust() {
        let metadata = |version: Value| json!({ "packages": [{ "name": "dependency", "rust_version": version }] });
        for accepted in [json!("1.90.0"), json!("1.9"), json!("1"), Value::Null] {
            dependencies_accept("1.90", &metadata(accepted)).unwrap();
        }
        for refused in ["1.90.1", "1.100", "2"] {
            let error = dependencies_accept("1.90", &metadata(json!(refused))).unwrap_err().to_string();
            assert_eq!(error, format!("dependency needs Rust {refused}, the workspace promises 1.90"));
        }
    }

    #[test]
    fn a_toolchain_is_found_at_any_patch_level() {
        let installed = "stable-x86_64-unknown-linux-gnu (active, default)\n1.9.0-x86_64-unknown-linux-gnu\n\
                         1.90.0-x86_64-unknown-linux-gnu\n";
        assert_eq!(toolchain_of("1.90", installed), Some("1.90.0-x86_64-unknown-linux-gnu"));
        assert_eq!(toolchain_of("1.90", "1.90-x86_64-unknown-linux-gnu\n"), Some("1.90-x86_64-unknown-linux-gnu"));
        assert_eq!(toolchain_of("1.91", installed), None);
        assert_eq!(toolchain_of("1.9", "1.90.0-x86_64-unknown-linux-gnu\n"), None);
        assert_eq!(toolchain_of("1.90", ""), None);
    }

    #[test]
    fn every_quickstart_count_matters() {
        all_keys_came_through(r#"{"keys":1000,"rekeyed":1000,"verified":1000,"seconds":0.5}"#).unwrap();
        for printed in [
            r#"{"keys":1000,"rekeyed":1000,"verified":999}"#,
            r#"{"keys":1000,"rekeyed":0,"verified":1000}"#,
            r#"{"keys":"1000","rekeyed":1000,"verified":1000}"#,
            r#"{"keys":1000,"verified":1000}"#,
            "1000 keys",
            "",
        ] {
            assert!(all_keys_came_through(printed).is_err(), "{printed}");
        }
    }
}
