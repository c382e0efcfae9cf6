//! A stopped process as any debugger sees it: its mappings, and what can be read of them.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// One mapping, as in proc_pid_smaps(5).
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub(super) range: Range<u64>,
    pub(super) name: String,
    readable: bool,
    /// Left out of core dumps and of children: what `claviger-secret` does to its slabs, and nothing else does.
    pub(super) is_key_memory: bool,
    pub(super) is_locked: bool,
}

/// A stopped process. It goes on when this is dropped.
pub(super) struct Stopped {
    pid: Pid,
    pub(super) mappings: Vec<Mapping>,
}

impl Stopped {
    /// Stops the process; `None` where it ends before it stops.
    pub(super) fn stop(pid: Pid) -> Result<Option<Self>> {
        kill_process(pid, Signal::STOP)?;
        let mut stopped = Self { pid, mappings: Vec::new() };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let states = stopped.thread_states()?;
            if states.is_empty() || states.iter().any(|state| matches!(state, 'Z' | 'X')) {
                return Ok(None);
            }
            if states.iter().all(|state| *state == 'T') {
                break;
            }
            if Instant::now() > deadline {
                bail!("process {pid:?} does not stop: its threads are {states:?}");
            }
            thread::sleep(Duration::from_micros(200));
        }
        stopped.mappings = mappings(&fs::read_to_string(stopped.file("smaps"))?)?;
        Ok(Some(stopped))
    }

    pub(super) fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.id()))
    }

    /// The state of each thread, as in proc_pid_stat(5).
    fn thread_states(&self) -> Result<Vec<char>> {
        let Ok(tasks) = fs::read_dir(self.file("task")) else { return Ok(Vec::new()) };
        let mut states = Vec::new();
        for task in tasks {
            // A thread that has ended meanwhile is none.
            let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
            let (_, fields) = stat.rsplit_once(')').context("a stat file without a name")?;
            states.extend(fields.trim_start().chars().next());
        }
        Ok(states)
    }

    /// All that /proc/PID/mem gives.
    pub(super) fn read(&self) -> Result<Image> {
        let memory = File::open(self.file("mem")).context("cannot read the memory of the process")?;
        let mut image = Image { parts: Vec::new(), bytes: 0, unreadable_key_memory: 0, key_memory: 0 };
        for mapping in self.mappings.iter().filter(|mapping| mapping.readable) {
            let mut bytes = vec![0; usize::try_from(mapping.range.end - mapping.range.start)?];
            let mut unreadable = 0;
            for (page, at) in bytes.chunks_mut(PAGE).zip((mapping.range.start..).step_by(PAGE)) {
                match memory.read_exact_at(page, at) {
                    Ok(()) => {}
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => unreadable += page.len() as u64,
                    Err(error) => return Err(error.into()),
                }
            }
            if mapping.is_key_memory {
                image.key_memory += bytes.len() as u64;
                image.unreadable_key_memory += unreadable;
            }
            image.bytes += bytes.len() as u64;
            // Reserved and never used, or unreadable.
            if bytes.iter().any(|byte| *byte != 0) {
                image.parts.push((mapping.range.start, bytes));
            }
        }
        Ok(image)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Where it has ended, there is nothing to go on.
        kill_process(self.pid, Signal::CONT).unwrap_or_default();
    }
}

const PAGE: usize = 4096;

/// What could be read of a process.
pub(super) struct Image {
    /// Address and bytes.
    pub(super) parts: Vec<(u64, Vec<u8>)>,
    /// All bytes, also of parts that are left out because they are zeros.
    pub(super) bytes: u64,
    pub(super) key_memory: u64,
    pub(super) unreadable_key_memory: u64,
}

fn mappings(smaps: &str) -> Result<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let has = |flag| flags.split_whitespace().any(|word| word == flag);
            if let Some(mapping) = mappings.last_mut() {
                mapping.is_key_memory = has("dd") && has("dc");
                mapping.is_locked = has("lo");
            }
        } else if let Some(mapping) = header(line) {
            mappings.push(mapping);
        }
    }
    match mappings.is_empty() {
        false => Ok(mappings),
        true => bail!("the process has no mappings"),
    }
}

/// The first line of a mapping: `start-end perms offset device inode name`.
fn header(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let range = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
    let readable = words.next()?.starts_with('r');
    let name = words.skip(3).collect::<Vec<_>>().join(" ");
    Some(Mapping { range, name, readable, is_key_memory: false, is_locked: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read_with_their_flags() {
        let smaps = "\
55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]
Rss:                 132 kB
VmFlags: rd wr mr mw me ac sd
7f0000000000-7f0000700000 rw-s 00000000 00:0f 12                         /secretmem (deleted)
VmFlags: rd wr sh mr mw me ms dc lo dd
7f0001000000-7f0001001000 ---p 00000000 00:00 0
VmFlags: mr mw me sd
";
        let mappings = mappings(smaps).unwrap();
        let seen: Vec<_> = mappings.iter().map(|m| (m.name.as_str(), m.readable, m.is_key_memory)).collect();
        assert_eq!(seen, [("[heap]", true, false), ("/secretmem (deleted)", true, true), ("", false, false)]);
        assert_eq!(mappings[1].range, 0x7f00_0000_0000..0x7f00_0070_0000);
    }
}
