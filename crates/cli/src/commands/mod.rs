//! The commands: each does one thing through the library and speaks through its session.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod init;
pub(crate) mod job;
mod kek;
mod key;
mod keystore;
mod migrate;
pub(crate) mod quickstart;
mod rekey;
pub(crate) mod serve;
mod show;
pub(crate) mod store;
mod svm;
mod verify;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::request::Command;
use crate::session::Session;

/// Runs a command over the session's hierarchy.
pub(crate) fn run(session: &Session<'_>, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Svm(command) => svm::run(session, command),
        Command::Keystore(command) => keystore::run(session, command),
        Command::Key(command) => key::run(session, command),
        Command::Rekey { svm } => rekey::run(session, svm.as_deref()),
        Command::RekeyExternal { svm, key } => rekey::external(session, &svm, &key),
        Command::Migrate { svm, to } => migrate::run(session, &svm, &to),
        Command::Kek(command) => kek::run(session, &command),
        Command::Verify => verify::run(session),
        Command::BackupCreate => backup::create(session),
        Command::Job(command) => job::run(session, &command),
        Command::Show => show::run(session),
    }
}
