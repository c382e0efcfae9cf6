//! An ELF core dump (elf(5)): its parts of memory, and its notes, which hold each thread's registers.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// A core dump, and what its bytes are.
pub(super) struct Core {
    pub(super) bytes: Vec<u8>,
    parts: Vec<Part>,
}

struct Part {
    range: Range<usize>,
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Memory { start: u64 },
    Registers { thread: i32 },
}

/// What lies at an offset of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Address(u64),
    Registers {
        thread: i32,
    },
    /// The file's own headers and notes.
    Other,
}

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const NT_PRSTATUS: u32 = 1;
/// The thread's id in `struct elf_prstatus`, on 64-bit systems.
const PR_PID: usize = 32;

impl Core {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let parts = parts(&bytes).context("the core dump is not as elf(5) says")?;
        match parts.iter().any(|part| matches!(part.of, Of::Registers { .. })) {
            true => Ok(Self { bytes, parts }),
            false => bail!("the core dump has no registers"),
        }
    }

    pub(super) fn at(&self, offset: usize) -> At {
        match self.parts.iter().find(|part| part.range.contains(&offset)) {
            Some(Part { range, of: Of::Memory { start } }) => At::Address(start + (offset - range.start) as u64),
            Some(Part { of: Of::Registers { thread }, .. }) => At::Registers { thread: *thread },
            None => At::Other,
        }
    }
}

fn parts(bytes: &[u8]) -> Option<Vec<Part>> {
    let table = usize::try_from(u64_at(bytes, 32)?).ok()?;
    let (size, count) = (usize::from(u16_at(bytes, 54)?), usize::from(u16_at(bytes, 56)?));
    let mut parts = Vec::new();
    for entry in (0..count).map(|number| table + number * size) {
        let kind = u32_at(bytes, entry)?;
        let offset = usize::try_from(u64_at(bytes, entry + 8)?).ok()?;
        let range = offset..offset + usize::try_from(u64_at(bytes, entry + 32)?).ok()?;
        match kind {
            PT_LOAD => parts.push(Part { range, of: Of::Memory { start: u64_at(bytes, entry + 16)? } }),
            PT_NOTE => parts.extend(registers(bytes, range)?),
            _ => {}
        }
    }
    Some(parts)
}

/// The notes from a thread's status to the next thread's are that thread's registers.
fn registers(bytes: &[u8], notes: Range<usize>) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut thread = None;
    let mut at = notes.start;
    while at < notes.end {
        let (name, len, kind) = (u32_at(bytes, at)?, u32_at(bytes, at + 4)?, u32_at(bytes, at + 8)?);
        let padded = |len: u32| usize::try_from(len).ok().map(|len| len.next_multiple_of(4));
        let start = at + 12 + padded(name)?;
        let end = start + padded(len)?;
        if kind == NT_PRSTATUS {
            thread = Some(i32::try_from(u32_at(bytes, start + PR_PID)?).ok()?);
        }
        if let Some(thread) = thread {
            parts.push(Part { range: start..end, of: Of::Registers { thread } });
        }
        at = end;
    }
    Some(parts)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
