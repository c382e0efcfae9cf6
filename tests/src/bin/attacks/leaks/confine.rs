//! Memory as poor as another system's: the calls for better memory are refused, as a container's filter or an older kernel
//! does.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use claviger::Protection;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// What memory the victim may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Memory {
    /// The best that this system has
    Best,
    /// No memfd_secret: locked memory
    Locked,
    /// No memfd_secret and no mlock: ordinary memory
    Unlocked,
}

impl Memory {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
        }
    }

    /// The weakest that a victim with a choice accepts.
    pub(super) const fn accept(self) -> Protection {
        match self {
            Self::Best | Self::Locked => Protection::Mlock,
            Self::Unlocked => Protection::Unlocked,
        }
    }

    fn refused(self) -> &'static [i64] {
        match self {
            Self::Best => &[],
            Self::Locked => &[libc::SYS_memfd_secret],
            Self::Unlocked => &[libc::SYS_memfd_secret, libc::SYS_mlock2, libc::SYS_mlock],
        }
    }

    /// A command that runs `program` with this memory.
    pub(super) fn command(self, program: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Best => Command::new(program),
            Self::Locked | Self::Unlocked => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["leaks", "confined", "--memory", self.name(), "--"]).arg(program);
                command
            }
        };
        // The C library reserves 64 MiB of heap for each thread, which gdb would write into every core dump.
        command.env("MALLOC_ARENA_MAX", "1");
        Ok(command)
    }
}

/// Becomes the program `words`, to which the calls are refused.
pub(super) fn run(memory: Memory, words: &[OsString]) -> Result<()> {
    let (program, args) = words.split_first().context("no program is named")?;
    // An empty list of conditions: always.
    let rules: BTreeMap<_, _> = memory.refused().iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.try_into()?)?;
    apply_filter(&BpfProgram::try_from(filter)?)?;
    Err(Command::new(program).args(args).exec()).context("cannot run the program")
}
