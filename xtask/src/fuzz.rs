//! The fuzz targets: built with the stable compiler's own coverage instrumentation, and run for a while each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, run, stdout_of};

/// How long each target runs where nothing else is said, as in the tests that every change must pass.
pub(crate) const SECONDS: u64 = 5;

/// What `-Cpasses` takes is no promise of the compiler's, but stable accepts it: each edge counted, each comparison shown.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Below it everything that fuzzing makes: programs, inputs found, logs and findings.
const TARGET_DIR: &str = "target/fuzz";

/// How every target is run. The memory that an input may take is counted in the checks themselves, as libFuzzer's own
/// limit of single allocations needs a sanitizer; these are nets below that.
const LIMITS: [&str; 3] = ["-rss_limit_mb=1024", "-timeout=20", "-print_final_stats=1"];

/// The longest input: several times the longest seed.
const MAX_LEN: &str = "-max_len=4096";

/// The target that drives the engine: 64 instructions of four bytes, and long inputs from the beginning.
const STATEFUL: (&str, [&str; 2]) = ("engine", ["-max_len=256", "-len_control=0"]);

/// Runs the chosen targets, or all, for so many seconds each, as many at a time as there are processors.
pub(crate) fn run_targets(workspace: &Workspace, seconds: u64, chosen: &[String]) -> Result<()> {
    let targets = targets(workspace)?;
    if let Some(unknown) = chosen.iter().find(|name| !targets.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; there are {}", targets.join(", "));
    }
    let chosen: Vec<_> = targets.iter().filter(|name| chosen.is_empty() || chosen.contains(name)).collect();
    let programs = build(workspace)?;

    let started = Instant::now();
    let waiting = Mutex::new(chosen.iter().rev());
    let work = || {
        let mut done = Vec::new();
        while let Some(name) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) {
            let session = session(workspace, &programs, name, seconds)?;
            println!("{session}");
            done.push(session);
        }
        Ok(done)
    };
    let processors = thread::available_parallelism()?.get();
    let sessions = thread::scope(|scope| -> Result<Vec<Session>> {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a thread panicked")));
        Ok(done.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })?;
    conclude(&sessions, started.elapsed().as_secs())
}

/// Formatting and lints of what is not in the workspace.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    run(&mut workspace.cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    let mut clippy = workspace.cargo(["clippy"]);
    run(instrumented(&mut clippy, &host(workspace)?).args(["--", "-D", "warnings"]))
}

/// The names of all targets.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let entries = fs::read_dir(workspace.path("fuzz/targets")).context("cannot read fuzz/targets")?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_string_lossy().strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; returns where they are.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let host = host(workspace)?;
    run(instrumented(&mut workspace.cargo(["build"]), &host))?;
    Ok(workspace.path(TARGET_DIR).join(host).join("release"))
}

/// With `--target`, so that what runs while building is not instrumented.
fn instrumented<'a>(cargo: &'a mut std::process::Command, host: &str) -> &'a mut std::process::Command {
    cargo.env("RUSTFLAGS", INSTRUMENTED).env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.args(["--manifest-path", "fuzz/Cargo.toml", "--locked", "--release", "--target", host]);
    cargo.args(["--target-dir", TARGET_DIR])
}

fn host(workspace: &Workspace) -> Result<String> {
    Ok(stdout_of(workspace.command("rustc").args(["--print", "host-tuple"]))?.trim().to_owned())
}

/// What became of one target.
struct Session {
    name: String,
    executions: u64,
    coverage: u64,
    corpus: u64,
    finding: Option<String>,
}

