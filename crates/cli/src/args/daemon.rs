//! The arguments of the service, of its accounts and of its audit log.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use claviger_ontap::Role;
use claviger_server::{AccountName, LineHash};

/// How the service runs.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The configuration, as TOML; variables of the environment win over it, and arguments over both
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, in place of what is configured
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Try it out: a new hierarchy, an account whose password is of this start alone, a port that is free
    ///
    /// All of it is in a temporary directory, which goes when the service stops, or in that of --dir, which stays. With --json, one
    /// line says where the service is and how to log in.
    #[arg(long)]
    pub(crate) dev: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account
    ///
    /// The password has 8 to 128 bytes; on a terminal it is asked for. --password-file and --password-fd name it too.
    #[command(after_help = "Example:\n  claviger account create alice --role admin --dir /var/lib/claviger")]
    Create {
        /// Its name: printable ASCII without ':' and spaces; also the common name of certificates that log in as it
        name: AccountName,
        /// What it may do
        #[arg(long, value_name = "ROLE")]
        role: RoleArg,
        #[command(flatten)]
        password: NewPassword,
    },
    /// List accounts
    #[command(after_help = "Example:\n  claviger account list --dir /var/lib/claviger")]
    List,
    /// Give an account another password
    #[command(after_help = "Example:\n  claviger account set-password alice --dir /var/lib/claviger")]
    SetPassword {
        /// Its name
        name: AccountName,
        #[command(flatten)]
        password: NewPassword,
    },
    /// Delete an account
    #[command(after_help = "Example:\n  claviger account delete alice --dir /var/lib/claviger")]
    Delete {
        /// Its name
        name: AccountName,
    },
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub(crate) enum RoleArg {
    /// Everything
    Admin,
    /// Reading
    ReadOnly,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Admin => Self::Admin,
            RoleArg::ReadOnly => Self::ReadOnly,
        }
    }
}

/// Where an account's new password comes from. On a terminal it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct NewPassword {
    /// Read the account's new password from this file instead of asking for it; one end of line at its end is taken off
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_fd")]
    pub(crate) new_password_file: Option<PathBuf>,
    /// Read the account's new password from this open file descriptor
    #[arg(long, value_name = "N")]
    pub(crate) new_password_fd: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that each line of the audit log is as it was written and follows the one before, and name the first that does not
    ///
    /// Exits with 6 where one does not. That its end was not cut off, and not all of it written anew, shows only against a head that
    /// was noted elsewhere.
    #[command(after_help = "Example:\n  claviger audit verify --dir /var/lib/claviger")]
    Verify {
        /// A head that was noted: exits with 6 where no line has it
        #[arg(long, value_name = "HASH")]
        head: Option<LineHash>,
    },
}
