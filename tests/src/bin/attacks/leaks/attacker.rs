//! The attacker: runs victims, stops them, looks at them, and searches what it saw.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use claviger_store::{Batch, StoreOptions, Table, open_store};
use claviger_wrap::{SystemRandom, fill};
use rustix::process::Pid;
use tempfile::TempDir;
use uuid::Uuid;

use super::barbican::tokens;
use super::confine::Memory;
use super::gdb;
use super::memory::Stopped;
use super::search::Search;
use super::verdict::{Look, State, Verdict};
use super::victim::Layout;
use crate::workload::Store;
use claviger_tests::secrets::Secrets;

/// One attack: what is known, and what was seen.
pub(super) struct Attacker {
    pub(super) memory: Memory,
    pub(super) store: Store,
    pub(super) has_gdb: bool,
    pub(super) scratch: TempDir,
    pub(super) layout: Layout,
    pub(super) secrets: Secrets,
    pub(super) verdict: Verdict,
    /// Seen, and not searched yet: the newest secrets are not known before the step is over.
    looks: Vec<Look>,
    /// What the key memory of the victims is, by name.
    pub(super) protection: Option<&'static str>,
    pub(super) pieces: usize,
    /// For the moments at which victims are stopped.
    random: u64,
}

impl Attacker {
    /// Makes the passphrases, each in a file.
    pub(super) fn new(memory: Memory, store: Store, has_gdb: bool) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let layout = Layout::new(scratch.path());
        let mut secrets = Secrets::new()?;
        for (name, len) in [("first", 40), ("second", 64), ("long", 72), ("longer", 200), ("wrong", 100)] {
            let passphrase = passphrase(len)?;
            fs::write(layout.passphrase(name), &passphrase)?;
            secrets.passphrase(&passphrase);
        }
        let mut seed = [0; 8];
        fill(&mut SystemRandom, &mut seed)?;
        Ok(Self {
            memory,
            store,
            has_gdb,
            scratch,
            layout,
            secrets,
            verdict: Verdict::default(),
            looks: Vec::new(),
            protection: None,
            pieces: 0,
            random: u64::from_ne_bytes(seed) | 1,
        })
    }

    /// Stops the process and looks at it. `false` where it has ended before.
    pub(super) fn look(&mut self, pid: u32, when: &str, state: State) -> Result<bool> {
        let pid = Pid::from_raw(i32::try_from(pid)?).context("no process id")?;
        let Some(stopped) = Stopped::stop(pid)? else { return Ok(false) };
        self.note_protection(&stopped)?;
        let image = stopped.read()?;
        let name = format!("look-{}-{}", self.verdict.looks, self.looks.len());
        let seen = match self.has_gdb {
            true => Some(gdb::look_at(stopped.id(), self.scratch.path(), &name)?),
            false => None,
        };
        let mappings = stopped.mappings.clone();
        self.looks.push(Look { when: when.to_owned(), state, mappings, image, seen });
        Ok(true)
    }

    fn note_protection(&mut self, stopped: &Stopped) -> Result<()> {
        for mapping in stopped.mappings.iter().filter(|mapping| mapping.is_key_memory) {
            let is_secret = mapping.name.starts_with("/secretmem");
            let protection = match (is_secret, mapping.is_locked) {
                (true, _) => "memfd_secret",
                (false, true) => "mlock",
                (false, false) => "unlocked",
            };
            ensure!(!is_secret || self.memory == Memory::Best, "memfd_secret was to be refused, and was not");
            let known = *self.protection.get_or_insert(protection);
            ensure!(known == protection, "one victim has {known} key memory, and another {protection}");
        }
        Ok(())
    }

    /// Learns the secrets of the hierarchies that there are by now, from copies, and searches all that was seen.
    pub(super) fn search(&mut self) -> Result<()> {
        let layout = self.layout.clone();
        for dir in layout.hierarchies() {
            if dir.join("store/store.json").exists() {
                let copy = layout.copy();
                copy_tree(&dir, &copy)?;
                self.secrets.learn_from(&copy)?;
            }
        }
        if layout.unattended().exists() {
            copy_tree(&layout.unattended(), &layout.copy())?;
        }
        self.search_known()
    }

    /// Searches all that was seen for what is known by now.
    pub(super) fn search_known(&mut self) -> Result<()> {
        let search = Search::new(&self.secrets)?;
        self.pieces = self.pieces.max(search.pieces());
        for look in self.looks.drain(..) {
            self.verdict.judge(&look, &search)?;
        }
        Ok(())
    }

    /// Learns the tokens that are in what was seen, wherever they are: in key memory, if it can be read, they may be.
    pub(super) fn learn_tokens(&mut self) {
        for token in self.looks.iter().flat_map(|look| tokens(&look.image)) {
            self.secrets.given("token", &token);
        }
    }

    /// As [`Attacker::search`], also for the schedules of these volumes' keys, which claviger itself never makes.
    pub(super) fn search_planted(&mut self, volumes: &[Uuid]) -> Result<()> {
        copy_tree(&self.layout.unattended(), &self.layout.copy())?;
        self.secrets.learn_from(&self.layout.copy())?;
        self.secrets.expand(volumes);
        self.search()
    }

    /// A copy of the unattended hierarchy in which every third key record of each SVM is damaged.
    pub(super) fn make_damaged(&self) -> Result<()> {
        let dir = self.layout.damaged();
        copy_tree(&self.layout.unattended(), &dir)?;
        let store = open_store(&dir.join("store"), &StoreOptions { reserve_bytes: 0, ..StoreOptions::default() })?;
        for entry in store.scan(Table::Keys, &[], None, usize::MAX)?.into_iter().step_by(3) {
            let mut value = entry.value;
            if let Some(last) = value.last_mut() {
                *last ^= 1;
            }
            store.commit(Batch::new().put(Table::Keys, entry.key, value))?;
        }
        Ok(())
    }

    /// A moment to wait, of at most `most`.
    pub(super) fn moment(&mut self, most: Duration) -> Duration {
        // xorshift64, Marsaglia 2003: moments need no better randomness.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        most.mul_f64((self.random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// The engine under attack.
pub(super) struct Engine {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What it says its key memory is.
    pub(super) protection: String,
}

impl Engine {
    pub(super) fn start(memory: Memory, store: Store, base: &Path) -> Result<Self> {
        let mut command = memory.command(&std::env::current_exe()?)?;
        command.args(["leaks", "victim", "--memory", memory.name(), "--store", store.name()]).arg(base);
        Self::run(command)
    }

    /// Runs a victim, and hears what its memory is.
    pub(super) fn run(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut engine = Self { child, stdin, stdout, protection: String::new() };
        engine.protection = engine.answer()?;
        Ok(engine)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn begin(&mut self, step: &str) -> Result<()> {
        Ok(writeln!(self.stdin, "{step}")?)
    }

    /// Says that it is enough, to a step that waits for it.
    pub(super) fn enough(&mut self) -> Result<()> {
        Ok(writeln!(self.stdin)?)
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        match self.answer()?.as_str() {
            "done" => Ok(()),
            answer => bail!("the victim said {answer:?}"),
        }
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line)? {
            0 => bail!("the victim has ended: {}", self.child.wait()?),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

fn passphrase(len: usize) -> Result<Vec<u8>> {
    const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; len];
    fill(&mut SystemRandom, &mut bytes)?;
    bytes.iter_mut().for_each(|byte| *byte = BASE64URL.get(usize::from(*byte & 0x3f)).copied().unwrap_or(b'A'));
    Ok(bytes)
}

/// Puts a copy of what is below `from` in the place of `to`.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_tree(&path, &target)?,
            false => drop(fs::copy(&path, &target)?),
        }
    }
    Ok(())
}
