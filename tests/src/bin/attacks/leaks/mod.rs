//! Look for keys in the memory, the core dump and the output of a running process.
//!
//! The attacker ([`attacker`]) runs a victim and stops it: an engine that is driven through all operations ([`victim`]), and the
//! `claviger` program itself ([`commands`]). It reads all memory of the stopped process ([`memory`]), takes core dumps ([`gdb`],
//! [`core`]), and searches both ([`search`]) for every secret of the hierarchies. It derives these itself, from copies of
//! their directories ([`claviger_tests::secrets`]), with what the ciphers make of them. What was found where, and whether it may be
//! there, is the [`verdict`].

mod attacker;
mod barbican;
mod commands;
mod confine;
mod core;
mod gdb;
mod memory;
mod plant;
mod primitives;
mod search;
mod verdict;
mod victim;

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use claviger_tests::barbican_victim;
use serde_json::json;
use uuid::Uuid;

use self::attacker::{Attacker, Engine};
use self::barbican::Services;
use self::confine::Memory;
use self::verdict::{State, Violation};
use self::victim::{STEPS, Step};
use crate::workload::Store;

/// Look for keys in the memory, the core dump and the output of a running process
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The memory that the processes get for their keys
    #[arg(long, value_name = "MEMORY", default_value = "best")]
    protection: Memory,
    /// Random moments at which the engine is stopped while keys are opened, made and re-wrapped
    #[arg(long, value_name = "N", default_value_t = 6)]
    rounds: u32,
    /// The store of the hierarchies
    #[arg(long, default_value = "sled")]
    store: Store,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What the attacker runs.
