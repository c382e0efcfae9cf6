//! What the arguments ask for.

use std::mem;
use std::path::PathBuf;

use clap_complete::Shell;
use claviger::{StoreKind, SvmName};

use super::barbican;
use crate::args::{
    self, AccountCommand, AuditCommand, BackupCommand, KekCommand, KeyCommand, KeystoreCommand, KeystoreCreateCommand,
    New, RotateCommand, ServeArgs, StoreArg, StoreCommand,
};
use crate::failure::Failure;
use crate::request::{Command, Kek, Key, Keystore};
use crate::secret::{Secret, Source, Sources};

/// What the arguments ask for.
pub(super) enum Asked {
    Completions(Shell),
    Serve(ServeArgs),
    /// Something that is about files and directories of this machine.
    Here(Here, Sources),
    /// A command over a hierarchy, wherever it is.
    Anywhere {
        command: Command,
        sources: Sources,
        /// The file for a backup; standard output where none is named.
        backup_to: Option<PathBuf>,
    },
}

/// A command that is about files and directories of this machine.
pub(super) enum Here {
    Quickstart { keys: u64, store: StoreKind },
    Init { name: SvmName, store: StoreKind },
    BackupVerify { from: PathBuf, keys_from: Option<PathBuf> },
    BackupRestore { from: PathBuf, keys_from: Option<PathBuf> },
    StoreCopy { from: PathBuf, to: PathBuf, store: StoreKind },
    Account(AccountCommand),
    Audit(AuditCommand),
}

impl Here {
    const fn name(&self) -> &'static str {
        match self {
            Self::Quickstart { .. } => "quickstart",
            Self::Init { .. } => "init",
            Self::BackupVerify { .. } => "backup verify",
            Self::BackupRestore { .. } => "backup restore",
            Self::StoreCopy { .. } => "store copy",
            Self::Account(_) => "account",
            Self::Audit(_) => "audit",
        }
    }
}

impl Asked {
    /// The name, as it is typed, of what no service can be asked for.
    pub(super) const fn only_here(&self) -> Option<&'static str> {
        match self {
            Self::Completions(_) => Some("completions"),
            Self::Serve(_) => Some("serve"),
            Self::Here(here, _) => Some(here.name()),
            Self::Anywhere { .. } => None,
        }
    }

    /// Whether `--password-file` and `--password-fd` name the password that an account is given.
    pub(super) const fn sets_password(&self) -> bool {
        use AccountCommand::{Create, SetPassword};
        matches!(self, Self::Here(Here::Account(Create { .. } | SetPassword { .. }), _))
    }

    /// Reads files that the arguments name, but for those of secrets. To be called before the process opens anything; see
    /// [`Source::new`].
    pub(super) fn of(command: args::Command, passphrase: Source) -> Result<Self, Failure> {
        use args::Command as Args;
        let mut sources = Sources { passphrase, ..Sources::default() };
        let mut backup_to = None;
        let command = match command {
            Args::Svm(command) => Command::Svm(command),
            Args::Keystore(command) => Command::Keystore(keystore(command, &mut sources)?),
            Args::Key(command) => Command::Key(key(command)?),
            Args::Rekey { svm: Some(svm), external: Some(key) } => Command::RekeyExternal { svm, key },
            // clap lets no top-level key come here without an SVM.
            Args::Rekey { svm, external: _ } => Command::Rekey { svm },
            Args::Migrate { svm, to } => Command::Migrate { svm: svm.svm, to },
            Args::Kek(KekCommand::Show { svm }) => Command::Kek(Kek::Show { svm }),
            Args::Kek(KekCommand::Restore { of }) => Command::Kek(Kek::Restore { svm: of.svm }),
            Args::Verify => Command::Verify,
            Args::Backup(BackupCommand::Create { output }) => {
                backup_to = output;
                Command::BackupCreate
            }
            Args::Job(command) => Command::Job(command),
            Args::Show => Command::Show,
            Args::Quickstart { keys, store: StoreArg { store } } => {
                return Ok(Self::Here(Here::Quickstart { keys, store }, sources));
            }
            Args::Init { name, store: StoreArg { store } } => {
                return Ok(Self::Here(Here::Init { name, store }, sources));
            }
            Args::Backup(BackupCommand::Verify { from, keys_from }) => {
                return Ok(Self::Here(Here::BackupVerify { from, keys_from }, sources));
            }
            Args::Backup(BackupCommand::Restore { from, keys_from }) => {
                return Ok(Self::Here(Here::BackupRestore { from, keys_from }, sources));
            }
            Args::Store(StoreCommand::Copy { from, to, store }) => {
                return Ok(Self::Here(Here::StoreCopy { from, to, store }, sources));
            }
            Args::Serve(args) => return Ok(Self::Serve(args)),
            Args::Account(command) => return Ok(Self::Here(Here::Account(command), sources)),
            Args::Audit(command) => return Ok(Self::Here(Here::Audit(command), sources)),
            Args::Completions { shell } => return Ok(Self::Completions(shell)),
        };
        Ok(Self::Anywhere { command, sources, backup_to })
    }
}

