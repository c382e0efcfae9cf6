//! The check of a keeper, hop by hop.

use std::borrow::Cow;
use std::time::Duration;

/// One hop of a keeper's check, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What was tried: `proxy`, `Keystone`, `credential`, `Barbican`, `secret`, `payload`, `wrap round trip`.
    pub name: Cow<'static, str>,
    /// How long it took.
    pub took: Duration,
    /// What came of it: a few words, or why it failed.
    pub outcome: Result<String, String>,
}
