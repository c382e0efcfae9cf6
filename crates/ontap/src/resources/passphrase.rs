//! Passphrases of bodies.

use claviger::{Engine, Passphrase, PassphraseError};

use crate::codes;
use crate::problem::Problem;

/// A text as a passphrase, in key memory. `Ok(None)` where it can be none: too short, too long, or not ASCII.
pub(super) fn passphrase(engine: &Engine, text: &str) -> Result<Option<Passphrase>, Problem> {
    match engine.passphrase(text.as_bytes()) {
        Ok(passphrase) => Ok(Some(passphrase)),
        Err(PassphraseError::Arena(error)) => Err(codes::failed(error.to_string())),
        Err(_) => Ok(None),
    }
}
