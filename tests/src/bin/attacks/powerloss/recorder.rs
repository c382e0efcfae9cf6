//! Running a process so that all that it does to the files below a directory is recorded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::disk::Disk;
use super::journal::{self, Record};

const SHIM: &str = include_str!("../../../../powerloss/shim.c");

/// The compiled recorder.
pub(super) struct Recorder {
    shim: PathBuf,
}

/// What processes that followed one another did below a directory that was empty at first, or whose content was durable.
pub(super) struct Recording {
    initial: Disk,
    dir: PathBuf,
    journal: PathBuf,
    pub(super) records: Vec<Record>,
}

impl Recorder {
    pub(super) fn compile(place: &Path) -> Result<Self> {
        let (source, library) = (place.join("shim.c"), place.join("shim.so"));
        std::fs::write(&source, SHIM)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library).arg(&source);
        match compiler.status() {
            Ok(status) if status.success() => Ok(Self { shim: library.canonicalize()? }),
            Ok(status) => bail!("the recorder was not compiled: {status}"),
            Err(error) => Err(error).context("the recorder is written in C, and there is no cc"),
        }
    }

    /// Runs the processes one after the other, this program with these arguments, and checks after each that the recording
    /// is whole: what it makes of the directory is what is in the directory.
    pub(super) fn record(&self, dir: &Path, journal: &Path, runs: &[Vec<String>]) -> Result<Recording> {
        let dir = dir.canonicalize()?;
        let initial = Disk::read(&dir)?;
        let mut recording = Recording { initial, dir: dir.clone(), journal: journal.to_owned(), records: Vec::new() };
        for words in runs {
            let status = Command::new(std::env::current_exe()?)
                .args(words)
                .env("LD_PRELOAD", &self.shim)
                .env("CLAVIGER_POWER_DIR", &dir)
                .env("CLAVIGER_POWER_JOURNAL", journal)
                .stdout(Stdio::null())
                .status()?;
            recording.records = journal::read(journal)?;
            if !status.success() {
                let last = recording.said(recording.records.len());
                let last = last.split(|byte| *byte == b'\n').rev().nth(1).unwrap_or_default();
                bail!("the recorded process ended with {status}; it last said {}", String::from_utf8_lossy(last));
            }
            recording.check_whole()?;
        }
        Ok(recording)
    }
}

impl Recording {
    /// What is on disk, and on its way there, at a position.
    pub(super) fn disk(&self, position: usize) -> Result<Disk> {
        let mut disk = self.initial.clone();
        for (number, record) in self.records.iter().take(position).enumerate() {
            disk.apply(record).with_context(|| format!("record {number}: {record:?}"))?;
        }
        Ok(disk)
    }

    /// All that was said before a position.
    pub(super) fn said(&self, position: usize) -> Vec<u8> {
        let lines = self.records.iter().take(position).filter_map(|record| match record {
            Record::Said { line } => Some(line.as_slice()),
            _ => None,
        });
        lines.collect::<Vec<_>>().concat()
    }

    /// Were a write to pass the recorder by, the recording would make another directory of it.
    fn check_whole(&self) -> Result<()> {
        let (recorded, real) = (self.disk(self.records.len())?.live(), Disk::read(&self.dir)?.live());
        if recorded == real {
            return Ok(());
        }
        let differs = |path: &&PathBuf| recorded.get(*path) != real.get(*path);
        let paths: BTreeSet<_> = recorded.keys().chain(real.keys()).filter(differs).collect();
        bail!("the recording {} is not whole: it makes other files of {paths:?}", self.journal.display())
    }
}
