//! The effective version of a cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// The effective version of a cluster: generation, major and minor, as in `9.17.1`. Versions compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterVersion {
    generation: u16,
    major: u16,
    minor: u16,
}

impl ClusterVersion {
    /// The version `generation.major.minor`.
    #[must_use]
    pub const fn new(generation: u16, major: u16, minor: u16) -> Self {
        Self { generation, major, minor }
    }

    /// The first of the three numbers.
    #[must_use]
    pub const fn generation(self) -> u16 {
        self.generation
    }

    /// The second.
    #[must_use]
    pub const fn major(self) -> u16 {
        self.major
    }

    /// The third.
    #[must_use]
    pub const fn minor(self) -> u16 {
        self.minor
    }
}

impl FromStr for ClusterVersion {
    type Err = InvalidClusterVersion;

    /// Two or three numbers; a third that is missing is 0.
    fn from_str(text: &str) -> Result<Self, InvalidClusterVersion> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| InvalidClusterVersion),
            false => Err(InvalidClusterVersion),
        };
        let mut parts = text.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(generation), Some(major), minor, None) => {
                Ok(Self::new(number(generation)?, number(major)?, minor.map_or(Ok(0), number)?))
            }
            _ => Err(InvalidClusterVersion),
        }
    }
}

impl<'de> Deserialize<'de> for ClusterVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.generation, self.major, self.minor)
    }
}

/// Not the version of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's version is two or three numbers, such as 9.17.1")]
pub struct InvalidClusterVersion;
