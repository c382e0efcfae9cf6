//! What a command asks of an open hierarchy, as a value: everything that is local to whoever gave it (files, descriptors, the
//! terminal) is behind it. It is run here, over a directory, or it travels to the service that has the hierarchy open.

mod hex;
mod wire;

use claviger::{KeystoneUrl, KeystoreName, ObjectRef, SecretUrl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::args::{AlgorithmArg, JobCommand, KeystoreArg, ProxyArg, SvmCommand, TypeArg};

pub(crate) use self::wire::{Given, Request, Unreadable, to_body};

/// A command over a hierarchy, with its arguments. Nothing in it is secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Command {
    Svm(SvmCommand),
    Keystore(Keystore),
    Key(Key),
    /// Of every SVM where none is named.
    Rekey {
        svm: Option<String>,
    },
    RekeyExternal {
        svm: String,
        key: Box<SecretUrl>,
    },
    Migrate {
        svm: String,
        to: KeystoreArg,
    },
    Kek(Kek),
    Verify,
    BackupCreate,
    Job(JobCommand),
    Show,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Keystore {
    CreateOnboard { common_criteria: bool },
    CreateBarbican(Box<NewBarbican>),
    List { svm: Option<String> },
    Show { keystore: KeystoreArg },
    Check { keystore: KeystoreArg },
    Enable { keystore: KeystoreArg, migrate: bool },
    Switch { svm: String, to: KeystoreArg },
    Update { keystore: KeystoreArg, changes: Box<BarbicanChange> },
    Disable { keystore: KeystoreArg },
    Delete { keystore: KeystoreArg },
    Passphrase,
    Unlock,
}

/// A new keystore at a Barbican, but for the secrets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBarbican {
    pub(crate) svm: String,
    pub(crate) name: KeystoreName,
    pub(crate) key_id: SecretUrl,
    pub(crate) keystone_url: KeystoneUrl,
    pub(crate) credential_id: String,
    pub(crate) proxy: Option<ProxyArg>,
    pub(crate) ca: Vec<Certificate>,
    pub(crate) timeout_seconds: u32,
    pub(crate) verify: bool,
    pub(crate) verify_host: bool,
}

/// What changes of a keystore at a Barbican, but for the secrets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BarbicanChange {
    pub(crate) credential_id: Option<String>,
    pub(crate) proxy: Option<ProxyChange>,
    /// The authorities to trust beside the system's; none where it is empty.
    pub(crate) ca: Option<Vec<Certificate>>,
    pub(crate) timeout_seconds: Option<u32>,
    pub(crate) verify: Option<bool>,
    pub(crate) verify_host: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyChange {
    Through(ProxyArg),
    Direct,
}

/// The DER of an authority's certificate, in hex.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Certificate(#[serde(with = "::hex::serde")] pub(crate) Vec<u8>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Key {
    Create {
        svm: String,
        object: Object,
        algorithm: Option<AlgorithmArg>,
    },
    /// The keys of so many new volumes.
    CreateVolumes {
        svm: String,
        count: u64,
        algorithm: Option<AlgorithmArg>,
    },
    List {
        svm: String,
        key_type: Option<TypeArg>,
        limit: Option<u64>,
    },
    Show {
        svm: String,
        object: Object,
    },
    Delete {
        svm: String,
        object: Object,
    },
    RotateBegin {
        svm: String,
        object: Object,
    },
    RotateFinish {
        svm: String,
        object: Object,
    },
}

/// What a key encrypts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Object {
    Volume(Uuid),
    Aggregate(Uuid),
    Drive(Uuid),
}

impl From<Object> for ObjectRef {
    fn from(object: Object) -> Self {
        match object {
            Object::Volume(uuid) => Self::Volume(uuid),
            Object::Aggregate(uuid) => Self::Aggregate(uuid),
            Object::Drive(uuid) => Self::Drive(uuid),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Kek {
    Show {
        svm: String,
    },
    /// Of every SVM where none is named.
    Restore {
        svm: Option<String>,
    },
}

/// What a command does to the hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing, and hands out nothing that a passphrase opens.
    Reads,
    Changes,
}

impl Command {
    /// Its name, as it is typed, and what it does.
    pub(crate) const fn about(&self) -> (&'static str, Effect) {
        match self {
            Self::Svm(SvmCommand::Create { .. }) => ("svm create", Effect::Changes),
            Self::Svm(SvmCommand::Show { .. }) => ("svm show", Effect::Reads),
            Self::Svm(SvmCommand::List) => ("svm list", Effect::Reads),
            Self::Svm(SvmCommand::Rename { .. }) => ("svm rename", Effect::Changes),
            Self::Svm(SvmCommand::Delete { .. }) => ("svm delete", Effect::Changes),
            Self::Keystore(Keystore::CreateOnboard { .. }) => ("keystore create onboard", Effect::Changes),
            Self::Keystore(Keystore::CreateBarbican(_)) => ("keystore create barbican", Effect::Changes),
            Self::Keystore(Keystore::List { .. }) => ("keystore list", Effect::Reads),
            Self::Keystore(Keystore::Show { .. }) => ("keystore show", Effect::Reads),
            Self::Keystore(Keystore::Check { .. }) => ("keystore check", Effect::Reads),
            Self::Keystore(Keystore::Enable { .. }) => ("keystore enable", Effect::Changes),
            Self::Keystore(Keystore::Switch { .. }) => ("keystore switch", Effect::Changes),
            Self::Keystore(Keystore::Update { .. }) => ("keystore update", Effect::Changes),
            Self::Keystore(Keystore::Disable { .. }) => ("keystore disable", Effect::Changes),
            Self::Keystore(Keystore::Delete { .. }) => ("keystore delete", Effect::Changes),
            Self::Keystore(Keystore::Passphrase) => ("keystore passphrase", Effect::Changes),
            // What is open afterwards was locked before.
            Self::Keystore(Keystore::Unlock) => ("keystore unlock", Effect::Changes),
            Self::Key(Key::Create { .. } | Key::CreateVolumes { .. }) => ("key create", Effect::Changes),
            Self::Key(Key::List { .. }) => ("key list", Effect::Reads),
            Self::Key(Key::Show { .. }) => ("key show", Effect::Reads),
            Self::Key(Key::Delete { .. }) => ("key delete", Effect::Changes),
            Self::Key(Key::RotateBegin { .. }) => ("key rotate begin", Effect::Changes),
            Self::Key(Key::RotateFinish { .. }) => ("key rotate finish", Effect::Changes),
            Self::Rekey { .. } | Self::RekeyExternal { .. } => ("rekey", Effect::Changes),
            Self::Migrate { .. } => ("migrate", Effect::Changes),
            // Who has the top-level key too has the KEKs, and the top-level key is elsewhere.
            Self::Kek(Kek::Show { .. }) => ("kek show", Effect::Reads),
            Self::Kek(Kek::Restore { .. }) => ("kek restore", Effect::Changes),
            Self::Verify => ("verify", Effect::Reads),
            // It opens with the passphrase alone, wherever it is taken.
            Self::BackupCreate => ("backup create", Effect::Changes),
            Self::Job(JobCommand::List) => ("job list", Effect::Reads),
            Self::Job(JobCommand::Show { .. }) => ("job show", Effect::Reads),
            // It has an interrupted job go on.
            Self::Job(JobCommand::Wait { .. }) => ("job wait", Effect::Changes),
            Self::Job(JobCommand::Cancel { .. }) => ("job cancel", Effect::Changes),
            Self::Show => ("show", Effect::Reads),
        }
    }
}
