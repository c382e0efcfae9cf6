//! The arguments, and the help that explains them.

mod daemon;
mod key;
mod keystore;
mod proxy;
mod quiet;
mod service;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use claviger::{SecretUrl, StoreKind, SvmName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::quiet::quiet;
use crate::exit::EXIT_CODES;

pub(crate) use self::daemon::{AccountCommand, AuditCommand, NewPassword, ServeArgs};
pub(crate) use self::key::{AlgorithmArg, KeyCommand, New, RotateCommand, SvmArg, TypeArg};
pub(crate) use self::keystore::{
    BarbicanArgs, BarbicanChanges, CredentialSource, KeystoreArg, KeystoreCommand, KeystoreCreateCommand, ProxyPassword,
};
pub(crate) use self::proxy::ProxyArg;
pub(crate) use self::service::{Account, ServiceArgs, ServiceUrl};

/// Keeps the keys of a storage node: one per volume, aggregate and drive, wrapped under one KEK per SVM.
///
/// Begin with `claviger quickstart`, which goes through the whole story in a directory of its own, or with `claviger init`,
/// `claviger keystore create onboard` and `claviger svm create`.
///
/// Long operations are durable jobs. A command that is interrupted, by Ctrl-C or by a crash, loses nothing: the next command
/// says which job waits, and `claviger job wait` or `claviger rekey` goes on with it.
///
/// Commands over a hierarchy work on a directory (--dir), or through the service that has it open (--url, --profile).
///
/// No key's bytes are ever printed. CLAVIGER_LOG=claviger=info logs to standard error.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, after_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The hierarchy's directory
    #[arg(long, global = true, value_name = "D", help_heading = "Common options")]
    pub(crate) dir: Option<PathBuf>,

    /// Print JSON: the result on standard output, an error as the last line on standard error
    #[arg(long, global = true, help_heading = "Common options")]
    pub(crate) json: bool,

    /// Read the passphrase from this file instead of asking for it; one end of line at its end is taken off
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options", conflicts_with = "passphrase_fd")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Read the passphrase from this open file descriptor, as in `--passphrase-fd 3 3<passphrase.txt`
    #[arg(long, global = true, value_name = "N", help_heading = "Common options")]
    pub(crate) passphrase_fd: Option<u32>,

    /// Open a store that is an older copy, or whose anchor is lost, and go on from it
    ///
    /// What was changed since the copy was made is lost: keys that were made are missing, keys that were deleted are back, an
    /// old passphrase opens the keystore again. Needed once; the store is then the newest.
    #[arg(long, global = true, help_heading = "Sharp options")]
    pub(crate) danger_accept_rollback: bool,

    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Go through the whole story: make a hierarchy with keys, rekey it, open it again, verify it
    ///
    /// Without --dir, in a temporary directory that is removed at the end. With it, the hierarchy stays; where no passphrase
    /// is given, one is made and shown once on standard error.
    #[command(after_help = "Example:\n  claviger quickstart --keys 10000")]
    Quickstart {
        /// How many volume keys to make, in two SVMs
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
        keys: u64,
        #[command(flatten)]
        store: StoreArg,
    },

    /// Make a new hierarchy, with its admin SVM
    #[command(after_help = "Example:\n  claviger init --dir /var/lib/claviger")]
    Init {
        /// The admin SVM's name, which stands for the cluster
        #[arg(long, value_name = "NAME", default_value = "cluster")]
        name: SvmName,
        #[command(flatten)]
        store: StoreArg,
    },

    /// SVMs: create, list, rename, delete
    #[command(subcommand)]
    Svm(SvmCommand),

    /// Keystores, which keep the SVMs' KEKs: the cluster's, under a passphrase; and those of SVMs, at a Barbican
    ///
    /// Name a keystore of an SVM by its UUID, or as SVM/NAME; the cluster's goes by the word `cluster` too.
    #[command(subcommand)]
    Keystore(KeystoreCommand),

    /// Keys of volumes, aggregates and drives: create, list, show, rotate, delete
    #[command(subcommand)]
    Key(KeyCommand),

