//! PATCH: another passphrase, a synchronization, or whether data at rest is encrypted.

use claviger::{Engine, KeystoreError, OnboardInfo, OnboardMode, Passphrase};

use super::super::key_manager_configs::half;
use super::super::passphrase;
use super::found;
use crate::call::Call;
use crate::codes::{self, key_managers as code};
use crate::conventions::answer::Answer;
use crate::conventions::body::Body;
use crate::conventions::query::Query;
use crate::problem::Problem;

const DATA_AT_REST: &str = "is_default_data_at_rest_encryption_disabled";

pub(super) fn run(call: &Call<'_>, query: &mut Query, body: &Body) -> Result<Answer, Problem> {
    query.take_flag("validate_certificates")?;
    let engine = &call.service.engine;
    let onboard = found(call)?;
    if body.gives_any_of("external") {
        return Err(code::EXTERNAL_NOT_ENABLED.problem().about("external"));
    }
    if body.text("scope").is_some_and(|scope| scope != "cluster") {
        return Err(codes::invalid("scope", "The key manager's scope is \"cluster\", and does not change."));
    }
    match Passphrases::of(body)? {
        Passphrases::None => {}
        // There is one node, and it has all keys.
        Passphrases::Synchronize { existing } => check(engine, existing)?,
        Passphrases::Change { existing, new } => change(engine, &onboard, existing, new)?,
    }
    if let Some(disabled) = body.flag(DATA_AT_REST) {
        let changed = engine.change_settings(|settings| settings.data_at_rest_encryption_disabled = disabled);
        changed.map_err(|error| half(body.gives("onboard.passphrase"), "The passphrase", &error))?;
    }
    Ok(Answer::changed())
}

/// What the body says of passphrases.
enum Passphrases<'a> {
    None,
    Synchronize { existing: &'a str },
    Change { existing: &'a str, new: &'a str },
}

impl<'a> Passphrases<'a> {
    fn of(body: &'a Body) -> Result<Self, Problem> {
        let (existing, new) = (body.text("onboard.existing_passphrase"), body.text("onboard.passphrase"));
        match (body.flag("onboard.synchronize").unwrap_or(false), existing, new) {
            (true, None, _) => Err(code::SYNC_EXISTING.problem().about("onboard.existing_passphrase")),
            (true, Some(_), Some(_)) => Err(code::SYNC_PASSPHRASE.problem().about("onboard.passphrase")),
            (true, Some(existing), None) => Ok(Self::Synchronize { existing }),
            (false, None, None) => Ok(Self::None),
            (false, Some(existing), Some(new)) => Ok(Self::Change { existing, new }),
            (false, Some(_), None) => Err(code::CHANGE_HALF.problem().about("onboard.passphrase")),
            (false, None, Some(_)) => Err(code::CHANGE_HALF.problem().about("onboard.existing_passphrase")),
        }
    }
}

/// Whether the passphrase is the one in force.
fn check(engine: &Engine, existing: &str) -> Result<(), Problem> {
    let existing = existing_passphrase(engine, existing)?;
    engine.unlock(&existing).map_err(|error| codes::of_keystore(&error))
}

/// A text that can be no passphrase is a wrong one.
fn existing_passphrase(engine: &Engine, text: &str) -> Result<Passphrase, Problem> {
    passphrase::passphrase(engine, text)?.ok_or_else(|| codes::of_keystore(&KeystoreError::WrongPassphrase))
}

fn change(engine: &Engine, onboard: &OnboardInfo, existing: &str, new: &str) -> Result<(), Problem> {
    let length = || match onboard.mode {
        OnboardMode::Unattended => {
            code::CHANGE_LENGTH.with("The passphrase must have 32 to 256 ASCII characters.").about("onboard.passphrase")
        }
        OnboardMode::CommonCriteria => code::CHANGE_LENGTH_COMMON_CRITERIA
            .with("In Common Criteria mode the passphrase must have 64 to 256 ASCII characters.")
            .about("onboard.passphrase"),
    };
    let existing = existing_passphrase(engine, existing)?;
    let Some(new) = passphrase::passphrase(engine, new)? else {
        // The existing one is checked first, whatever the new one is.
        engine.unlock(&existing).map_err(|error| codes::of_keystore(&error))?;
        return Err(length());
    };
    engine.change_passphrase(&existing, &new).map_err(|error| match error {
        KeystoreError::Passphrase(_) => length(),
        KeystoreError::Records(_) => code::CHANGE_FAILED.because(&error),
        error => codes::of_keystore(&error),
    })
}
