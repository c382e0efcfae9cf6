//! The arguments of `claviger key`.

use clap::{Subcommand, ValueEnum};
use claviger::{KeyAlgorithm, KeyType, ObjectRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Failure;
use crate::request::Object;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make the key of an object, or of many new volumes
    #[command(
        after_help = "Example:\n  claviger key create --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --dir /var/lib/claviger"
    )]
    Create {
        #[command(flatten)]
        svm: SvmArg,
        #[command(flatten)]
        what: NewKeys,
        /// The cipher that the key is for; by default xts-aes-256, of a drive aes-256
        #[arg(long)]
        algorithm: Option<AlgorithmArg>,
    },
    /// List keys, in the order of type and object
    ///
    /// Exits with 6 where a record is no key.
    #[command(after_help = "Example:\n  claviger key list --svm vs0 --type volume --limit 20 --dir /var/lib/claviger")]
    List {
        #[command(flatten)]
        svm: SvmArg,
        /// Only keys of these objects
        #[arg(long = "type", value_name = "TYPE")]
        key_type: Option<TypeArg>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Show what the record of a key says of itself
    #[command(
        after_help = "Example:\n  claviger key show --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --dir /var/lib/claviger"
    )]
    Show {
        #[command(flatten)]
        svm: SvmArg,
        #[command(flatten)]
        object: ObjectArgs,
    },
    /// Delete a key: what it encrypted is lost for good
    #[command(
        after_help = "Example:\n  claviger key delete --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --dir /var/lib/claviger"
    )]
    Delete {
        #[command(flatten)]
        svm: SvmArg,
        #[command(flatten)]
        object: ObjectArgs,
    },
    /// Rotate a key: both versions open while the storage stack re-encrypts the object
    #[command(subcommand)]
    Rotate(RotateCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RotateCommand {
    /// Make the next version of the key beside the current one
    #[command(
        after_help = "Example:\n  claviger key rotate begin --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --dir /var/lib/claviger"
    )]
    Begin {
        #[command(flatten)]
        svm: SvmArg,
        #[command(flatten)]
        object: ObjectArgs,
    },
    /// Drop the older version: all is re-encrypted
    #[command(
        after_help = "Example:\n  claviger key rotate finish --svm vs0 --volume 5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --dir /var/lib/claviger"
    )]
    Finish {
        #[command(flatten)]
        svm: SvmArg,
        #[command(flatten)]
        object: ObjectArgs,
    },
}

/// The SVM that a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct SvmArg {
    /// The SVM: its name or UUID
    #[arg(long, value_name = "S")]
    pub(crate) svm: String,
}

/// The object that a key encrypts.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ObjectArgs {
    /// The volume
    #[arg(long, value_name = "UUID")]
    volume: Option<Uuid>,
    /// The aggregate
    #[arg(long, value_name = "UUID")]
    aggregate: Option<Uuid>,
    /// The drive
    #[arg(long, value_name = "UUID")]
    drive: Option<Uuid>,
}

impl ObjectArgs {
    /// The object.
    pub(crate) fn object(&self) -> Result<Object, Failure> {
        object(self.volume, self.aggregate, self.drive).ok_or_else(nothing_named)
    }
}

/// What `key create` makes.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewKeys {
    /// The key of this volume
    #[arg(long, value_name = "UUID")]
    volume: Option<Uuid>,
    /// The key of this aggregate
    #[arg(long, value_name = "UUID")]
    aggregate: Option<Uuid>,
    /// The key of this drive
    #[arg(long, value_name = "UUID")]
    drive: Option<Uuid>,
    /// The keys of so many new volumes, with random UUIDs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// What is to be made.
pub(crate) enum New {
    /// The key of this object.
    Key(Object),
    /// The keys of so many new volumes.
    Volumes(u64),
}

impl NewKeys {
    /// What is to be made.
    pub(crate) fn new_keys(&self) -> Result<New, Failure> {
        let object = object(self.volume, self.aggregate, self.drive).map(New::Key);
        object.or(self.count.map(New::Volumes)).ok_or_else(nothing_named)
    }
}

fn object(volume: Option<Uuid>, aggregate: Option<Uuid>, drive: Option<Uuid>) -> Option<Object> {
    let aggregate = || aggregate.map(Object::Aggregate);
    let drive = || drive.map(Object::Drive);
    volume.map(Object::Volume).or_else(aggregate).or_else(drive)
}

/// clap lets nothing of the kind come here.
fn nothing_named() -> Failure {
    Failure::Usage { message: "no object is named".to_owned() }
}

/// The cipher that a key is for.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum AlgorithmArg {
    /// XTS-AES-256 (IEEE 1619): 64 bytes
    #[value(name = "xts-aes-256")]
    #[serde(rename = "xts-aes-256")]
    XtsAes256,
    /// AES-256: 32 bytes
    #[value(name = "aes-256")]
    #[serde(rename = "aes-256")]
    Aes256,
}

impl AlgorithmArg {
    /// The cipher of a key of `object`, where `given` does not say.
    pub(crate) fn or_default(given: Option<Self>, object: ObjectRef) -> KeyAlgorithm {
        match (given, object) {
            (Some(Self::XtsAes256), _) => KeyAlgorithm::XtsAes256,
            (Some(Self::Aes256), _) => KeyAlgorithm::Aes256,
            (None, ObjectRef::Volume(_) | ObjectRef::Aggregate(_)) => KeyAlgorithm::XtsAes256,
            (None, ObjectRef::Drive(_)) => KeyAlgorithm::Aes256,
        }
    }
}

/// What kind of object a key encrypts.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TypeArg {
    /// Volumes (VEK)
    Volume,
    /// Aggregates (AEK)
    Aggregate,
    /// Drives (NSE-AK)
    Drive,
}

impl From<TypeArg> for KeyType {
    fn from(arg: TypeArg) -> Self {
        match arg {
            TypeArg::Volume => Self::Vek,
            TypeArg::Aggregate => Self::Aek,
            TypeArg::Drive => Self::NseAk,
        }
    }
}
