//! The record of the cluster's keystore, in the table `keystores`.

use claviger_store::Table;
use claviger_wrap::{Iterations, PassphraseRules};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, V1, hex_array};

/// The cluster's keystore. There is one kind so far: onboard, enabled from its creation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeystoreRecord {
    pub(crate) version: V1,
    /// The keystore's UUID.
    pub(crate) keystore: Uuid,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// It is being deleted: no KEK may come to it any more.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(crate) deleting: bool,
    /// The onboard keeper's own part.
    pub(crate) onboard: OnboardRecord,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl KeystoreRecord {
    /// Whether a key of the table `keystores` is of this record.
    pub(crate) const fn is_key(key: &[u8]) -> bool {
        key.len() == size_of::<Uuid>()
    }
}

impl Body for KeystoreRecord {
    const TABLE: Table = Table::Keystores;

    fn key(&self) -> Vec<u8> {
        self.keystore.as_bytes().to_vec()
    }
}

/// The onboard keeper: a CKEK under a passphrase.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnboardRecord {
    /// Common Criteria mode: the keystore is locked at start until the passphrase is given.
    pub(crate) common_criteria: bool,
    #[serde(with = "hex_array")]
    pub(crate) salt: [u8; 32],
    #[serde(with = "iterations")]
    pub(crate) iterations: Iterations,
    /// Tells a wrong passphrase.
    #[serde(with = "hex_array")]
    pub(crate) check: [u8; 32],
    /// Names the CKEK.
    #[serde(with = "hex_array")]
    pub(crate) ckek_id: [u8; 16],
    /// The CKEK under the passphrase's wrapping key, RFC 3394.
    #[serde(with = "hex_array")]
    pub(crate) ckek_by_passphrase: [u8; 40],
    /// The CKEK under the sealing key's `unattended` key, RFC 3394; absent in Common Criteria mode.
    #[serde(with = "optional_wrapped", skip_serializing_if = "Option::is_none", default)]
    pub(crate) ckek_unattended: Option<[u8; 40]>,
    /// Wrong passphrases in a row; Common Criteria mode only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) attempts: Option<Attempts>,
}

impl OnboardRecord {
    pub(crate) const fn rules(&self) -> PassphraseRules {
        match self.common_criteria {
            true => PassphraseRules::CommonCriteria,
            false => PassphraseRules::Standard,
        }
    }
}

/// Wrong passphrases in a row. Written before a passphrase is tried, so that killing the process saves no guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attempts {
    /// How many.
    pub(crate) failed: u32,
    /// When the last one was made.
    pub(crate) last: Timestamp,
}

mod iterations {
    use claviger_wrap::Iterations;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(iterations: &Iterations, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(iterations.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Iterations, D::Error> {
        Iterations::new(u32::deserialize(deserializer)?)
            .ok_or(serde::de::Error::custom("iterations are outside 600,000 to 10,000,000"))
    }
}

mod optional_wrapped {
    use super::hex_array;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<[u8; 40]>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => hex_array::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 40]>, D::Error> {
        hex_array::deserialize(deserializer).map(Some)
    }
}
