//! Keystores at an OpenStack Barbican.

mod keeper;
mod keystores;
mod record;
mod settings;

pub(crate) use keeper::BarbicanKeeper;
pub(crate) use record::CredentialSeal;
pub use settings::{BarbicanSettings, BarbicanSetupError, BarbicanUpdate};
