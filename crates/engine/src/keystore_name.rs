//! Names of keystores.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a keystore among those of its SVM: 1 to 255 bytes of text without control characters, and without white space
/// at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeystoreName(String);

impl KeystoreName {
    /// The most bytes of a name.
    pub const MAX_LEN: usize = 255;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeystoreName {
    type Error = InvalidKeystoreName;

    fn try_from(name: String) -> Result<Self, InvalidKeystoreName> {
        let is_text = !name.chars().any(char::is_control) && name.trim() == name;
        match is_text && (1..=Self::MAX_LEN).contains(&name.len()) {
            true => Ok(Self(name)),
            false => Err(InvalidKeystoreName),
        }
    }
}

impl FromStr for KeystoreName {
    type Err = InvalidKeystoreName;

    fn from_str(name: &str) -> Result<Self, InvalidKeystoreName> {
        Self::try_from(name.to_owned())
    }
}

impl From<KeystoreName> for String {
    fn from(name: KeystoreName) -> Self {
        name.0
    }
}

impl fmt::Display for KeystoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not a name of a keystore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a keystore's name has 1 to 255 bytes, no control characters, and no white space at either end")]
pub struct InvalidKeystoreName;
