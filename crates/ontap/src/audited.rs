//! What an audit log may say of a request.

use serde_json::Value;

/// What a request asked for, for an audit log: a handler leaves it in the response's extensions. It holds nothing that the contract marks
/// as not audited: no passphrase, no credential's secret, no private key.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// What was asked for, in a few words: `POST /api/security/barbican-kms`, or a command's name.
    pub what: String,
    /// Its arguments: the body without what must not be audited.
    pub arguments: Value,
}
