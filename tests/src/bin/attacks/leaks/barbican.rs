//! An engine whose keystores are at a real Barbican under attack: top-level keys, tokens and credentials, which pass through
//! libraries for HTTP and TLS.
//!
//! Two victims do the same. One wipes what it frees, as the `claviger` program does: nothing may be found in it. The other does
//! not, as an embedder may not: in it, what those libraries have freed is found, or the attack is blind, and nothing elsewhere.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger_tests::barbican_victim::{Files, Step};
use claviger_tests::openstack::{Lab, LabOptions, StoredKey};

use super::Args;
use super::attacker::{Attacker, Engine, copy_tree};
use super::gdb;
use super::memory::Image;
use super::verdict::State;

/// What both victims ask.
pub(super) struct Services {
    lab: Lab,
    second: StoredKey,
}

/// Which of the two is attacked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Wiping,
    NotWiping,
}

impl Services {
    /// Starts them, if they can be started here.
    pub(super) fn start() -> Result<Option<Self>> {
        let python = Command::new("python3").args(["-c", "import venv, ensurepip"]).stderr(Stdio::null()).status();
        if !python.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let lab = Lab::start(&LabOptions::default())?;
        let second = lab.new_key(32)?;
        Ok(Some(Self { lab, second }))
    }

    /// Attacks the victim that does not wipe; returns how many pieces of secrets its libraries have left on the heap.
    pub(super) fn attack_not_wiping(&self, args: &Args, has_gdb: bool) -> Result<usize> {
        let mut attacker = Attacker::new(args.protection, args.store, has_gdb)?;
        self.drive(&mut attacker, Victim::NotWiping)?;
        let violations = &attacker.verdict.violations;
        if let Some((violation, pieces)) = violations.iter().find(|(violation, _)| violation.place != HEAP) {
            bail!("without wiping, outside the heap: {}", violation.describe(*pieces));
        }
        let left = violations.values().sum();
        ensure!(left > 0, "the attack is blind: it did not find what the libraries have left");
        Ok(left)
    }

    /// Attacks the victim that wipes.
    pub(super) fn attack(&self, attacker: &mut Attacker) -> Result<()> {
        self.drive(attacker, Victim::Wiping)
    }

    /// Drives a victim through all steps, and looks at it.
    fn drive(&self, attacker: &mut Attacker, victim: Victim) -> Result<()> {
        let base = attacker.scratch.path().to_owned();
        let files = Files::new(&base);
        self.prepare(attacker, &files)?;
        let mut command = attacker.memory.command(&victim.program()?)?;
        command.args(victim.args()).arg(&base);
        let mut engine = Engine::run(command)?;
        if attacker.has_gdb {
            gdb::keep_freed(i32::try_from(engine.id())?)?;
        }
        for step in Step::ALL {
            if step == Step::Restore {
                // The token that the victim has is refused from now on.
                self.lab.fault("disable-user", &[])?;
                self.lab.fault("enable-user", &[])?;
            }
            engine.begin(step.name())?;
            engine.finish()?;
            if !victim.is_seen_after(step) {
                continue;
            }
            let state = if step == Step::DropAll { State::Empty } else { State::Waiting };
            attacker.look(engine.id(), &format!("{}, after {}", victim.name(), step.name()), state)?;
            let copy = attacker.layout.copy();
            copy_tree(&files.hierarchy(), &copy)?;
            attacker.secrets.learn_from(&copy)?;
            attacker.learn_tokens();
            attacker.search_known()?;
        }
        Ok(())
    }

    /// Writes the victim's files, and learns the secrets in them.
    fn prepare(&self, attacker: &mut Attacker, files: &Files) -> Result<()> {
        let info = self.lab.info();
        let passphrase = fs::read(attacker.layout.passphrase("first"))?;
        let wrong = String::from_utf8(fs::read(attacker.layout.passphrase("wrong"))?)?;
        let proxy = files.write(info, &self.second.key_id, &passphrase, &wrong)?;
        let secrets = &mut attacker.secrets;
        secrets.top_level_key(&info.key_id, &info.key)?;
        secrets.top_level_key(&self.second.key_id, &self.second.key)?;
        secrets.given("application credential's secret", info.application_cred_secret.as_bytes());
        secrets.given("proxy password", proxy.password.as_bytes());
        for (name, password) in [("proxy authorization", &proxy.password), ("wrong proxy authorization", &wrong)] {
            let encoded = STANDARD.encode(format!("{}:{password}", proxy.user));
            // The name of the user is no secret.
            let from = (proxy.user.len() + 1).div_ceil(3) * 4;
            secrets.given(name, encoded.as_bytes().get(from..).context("a password is too short")?);
        }
        Ok(())
    }
}

/// The heap's mapping. What is freed of larger blocks, which are mappings of their own, is not found here.
const HEAP: &str = "[heap]";

impl Victim {
    const fn name(self) -> &'static str {
        match self {
            Self::Wiping => "at Barbican",
            Self::NotWiping => "at Barbican, without wiping",
        }
    }

    /// What was freed and not wiped stays, so that one look at the end finds it.
    fn is_seen_after(self, step: Step) -> bool {
        match self {
            Self::Wiping => true,
            Self::NotWiping => step == Step::Reopen,
        }
    }

    fn program(self) -> Result<PathBuf> {
        let own = env::current_exe()?;
        let program = match self {
            Self::Wiping => own.with_file_name("wiping_victim"),
            Self::NotWiping => own,
        };
        ensure!(program.exists(), "{} is missing; start this with `cargo xtask leaks`", program.display());
        Ok(program)
    }

    const fn args(self) -> &'static [&'static str] {
        match self {
            Self::Wiping => &[],
            Self::NotWiping => &["leaks", "barbican-victim"],
        }
    }
}

/// How a Fernet token begins: its version, and the high bytes of its time.
const TOKEN: &[u8] = b"gAAAAA";
/// The shortest.
const TOKEN_LEN: usize = 150;
/// What lies before the random part.
const TOKEN_TIME: usize = 12;

/// The random parts of all tokens in what was read: nobody tells them to the attacker, but their form does.
pub(super) fn tokens(image: &Image) -> Vec<Vec<u8>> {
    let is_base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let runs = image.parts.iter().flat_map(|(_, bytes)| bytes.split(move |byte| !is_base64url(byte)));
    let token = |run: &[u8]| {
        let at = run.windows(TOKEN.len()).position(|window| window == TOKEN)?;
        run.get(at..).filter(|token| token.len() >= TOKEN_LEN)?.get(TOKEN_TIME..).map(<[u8]>::to_vec)
    };
    runs.filter(|run| run.len() >= TOKEN_LEN).filter_map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_form() {
        let random = "x-1_Z".repeat(40);
        let token = format!("gAAAAABpIHb2{random}");
        let image = |text: String| Image {
            parts: vec![(0, text.into_bytes())],
            bytes: 0,
            unreadable_key_memory: 0,
            key_memory: 0,
        };
        assert_eq!(tokens(&image(format!("\0X-Subject-Token: {token}\r\n"))), [random.as_bytes()]);
        assert!(tokens(&image(format!("\0{}\0", &token[..100]))).is_empty());
        assert!(tokens(&image(random.clone())).is_empty());
    }
}