fn session(workspace: &Workspace, programs: &Path, name: &str, seconds: u64) -> Result<Session> {
    let made = |kind: &str| -> Result<PathBuf> {
        let dir = workspace.path(TARGET_DIR).join(kind).join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    };
    let (corpus, findings, log) = (made("corpus")?, made("findings")?, made("logs")?.join("log"));
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = workspace.command(programs.join(name));
    // New inputs go where the first directory is.
    command.arg(corpus).arg(workspace.path("fuzz/seeds").join(name));
    command.args(LIMITS).arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", findings.display()));
    match STATEFUL {
        (stateful, flags) if stateful == name => command.args(flags),
        _ => command.arg(MAX_LEN),
    };
    let dictionary = workspace.path("fuzz/dictionaries").join(format!("{name}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let status =
        command.stdout(output.try_clone()?).stderr(output).status().with_context(|| format!("cannot run {name}"))?;
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let told = Told::of(&String::from_utf8_lossy(&text));
    let finding = match (status.success(), told.input) {
        (true, _) if told.coverage == 0 => Some("ran without coverage: is it instrumented?".to_owned()),
        (true, _) => None,
        (false, Some(input)) => Some(format!("again with {} {input}", programs.join(name).display())),
        (false, None) => Some(format!("ended with {status}; see {}", log.display())),
    };
    Ok(Session {
        name: name.to_owned(),
        executions: told.executions,
        coverage: told.coverage,
        corpus: told.corpus,
        finding,
    })
}

/// What a target's log tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    executions: u64,
    coverage: u64,
    corpus: u64,
    /// The path of the input that made it fail.
    input: Option<String>,
}

impl Told {
    fn of(log: &str) -> Self {
        let mut told = Self::default();
        for line in log.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let after = |label: &str| {
                let at = words.iter().position(|word| *word == label)?;
                words.get(at + 1)?.split('/').next()?.parse().ok()
            };
            if line.starts_with('#') {
                told.coverage = after("cov:").unwrap_or(told.coverage);
                told.corpus = after("corp:").unwrap_or(told.corpus);
            }
            told.executions = after("stat::number_of_executed_units:").unwrap_or(told.executions);
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                told.input = Some(path.trim().to_owned());
            }
        }
        told
    }
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, executions, coverage, corpus, finding } = self;
        write!(f, "{name:18} {executions:10} executions, coverage {coverage:5}, {corpus:5} inputs")?;
        finding.iter().try_for_each(|finding| write!(f, "\n  FOUND: {finding}"))
    }
}

/// One line with the sums, and a failure where there is a finding.
fn conclude(sessions: &[Session], seconds: u64) -> Result<()> {
    let sum = |count: fn(&Session) -> u64| sessions.iter().map(count).sum::<u64>();
    let (targets, findings) = (sessions.len(), sessions.iter().filter(|session| session.finding.is_some()).count());
    let (executions, corpus) = (sum(|session| session.executions), sum(|session| session.corpus));
    println!(
        "fuzz: {targets} targets, {executions} executions, {corpus} inputs kept, {findings} findings, {seconds} seconds"
    );
    if findings > 0 {
        bail!("fuzzing found something; mend it, and keep the input as a seed (fuzz/README.md says how)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_counts_and_the_input_that_failed() {
        let log = "INFO: seed corpus: files: 9\n#10\tINITED cov: 80 ft: 80 corp: 2/2b exec/s: 0 rss: 27Mb\n\
                   #1024\tpulse  cov: 82 ft: 91 corp: 12/240b lim: 11 exec/s: 341 rss: 27Mb\n\
                   stat::number_of_executed_units: 1971\n";
        let told = Told { executions: 1971, coverage: 82, corpus: 12, input: None };
        assert_eq!(Told::of(log), told);
        let failed = format!("{log}artifact_prefix='/a/'; Test unit written to /a/crash-1f\nBase64: AA==\n");
        assert_eq!(Told::of(&failed), Told { input: Some("/a/crash-1f".to_owned()), ..told });
        assert_eq!(Told::of("INFO: Seed: 1\nERROR: no interesting inputs were found\n"), Told::default());
    }

    #[test]
    fn one_finding_fails_the_run() {
        let session = |finding| Session { name: "svm_name".to_owned(), executions: 1, coverage: 1, corpus: 1, finding };
        conclude(&[session(None)], 1).unwrap();
        assert!(conclude(&[session(None), session(Some("again with".to_owned()))], 1).is_err());
    }
}
