//! gdb: where each thread is, and core dumps, which hold the registers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The function of `claviger-secret` below whose frame the stack is overwritten when it returns.
const BURNED: &str = "burned";
/// How far, as in `claviger-secret`.
const BURN: u64 = 32 * 1024;

/// Whether gdb is there to be run.
pub(super) fn is_there() -> bool {
    Command::new("gdb").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// What gdb sees of a stopped process.
pub(super) struct Seen {
    /// The threads in the middle of a use of a key, and the part of their stacks that will be overwritten.
    pub(super) burning: BTreeMap<i32, Range<u64>>,
    /// A core dump as the kernel would write it.
    pub(super) core: PathBuf,
    /// One with all that can be read, also what was asked to be left out.
    pub(super) full_core: PathBuf,
}

/// Attaches to process `pid`, and lets it go again. The dumps are written to `dir`.
pub(super) fn look_at(pid: i32, dir: &Path, name: &str) -> Result<Seen> {
    let core = dir.join(format!("{name}.core"));
    let full_core = dir.join(format!("{name}.full"));
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", &pid.to_string()])
        .args(["-ex", "set print frame-arguments none", "-ex", "set backtrace limit 200"])
        .args(["-ex", "thread apply all -s frame apply all p/x $sp"])
        .args(["-ex", "set use-coredump-filter on", "-ex", &format!("generate-core-file {}", core.display())])
        .args(["-ex", "set use-coredump-filter off", "-ex", "set dump-excluded-mappings on"])
        .args(["-ex", &format!("generate-core-file {}", full_core.display()), "-ex", "detach"])
        .output()
        .context("cannot run gdb")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !core.exists() || !full_core.exists() {
        bail!("gdb made no core dump: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(Seen { burning: burning(&said)?, core, full_core })
}

/// Has process `pid` never use memory again that it frees, so that a copy which was freed and not wiped stays to be found:
/// `free` returns at once. What `realloc` moves away from is used again all the same.
pub(super) fn keep_freed(pid: i32) -> Result<()> {
    // What glibc's `free` is called where others cannot be meant.
    let (kind, code) = match std::env::consts::ARCH {
        "x86_64" => ("unsigned char", "0xc3"),
        "aarch64" => ("unsigned int", "0xd65f03c0"),
        other => bail!("how a function returns on {other} is not known here"),
    };
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", &pid.to_string()])
        .args(["-ex", &format!("set {{{kind}}} &__libc_free = {code}")])
        .args(["-ex", &format!("p/x *({kind} *) &__libc_free"), "-ex", "detach"])
        .output()
        .context("cannot run gdb")?;
    match String::from_utf8_lossy(&output.stdout).lines().any(|line| line == format!("$1 = {code}")) {
        true => Ok(()),
        false => bail!("gdb cannot change the process: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// The threads with a frame of `burned`, from what gdb printed: for each thread a heading with its LWP, for each frame a line
/// and the stack pointer in it.
fn burning(said: &str) -> Result<BTreeMap<i32, Range<u64>>> {
    let mut burning: BTreeMap<i32, Range<u64>> = BTreeMap::new();
    let (mut thread, mut is_burned, mut frames) = (None, false, 0);
    for line in said.lines() {
        if line.starts_with("Thread ") {
            thread = line.split_once("LWP ").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
        } else if line.starts_with('#') {
            is_burned = function(line) == BURNED;
            frames += 1;
        } else if let (true, Some((_, pointer))) = (line.starts_with('$'), line.split_once(" = 0x")) {
            if let (true, Some(Some(lwp))) = (is_burned, thread) {
                let pointer = u64::from_str_radix(pointer.trim(), 16)?;
                // Of nested ones, the innermost, which comes first, reaches deepest, and the outermost highest.
                let part = burning.entry(lwp.parse()?).or_insert(pointer.saturating_sub(BURN)..pointer);
                part.end = pointer;
            }
            is_burned = false;
        }
    }
    match frames {
        0 => bail!("gdb saw no thread"),
        _ => Ok(burning),
    }
}

/// The function of a frame, without its path and parameters: `#1  0x5501 in a::b<C> (...) at d.rs:1` is one of `b`.
fn function(frame: &str) -> &str {
    let name = frame.trim_start_matches(|c: char| c == '#' || c.is_ascii_digit()).trim_start();
    let name = name.split_once(" in ").filter(|(address, _)| address.starts_with("0x")).map_or(name, |(_, name)| name);
    let name = name.split(['<', ' ']).next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_burning_frames_overwrite_is_told_for_each_thread() {
        let said = "
Thread 2 (Thread 0x7f1 (LWP 102) \"rekey\"):
#0  0x00005500 in aes::encrypt ()
$1 = 0x7f0000000800
#1  apart<(), claviger_secret::clear::burned::{closure_env#0}<(), claviger_wrap::kek::closure>> (...) at clear.rs:38
$2 = 0x7f0000000900
#2  0x00005501 in claviger_secret::clear::burned<(), closure> (...) at crates/secret/src/clear.rs:30
$3 = 0x7f0000009000
#3  burned<(), closure> (...)
$4 = 0x7f0000009800
#4  0x00005502 in claviger::rekey::run ()
$5 = 0x7f000000a000

Thread 1 (Thread 0x7f2 (LWP 101) \"main\"):
#0  0x00005503 in read ()
$6 = 0x7fff00000000
";
        assert_eq!(burning(said).unwrap(), BTreeMap::from([(102, 0x7f00_0000_1000..0x7f00_0000_9800)]));
        assert!(burning("ptrace: Operation not permitted.").is_err());
    }
}