    /// Give an SVM a new KEK and re-wrap all its keys; every SVM where none is named
    ///
    /// A rekey that was interrupted goes on where it was. Of every SVM, those without keys are passed over. With --external, it
    /// is the key above the KEK that changes: the SVM's enabled keystore keeps the KEK under another top-level key, and no key
    /// is re-wrapped.
    #[command(
        after_help = "Example:\n  claviger rekey --svm vs0 --dir /var/lib/claviger\n  claviger rekey --svm vs0 --external https://barbican.example.com:9311/v1/secrets/5d1c8a52-5d3c-4f0c-8f66-0cf5bb3c2f9a --dir /var/lib/claviger"
    )]
    Rekey {
        /// The SVM: its name or UUID
        #[arg(long, value_name = "S")]
        svm: Option<String>,
        /// The new top-level key: the URL of another secret of the Barbican
        #[arg(long, value_name = "URL", requires = "svm", value_parser = quiet::<SecretUrl>().map(Box::new))]
        external: Option<Box<SecretUrl>>,
    },

    /// Move an SVM's KEK between the cluster's keystore and the SVM's enabled one; no key is re-wrapped
    ///
    /// The enabled keystore stays the enabled one. To use another keystore from then on, switch to it.
    #[command(after_help = "Example:\n  claviger migrate --svm vs0 --to vs0/barbican --dir /var/lib/claviger")]
    Migrate {
        #[command(flatten)]
        svm: SvmArg,
        /// The keystore that will keep the KEK: a UUID, SVM/NAME, or `cluster`
        #[arg(long, value_name = "KEYSTORE")]
        to: KeystoreArg,
    },

    /// KEKs: show how they are kept, fetch them from their keepers
    #[command(subcommand)]
    Kek(KekCommand),

    /// Open every record and every key, and name each that is damaged; writes nothing
    ///
    /// What depends on a damaged record is counted as not checked. Exits with 6 where something is damaged. The store is copied to the directory for temporary files (TMPDIR) first; a service reads its own.
    #[command(after_help = "Example:\n  claviger verify --dir /var/lib/claviger")]
    Verify,

    /// Backups of the hierarchy, without the keys: create, verify, restore
    #[command(subcommand)]
    Backup(BackupCommand),

    /// The hierarchy's store: copy it to one of another kind
    #[command(subcommand)]
    Store(StoreCommand),

    /// Long operations: list, show, wait for, cancel
    #[command(subcommand)]
    Job(JobCommand),

    /// Show the hierarchy as a tree: keystores, SVMs, KEKs, numbers of keys, jobs
    ///
    /// Asks the keepers of KEKs, as a start does, and waits for them 15 s at most.
    #[command(after_help = "Example:\n  claviger show --dir /var/lib/claviger")]
    Show,

    /// Serve the hierarchy over HTTPS, to clients of ONTAP's REST API and to this program
    #[command(after_help = "Example:\n  claviger serve --config /etc/claviger/claviger.toml\n  claviger serve --dev")]
    Serve(ServeArgs),

    /// Accounts of the service: create, list, set a password, delete
    ///
    /// A service that runs heeds the change at once.
    #[command(subcommand)]
    Account(AccountCommand),

    /// The service's audit log: verify
    #[command(subcommand)]
    Audit(AuditCommand),

    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  claviger completions bash >~/.local/share/bash-completion/completions/claviger"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum SvmCommand {
    /// Make a data SVM; its KEK is made with its first key
    #[command(after_help = "Example:\n  claviger svm create vs0 --dir /var/lib/claviger")]
    Create {
        /// Its name
        name: SvmName,
    },
    /// Show an SVM as a tree: its enabled keystore, its KEK, its numbers of keys
    ///
    /// Asks the keepers of KEKs, as a start does, and waits for them 15 s at most.
    #[command(after_help = "Example:\n  claviger svm show vs0 --dir /var/lib/claviger")]
    Show {
        /// The SVM: its name or UUID
        svm: String,
    },
    /// List all SVMs
    #[command(after_help = "Example:\n  claviger svm list --dir /var/lib/claviger")]
    List,
    /// Give an SVM another name
    #[command(after_help = "Example:\n  claviger svm rename vs0 archive --dir /var/lib/claviger")]
    Rename {
        /// The SVM: its name or UUID
        svm: String,
        /// The new name
        name: SvmName,
    },
    /// Delete a data SVM that has no keys
    #[command(after_help = "Example:\n  claviger svm delete vs0 --dir /var/lib/claviger")]
    Delete {
        /// The SVM: its name or UUID
        svm: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KekCommand {
    /// Show an SVM's KEKs as their keepers keep them: what it takes to have them without claviger
    ///
    /// Nothing of it is secret: who has the top-level key too has the KEK. Keep it where the backups are.
    #[command(after_help = "Example:\n  claviger kek show vs0 --dir /var/lib/claviger")]
    Show {
        /// The SVM: its name or UUID
        svm: String,
    },
    /// Fetch KEKs from their keepers, to see that they can be had
    ///
    /// Exits with 8 where a keeper does not give one.
    #[command(after_help = "Example:\n  claviger kek restore --svm vs0 --dir /var/lib/claviger")]
    Restore {
        #[command(flatten)]
        of: KeksOf,
    },
}

/// Whose KEKs are meant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct KeksOf {
    /// Those of this SVM: its name or UUID
    #[arg(long, value_name = "S")]
    pub(crate) svm: Option<String>,
    /// Those of every SVM
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Write a backup, which opens with the passphrase alone: SVMs and KEKs, no keys
    ///
    /// Make a new one after each SVM's first key, each rekey and each change of the passphrase. The keys are in the store:
    /// copy the hierarchy's directory too.
    #[command(after_help = "Example:\n  claviger backup create --output claviger.backup --dir /var/lib/claviger")]
    Create {
        /// The file to write, which must not exist; its mode will be 0600. Without it, the backup goes to standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check that a backup opens, and with it every key of a copy; writes nothing, and needs no other hierarchy
    ///
    /// Opens the backup with the passphrase that was in force when it was made, gets every KEK out of it, and opens every key
    /// of the copy. Exits with 6 where something is damaged or does not fit. The copied store is copied to the directory for
    /// temporary files (TMPDIR) first.
    #[command(
        after_help = "Example:\n  claviger backup verify --from claviger.backup --keys-from /mnt/copy --passphrase-file p"
    )]
    Verify {
        /// The backup's file
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// A copy of the hierarchy's directory, whose keys are opened; its sealing key is not needed
        #[arg(long, value_name = "DIR")]
        keys_from: Option<PathBuf>,
    },
    /// Make the hierarchy of a backup in an empty directory, and take over the keys of a copy
    ///
    /// Exits with 6 where keys of the copy do not open; they are named, and not taken over.
    #[command(
        after_help = "Example:\n  claviger backup restore --from claviger.backup --keys-from /mnt/copy --passphrase-file p --dir /var/lib/claviger"
    )]
    Restore {
        /// The backup's file
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// A copy of the hierarchy's directory, whose keys are taken over. Nothing is written there
        #[arg(long, value_name = "DIR")]
        keys_from: Option<PathBuf>,
    },
}