#[derive(Debug, clap::Subcommand)]
enum Role {
    /// The engine under attack
    #[command(hide = true)]
    Victim {
        #[arg(long)]
        memory: Memory,
        #[arg(long)]
        store: Store,
        base: PathBuf,
    },
    /// The engine at a Barbican, in a process that does not wipe what it frees
    #[command(hide = true)]
    BarbicanVictim { base: PathBuf },
    /// Refuses better memory to a program, and becomes it
    #[command(hide = true)]
    Confined {
        #[arg(long)]
        memory: Memory,
        #[arg(last = true)]
        words: Vec<OsString>,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.role {
        Some(Role::Victim { memory, store, base }) => victim::run(base, (*store).into(), memory.accept()),
        Some(Role::BarbicanVictim { base }) => barbican_victim::run(base),
        Some(Role::Confined { memory, words }) => confine::run(*memory, words),
        None => attack(args),
    }
}

fn attack(args: &Args) -> Result<()> {
    let has_gdb = gdb::is_there();
    if !has_gdb {
        eprintln!(
            "NOT TESTED: gdb is missing, so there are no core dumps and no registers, and what lies on a stack cannot be told \
             from a key in use"
        );
    }
    let claviger = commands::claviger()?;
    let planted = find_planted(args, has_gdb)?;
    let mut attacker = Attacker::new(args.protection, args.store, has_gdb)?;
    let left = match Services::start()? {
        Some(services) => {
            let left = services.attack_not_wiping(args, has_gdb)?;
            services.attack(&mut attacker)?;
            Some(left)
        }
        None => {
            eprintln!("NOT TESTED: keystores at a Barbican, whose services need python3 with its venv module");
            None
        }
    };
    attack_engine(&mut attacker, args.rounds)?;
    match args.protection {
        Memory::Best | Memory::Locked => commands::attack(&mut attacker, &claviger)?,
        Memory::Unlocked => eprintln!("NOT TESTED: the claviger program, which does not run with unlocked memory"),
    }
    report(args, &attacker, planted, left)
}

/// Drives an engine through all steps, and looks at it in their midst and after each.
fn attack_engine(attacker: &mut Attacker, rounds: u32) -> Result<()> {
    let mut engine = Engine::start(attacker.memory, attacker.store, attacker.scratch.path())?;
    if attacker.has_gdb {
        gdb::keep_freed(i32::try_from(engine.id())?)?;
    }
    for step in STEPS {
        if step == Step::Errors {
            attacker.make_damaged()?;
        }
        if step == Step::Primitives {
            primitives::prepare(attacker.scratch.path(), &mut attacker.secrets)?;
        }
        engine.begin(step.name())?;
        let in_its_midst = match step {
            Step::Work => rounds,
            Step::Create | Step::ChangePassphrase | Step::Backup | Step::CommonCriteria => 1,
            _ => 0,
        };
        for _ in 0..in_its_midst {
            thread::sleep(attacker.moment(Duration::from_millis(150)));
            attacker.look(engine.id(), &format!("in the midst of {}", step.name()), State::Busy)?;
        }
        if step == Step::Work {
            engine.enough()?;
        }
        engine.finish()?;
        let state = if step == Step::DropAll { State::Empty } else { State::Waiting };
        attacker.look(engine.id(), &format!("after {}", step.name()), state)?;
        attacker.search()?;
    }
    let said = engine.protection.as_str();
    ensure!(attacker.protection == Some(said), "the engine says {said}, and its memory is {:?}", attacker.protection);
    Ok(())
}

/// Finds what was planted, each in its place, or the attack is blind. Returns how many places there are.
fn find_planted(args: &Args, has_gdb: bool) -> Result<usize> {
    let mut attacker = Attacker::new(args.protection, args.store, has_gdb)?;
    let mut engine = Engine::start(args.protection, args.store, attacker.scratch.path())?;
    engine.begin(Step::Plant.name())?;
    engine.finish()?;
    attacker.look(engine.id(), "after planting", State::Waiting)?;
    let volumes = plant::PLANTS.map(|(_, volume)| Uuid::from_u128(volume));
    attacker.search_planted(&volumes)?;
    let violations = &attacker.verdict.violations;
    let is_of = |found: &Violation, volume: Uuid| found.secret.contains(&volume.to_string());
    for ((place, _), volume) in plant::PLANTS.into_iter().zip(volumes) {
        let is_register = place.contains("register");
        let is_there = |found: &Violation| is_of(found, volume) && found.place.contains("register") == is_register;
        let is_testable = has_gdb || !is_register;
        if is_testable && !violations.keys().any(is_there) {
            bail!("the attack is blind: it did not find the key that was planted in the {place}");
        }
    }
    let planted = |found: &Violation| volumes.iter().any(|volume| is_of(found, *volume));
    if let Some((found, pieces)) = violations.iter().find(|(found, _)| !planted(found)) {
        bail!("more was found than was planted: {}", found.describe(*pieces));
    }
    Ok(plant::PLANTS.len())
}

/// One line, and a line for each violation, which make the attack fail.
fn report(args: &Args, attacker: &Attacker, planted: usize, left: Option<usize>) -> Result<()> {
    let verdict = &attacker.verdict;
    let protection = attacker.protection.unwrap_or("unknown");
    if args.json {
        let report = json!({
            "protection": protection,
            "store": attacker.store.name(),
            "gdb": attacker.has_gdb,
            "secrets": attacker.secrets.all().count(),
            "patterns": attacker.pieces,
            "planted_and_found": planted,
            "pieces_left_without_wiping": left,
            "seen": verdict.to_json(),
        });
        println!("{report:#}");
    } else {
        for (violation, pieces) in &verdict.violations {
            println!("VIOLATION: {}", violation.describe(*pieces));
        }
        for (form, pieces) in &verdict.in_key_memory {
            println!("in key memory, which {protection} leaves readable: {pieces} pieces of {}s", form.name());
        }
        println!(
            "leaks ({protection}, {}): secrets {}, patterns {}, planted and found {planted}, looks {} ({} with a key in use), core dumps {}, \
             bytes searched {}, key memory {} bytes ({} unreadable), in use {}, unattributed {}, \
             left by libraries where nothing is wiped {}, found {}",
            attacker.store.name(),
            attacker.secrets.all().count(),
            attacker.pieces,
            verdict.looks,
            verdict.looks_in_flight,
            verdict.core_dumps,
            verdict.bytes,
            verdict.key_memory,
            verdict.unreadable_key_memory,
            verdict.in_flight,
            verdict.unattributed,
            left.map_or_else(|| "not tested".to_owned(), |pieces| pieces.to_string()),
            verdict.violations.values().sum::<usize>(),
        );
    }
    verdict.check_key_memory(protection == "memfd_secret")?;
    match verdict.violations.len() {
        0 => Ok(()),
        violations => bail!("keys were found where none may be: {violations} violations"),
    }
}
