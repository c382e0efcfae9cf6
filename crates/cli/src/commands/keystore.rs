//! `claviger keystore`.

use std::fmt;

use claviger::{OnboardInfo, OnboardMode};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::args::{KeystoreCommand, KeystoreCreateCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::passphrase::Source;
use crate::session::Session;

/// The cluster's keystore, as it is printed.
#[derive(Serialize)]
pub(crate) struct KeystoreView {
    id: Uuid,
    kind: &'static str,
    mode: &'static str,
    state: &'static str,
    created: Timestamp,
}

impl KeystoreView {
    pub(crate) fn of(keystore: &OnboardInfo) -> Self {
        Self {
            id: keystore.id,
            kind: "onboard",
            mode: match keystore.mode {
                OnboardMode::Unattended => "unattended",
                OnboardMode::CommonCriteria => "common-criteria",
            },
            state: if keystore.locked { "locked" } else { "open" },
            created: keystore.created,
        }
    }
}

impl fmt::Display for KeystoreView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keystore {}: {}, {}, {}", self.id, self.kind, self.mode, self.state)
    }
}

/// Something that was done, and needs no more said.
#[derive(Serialize)]
struct Done {
    done: &'static str,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.done)
    }
}

pub(crate) fn run(session: &Session, command: KeystoreCommand) -> Result<Exit, Failure> {
    match command {
        KeystoreCommand::Create(KeystoreCreateCommand::Onboard { common_criteria }) => {
            let engine = session.open()?;
            let mode = if common_criteria { OnboardMode::CommonCriteria } else { OnboardMode::Unattended };
            let passphrase = session.passphrase.new_one(&session.arena)?;
            let keystore = engine.create_onboard(mode, &passphrase)?;
            session.output.result(&KeystoreView::of(&keystore))?;
        }
        KeystoreCommand::Show => {
            let engine = session.open()?;
            let keystore = engine.keystore().ok_or(Failure::NoKeystore)?;
            session.output.result(&KeystoreView::of(&keystore))?;
        }
        KeystoreCommand::Passphrase { new_passphrase_file, new_passphrase_fd } => {
            let new = Source::new(new_passphrase_file, new_passphrase_fd)?;
            let engine = session.open()?;
            let existing = session.existing_passphrase()?;
            let new = new.new_one(&session.arena)?;
            engine.change_passphrase(&existing, &new)?;
            session.output.result(&Done { done: "passphrase changed; make a new backup" })?;
        }
        KeystoreCommand::Unlock => {
            let engine = session.open()?;
            engine.unlock(&session.existing_passphrase()?)?;
            session.output.result(&Done { done: "the passphrase opens the keystore" })?;
        }
    }
    Ok(Exit::Done)
}