/// On which database the store of a new hierarchy is.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArg {
    /// The database that the store is on; `claviger store copy` changes it later
    #[arg(long, value_name = "KIND", default_value = StoreKind::default().name(), value_parser = store_kinds())]
    pub(crate) store: StoreKind,
}

fn store_kinds() -> impl TypedValueParser<Value = StoreKind> {
    PossibleValuesParser::new(StoreKind::ALL.map(StoreKind::name)).try_map(|name| name.parse())
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy a hierarchy to a store on another database, compare the two, and open every key of the copy
    ///
    /// Nothing is written to the source, and nobody can write to it meanwhile. Damaged records are copied as they are and named:
    /// the exit code is 6 then, and the copy complete. A copy that was interrupted does not open, and can be repeated. Both
    /// stores are copied to the directory for temporary files (TMPDIR) on the way. Use one of the two from then on, and remove
    /// the other.
    #[command(
        after_help = "Example:\n  claviger store copy --from /var/lib/claviger --to /var/lib/claviger-redb --store redb"
    )]
    Copy {
        /// The hierarchy's directory
        #[arg(long, value_name = "D")]
        from: PathBuf,
        /// The copy's directory, which must not exist or be empty
        #[arg(long, value_name = "D2")]
        to: PathBuf,
        /// The database that the copy is on
        #[arg(long, value_name = "KIND", value_parser = store_kinds())]
        store: StoreKind,
    },
}

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum JobCommand {
    /// List jobs: those that wait, and those that ended within 24 hours
    #[command(after_help = "Example:\n  claviger job list --dir /var/lib/claviger")]
    List,
    /// Show one job
    #[command(
        after_help = "Example:\n  claviger job show 0c7e4ce3-53ff-4a0e-9c3c-0f3a3a3b2a55 --dir /var/lib/claviger"
    )]
    Show {
        /// The job's UUID
        job: Uuid,
    },
    /// Go on with a job that was interrupted, and wait for its end
    ///
    /// Exits with 1 where the job failed or was cancelled.
    #[command(
        after_help = "Example:\n  claviger job wait 0c7e4ce3-53ff-4a0e-9c3c-0f3a3a3b2a55 --dir /var/lib/claviger"
    )]
    Wait {
        /// The job's UUID
        job: Uuid,
    },
    /// Cancel a job; what it has done stays done, and everything stays readable
    #[command(
        after_help = "Example:\n  claviger job cancel 0c7e4ce3-53ff-4a0e-9c3c-0f3a3a3b2a55 --dir /var/lib/claviger"
    )]
    Cancel {
        /// The job's UUID
        job: Uuid,
    },
}
