//! What the workload says: one line of JSON for each call that it begins and each answer that it has got.

use std::io::Write as _;

use anyhow::{Context, Result};
use claviger::{Key, ObjectRef, OpenKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// The call is about to be made.
    Begin(Begun),
    /// What is there after an opening, whatever was in doubt before it. Somebody may rely on it from now on.
    Found { svm: Uuid, name: String, keys: Vec<(u32, Versions)> },
    /// The call has returned, with success.
    Done(Done),
    /// A call was refused, or a key was not what it had to be.
    Failed { why: String },
    /// The process ends here, in the middle of whatever the other threads do. The recorder knows this line.
    Die,
}

/// What a call is to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Begun {
    Hierarchy,
    Keystore,
    Keys { svm: Uuid, numbers: Vec<u32>, change: KeyChange },
    Rekey { svm: Uuid },
    Passphrase { number: u32 },
    SvmCreated { name: String },
    SvmRenamed { svm: Uuid, name: String },
    SvmDeleted { svm: Uuid },
}

/// What a call has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Done {
    Hierarchy,
    Keystore,
    Keys { svm: Uuid, keys: Vec<(u32, Versions)>, change: KeyChange },
    Rekey { svm: Uuid, kek_version: u32 },
    Passphrase { number: u32 },
    SvmCreated { svm: Uuid, name: String },
    SvmRenamed { svm: Uuid, name: String },
    SvmDeleted { svm: Uuid },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyChange {
    Create,
    Delete,
    BeginRotation,
    FinishRotation,
}

/// An object of the workload: its SVM and its number.
pub(crate) type Slot = (Uuid, u32);

/// The versions of an object's key, the older first, each with the digest of its bytes; none where there is no key.
pub(crate) type Versions = Vec<(u32, String)>;

/// The object with this number.
pub(crate) fn object(number: u32) -> ObjectRef {
    let uuid = Uuid::from_u128(0x5eed_0000_0000_4000_8000_0000_0000_0000 | u128::from(number));
    match number % 8 {
        6 => ObjectRef::Aggregate(uuid),
        7 => ObjectRef::Drive(uuid),
        _ => ObjectRef::Volume(uuid),
    }
}

/// What is remembered of a key. Never its bytes.
pub(crate) fn digests(object: ObjectRef, opened: &OpenKey) -> Versions {
    match opened {
        OpenKey::Current(key) => vec![digest(object, key)],
        OpenKey::Rotating { old, new } => vec![digest(object, old), digest(object, new)],
    }
}

/// The version of a key, and the digest of its place and bytes.
pub(crate) fn digest(object: ObjectRef, key: &Key) -> (u32, String) {
    let version = key.version().get();
    let hash = Sha256::new().chain_update(object.uuid()).chain_update(version.to_be_bytes()).chain_update(key.expose());
    (version, hex::encode(hash.finalize()))
}

/// Says it in one write. Whoever no longer listens has no more use for this process.
pub(crate) fn say(event: &Event) {
    let said = serde_json::to_string(event).map_err(std::io::Error::from).and_then(|mut line| {
        line.push('\n');
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()
    });
    if said.is_err() {
        std::process::exit(1);
    }
}

/// What a process has said, as far as its lines are whole: the last one may have been cut short.
pub(crate) struct Said(pub(crate) Vec<Event>);

impl Said {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let event = |line| serde_json::from_slice(line).context("the workload said what is no event");
        Ok(Self(whole.map(event).collect::<Result<_>>()?))
    }
}