fn keystore(command: KeystoreCommand, sources: &mut Sources) -> Result<Keystore, Failure> {
    Ok(match command {
        KeystoreCommand::Create(KeystoreCreateCommand::Onboard { common_criteria }) => {
            // The one that is given is the new one.
            sources.new_passphrase = mem::take(&mut sources.passphrase);
            Keystore::CreateOnboard { common_criteria }
        }
        KeystoreCommand::Create(KeystoreCreateCommand::Barbican(args)) => {
            Keystore::CreateBarbican(barbican::new(*args, sources)?.into())
        }
        KeystoreCommand::List { svm } => Keystore::List { svm },
        KeystoreCommand::Show { keystore } => Keystore::Show { keystore },
        KeystoreCommand::Check { keystore } => Keystore::Check { keystore },
        KeystoreCommand::Enable { keystore, migrate } => Keystore::Enable { keystore, migrate },
        KeystoreCommand::Switch { svm, to } => Keystore::Switch { svm: svm.svm, to },
        KeystoreCommand::Update { keystore, changes } => {
            Keystore::Update { keystore, changes: barbican::change(changes, sources)?.into() }
        }
        KeystoreCommand::Disable { keystore } => Keystore::Disable { keystore },
        KeystoreCommand::Delete { keystore } => Keystore::Delete { keystore },
        KeystoreCommand::Passphrase { new_passphrase_file, new_passphrase_fd } => {
            sources.new_passphrase = Source::new(Secret::Passphrase, new_passphrase_file, new_passphrase_fd)?;
            Keystore::Passphrase
        }
        KeystoreCommand::Unlock => Keystore::Unlock,
    })
}

fn key(command: KeyCommand) -> Result<Key, Failure> {
    Ok(match command {
        KeyCommand::Create { svm, what, algorithm } => match what.new_keys()? {
            New::Key(object) => Key::Create { svm: svm.svm, object, algorithm },
            New::Volumes(count) => Key::CreateVolumes { svm: svm.svm, count, algorithm },
        },
        KeyCommand::List { svm, key_type, limit } => Key::List { svm: svm.svm, key_type, limit },
        KeyCommand::Show { svm, object } => Key::Show { svm: svm.svm, object: object.object()? },
        KeyCommand::Delete { svm, object } => Key::Delete { svm: svm.svm, object: object.object()? },
        KeyCommand::Rotate(RotateCommand::Begin { svm, object }) => {
            Key::RotateBegin { svm: svm.svm, object: object.object()? }
        }
        KeyCommand::Rotate(RotateCommand::Finish { svm, object }) => {
            Key::RotateFinish { svm: svm.svm, object: object.object()? }
        }
    })
}
