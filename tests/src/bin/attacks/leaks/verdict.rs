//! What was found where, and whether it may be there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::core::{At, Core};
use super::gdb::Seen;
use super::memory::{Image, Mapping};
use super::search::{Piece, Search};
use claviger_tests::secrets::Form;

/// What the process was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It may use keys. They may be on the stack and in the registers of a thread that is in the middle of a use, and clears
    /// both behind itself.
    Busy,
    /// It waits, and holds keys: they are in key memory alone.
    Waiting,
    /// It has given everything up: key memory is wiped.
    Empty,
}

/// One look at a stopped process, to be searched once all its secrets are known.
pub(super) struct Look {
    pub(super) when: String,
    pub(super) state: State,
    pub(super) mappings: Vec<Mapping>,
    pub(super) image: Image,
    /// By gdb, where there is one.
    pub(super) seen: Option<Seen>,
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    KeyMemory,
    /// The stack or the registers of a thread in the middle of a use of a key.
    InFlight,
    /// On what may be such a stack, and without gdb nobody can say.
    Unattributed,
    /// Anywhere else; the text says where.
    Elsewhere(String),
}

/// A secret where none may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Violation {
    when: String,
    /// The memory as it was read, or which kind of core dump.
    source: &'static str,
    pub(super) place: String,
    pub(super) secret: String,
    form: Form,
}

impl Violation {
    /// One line. `pieces` of eight bytes were found.
    pub(super) fn describe(&self, pieces: usize) -> String {
        let Self { when, source, place, secret, form } = self;
        format!("{when}, {source}: {} bytes of {secret} ({}) in {place}", pieces * super::search::PIECE, form.name())
    }
}

/// What all looks together came to.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) looks: usize,
    pub(super) idle: usize,
    pub(super) core_dumps: usize,
    pub(super) bytes: u64,
    pub(super) key_memory: u64,
    pub(super) unreadable_key_memory: u64,
    /// Pieces in key memory that could be read, by form.
    pub(super) in_key_memory: BTreeMap<Form, usize>,
    pub(super) looks_in_flight: usize,
    pub(super) in_flight: usize,
    pub(super) unattributed: usize,
    /// With how many pieces.
    pub(super) violations: BTreeMap<Violation, usize>,
}

impl Verdict {
    /// Searches what was seen, and takes the core dumps away.
    pub(super) fn judge(&mut self, look: &Look, search: &Search) -> Result<()> {
        self.looks += 1;
        self.idle += usize::from(look.state != State::Busy);
        self.key_memory += look.image.key_memory;
        self.unreadable_key_memory += look.image.unreadable_key_memory;
        let burning = look.seen.as_ref().is_some_and(|seen| !seen.burning.is_empty());
        self.looks_in_flight += usize::from(burning && look.state == State::Busy);

        self.bytes += look.image.bytes;
        // The same address is read more than once.
        let mut addresses = BTreeSet::new();
        for (start, bytes) in &look.image.parts {
            for (at, piece) in search.find(bytes) {
                let address = start + at as u64;
                addresses.insert(address);
                self.count(look, "memory", look.place(At::Address(address)), piece);
            }
        }
        let Some(seen) = &look.seen else { return Ok(()) };
        for (source, path) in [("core dump", &seen.core), ("full core dump", &seen.full_core)] {
            let core = Core::read(path)?;
            self.core_dumps += 1;
            self.bytes += core.bytes.len() as u64;
            for (at, piece) in search.find(&core.bytes) {
                let place = match (core.at(at), look.place(core.at(at))) {
                    // What the kernel dumps has no key memory, however weak that is.
                    (At::Address(_), Place::KeyMemory) if source == "core dump" => {
                        Place::Elsewhere("key memory that was to be left out".to_owned())
                    }
                    (At::Address(address), _) if addresses.contains(&address) => continue,
                    (_, place) => place,
                };
                self.count(look, source, place, piece);
            }
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    fn count(&mut self, look: &Look, source: &'static str, place: Place, piece: &Piece) {
        match place {
            Place::KeyMemory => *self.in_key_memory.entry(piece.form).or_default() += 1,
            Place::InFlight => self.in_flight += 1,
            Place::Unattributed => self.unattributed += 1,
            Place::Elsewhere(place) => {
                let (when, secret) = (look.when.clone(), piece.secret.clone());
                let violation = Violation { when, source, place, secret, form: piece.form };
                *self.violations.entry(violation).or_default() += 1;
            }
        }
    }

    /// Fails where something was read of memory that nobody but its process can read.
    pub(super) fn check_key_memory(&self, is_secret: bool) -> Result<()> {
        ensure!(self.key_memory > 0, "no key memory was seen: the attack does not know where it is");
        let readable = self.key_memory - self.unreadable_key_memory;
        ensure!(!is_secret || readable == 0, "{readable} bytes of memfd_secret memory could be read");
        // Else the search would not know the schedules as they really are.
        let found = |form| self.in_key_memory.contains_key(&form);
        let is_known = found(Form::Plain)
            && found(Form::GhashPower)
            && (found(Form::EncryptionRoundKey) && found(Form::DecryptionRoundKey) || found(Form::BitslicedRoundKey));
        ensure!(is_secret || is_known, "key memory could be read, and the search found only {:?}", self.in_key_memory);
        Ok(())
    }

    pub(super) fn to_json(&self) -> Value {
        let violations = self.violations.iter().map(|(violation, pieces)| violation.describe(*pieces));
        let in_key_memory = self.in_key_memory.iter().map(|(form, pieces)| (form.name().to_owned(), json!(pieces)));
        json!({
            "looks": self.looks,
            "idle_looks": self.idle,
            "core_dumps": self.core_dumps,
            "bytes_searched": self.bytes,
            "key_memory_bytes": self.key_memory,
            "unreadable_key_memory_bytes": self.unreadable_key_memory,
            "pieces_in_key_memory": in_key_memory.collect::<serde_json::Map<_, _>>(),
            "looks_with_a_key_in_use": self.looks_in_flight,
            "pieces_in_use": self.in_flight,
            "pieces_unattributed": self.unattributed,
            "violations": violations.collect::<Vec<_>>(),
        })
    }
}

impl Look {
    fn place(&self, at: At) -> Place {
        let burning = self.seen.as_ref().filter(|_| self.state == State::Busy).map(|seen| &seen.burning);
        match at {
            At::Registers { thread } if burning.is_some_and(|burning| burning.contains_key(&thread)) => Place::InFlight,
            At::Registers { .. } => Place::Elsewhere("registers of a thread that uses no key".to_owned()),
            At::Other => Place::Elsewhere("the core dump's headers".to_owned()),
            At::Address(address) => {
                let mapping = self.mappings.iter().find(|mapping| mapping.range.contains(&address));
                let name = mapping.map_or("no mapping", |mapping| mapping.name.as_str());
                match mapping {
                    Some(mapping) if mapping.is_key_memory && self.state == State::Empty => {
                        Place::Elsewhere("key memory that was given back".to_owned())
                    }
                    Some(mapping) if mapping.is_key_memory => Place::KeyMemory,
                    _ if burning.is_some_and(|burning| burning.values().any(|stack| stack.contains(&address))) => {
                        Place::InFlight
                    }
                    // Only an anonymous mapping can be a thread's stack.
                    _ if self.state == State::Busy && self.seen.is_none() && matches!(name, "" | "[stack]") => {
                        Place::Unattributed
                    }
                    _ if name.is_empty() => Place::Elsewhere("an anonymous mapping".to_owned()),
                    _ => Place::Elsewhere(name.to_owned()),
                }
            }
        }
    }
}
