//! The `claviger` program under attack: real commands, stopped in the middle.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::attacker::{Attacker, copy_tree};
use super::search::Search;
use super::verdict::State;

/// When a command is stopped.
#[derive(Clone, Copy)]
enum Moment {
    /// When a line of its log has this in it.
    Logged(&'static str),
    /// At a random moment within so many milliseconds.
    Within(u64),
}

/// It makes a passphrase, and shows it on standard error, once.
const QUICKSTART: &str = "quickstart --keys 500";
const SHOWN: &str = "onboard passphrase (shown once";

/// A command's words, which hierarchy it works on, and when it is stopped.
const COMMANDS: [(&str, &str, Moment); 10] = [
    (QUICKSTART, "quickstart", Moment::Logged(SHOWN)),
    ("key create --svm vs0 --count 3000", "unattended", Moment::Within(120)),
    ("rekey --svm vs0", "unattended", Moment::Logged("rekey begins")),
    ("rekey --svm vs0", "unattended", Moment::Logged("progress")),
    ("keystore unlock --passphrase-file second", "unattended", Moment::Within(120)),
    ("keystore passphrase --passphrase-file second --new-passphrase-file first", "unattended", Moment::Within(250)),
    ("verify --passphrase-file longer", "common-criteria", Moment::Within(150)),
    ("verify", "unattended", Moment::Within(60)),
    ("backup create --output cli.backup", "unattended", Moment::Within(40)),
    ("backup restore --from cli.backup --keys-from copy --passphrase-file first", "restored", Moment::Within(200)),
];

/// Runs each command, looks at it while it is stopped, and lets it end.
pub(super) fn attack(attacker: &mut Attacker, claviger: &Path) -> Result<()> {
    for (words, hierarchy, moment) in COMMANDS {
        let base = attacker.scratch.path().to_owned();
        if words.starts_with("backup restore") {
            fs::remove_dir_all(attacker.layout.restored())?;
            copy_tree(&attacker.layout.unattended(), &attacker.layout.copy())?;
        }
        let mut command = attacker.memory.command(claviger)?;
        command.args(words.split(' ')).args(["--dir", hierarchy]).current_dir(&base);
        command.env("CLAVIGER_LOG", "claviger=trace").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::start(command)?;
        match moment {
            Moment::Logged(part) => running.await_log(part)?,
            Moment::Within(millis) => thread::sleep(attacker.moment(Duration::from_millis(millis))),
        }
        let name = words.split(" --").next().unwrap_or(words);
        attacker.look(running.child.id(), &format!("claviger {name}"), State::Busy)?;
        let (succeeded, mut said) = running.end()?;
        ensure!(succeeded, "claviger {words}: {}", String::from_utf8_lossy(&said));
        if words == QUICKSTART {
            said = learn_shown(attacker, &said)?;
        }
        attacker.search()?;
        let found = Search::new(&attacker.secrets)?.find(&said).len();
        ensure!(found == 0, "claviger {words} said {found} pieces of a secret");
    }
    Ok(())
}

/// Learns the passphrase that was shown, and returns the rest of what was said.
fn learn_shown(attacker: &mut Attacker, said: &[u8]) -> Result<Vec<u8>> {
    let (shown, rest): (Vec<_>, Vec<_>) =
        said.split_inclusive(|byte| *byte == b'\n').partition(|line| line.starts_with(SHOWN.as_bytes()));
    let line = String::from_utf8(shown.concat())?;
    let (_, passphrase) = line.rsplit_once(": ").context("quickstart showed no passphrase")?;
    attacker.secrets.passphrase(passphrase.trim_end().as_bytes());
    Ok(rest.concat())
}

struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    said: Vec<u8>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().context("cannot run claviger")?;
        let log = BufReader::new(child.stderr.take().context("no standard error")?);
        Ok(Self { child, log, said: Vec::new() })
    }

    /// Reads the log up to such a line, or to its end.
    fn await_log(&mut self, part: &str) -> Result<()> {
        loop {
            let before = self.said.len();
            if self.log.read_until(b'\n', &mut self.said)? == 0 {
                return Ok(());
            }
            let line = self.said.get(before..).unwrap_or_default();
            if String::from_utf8_lossy(line).contains(part) {
                return Ok(());
            }
        }
    }

    /// Whether it succeeded, and all that it said.
    fn end(mut self) -> Result<(bool, Vec<u8>)> {
        self.log.read_to_end(&mut self.said)?;
        let mut stdout = self.child.stdout.take().context("no standard output")?;
        stdout.read_to_end(&mut self.said)?;
        Ok((self.child.wait()?.success(), self.said))
    }
}

/// The program, built beside this one: by `cargo xtask leaks`.
pub(super) fn claviger() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let claviger = own.with_file_name("claviger");
    ensure!(claviger.exists(), "{} is missing; start this with `cargo xtask leaks`", claviger.display());
    // A symbol of its allocator: no command waits with nothing to do, so that it could be seen to wipe as the victims can.
    let program = fs::read(&claviger)?;
    let wipes = program.windows(ALLOCATOR.len()).any(|window| window == ALLOCATOR);
    ensure!(wipes, "{} does not wipe what it frees", claviger.display());
    Ok(claviger)
}

const ALLOCATOR: &[u8] = b"zeroizing_alloc";
