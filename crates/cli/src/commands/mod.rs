//! The commands: each does one thing through the library and prints the result.

mod account;
mod audit;
mod backup;
mod completions;
mod init;
pub(crate) mod job;
mod kek;
mod key;
mod keystore;
mod migrate;
mod quickstart;
mod rekey;
mod serve;
mod show;
mod store;
mod svm;
mod verify;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Runs the command of `args`.
pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let Args { common, command } = args;
    let serve = serve::Given::of(&common);
    let session = || Session::new(common, output);
    match command {
        Command::Quickstart { keys, store } => quickstart::run(&session()?, keys, store.store),
        Command::Init { name, store } => init::run(&session()?, &name, store.store),
        Command::Svm(command) => svm::run(&session()?, command),
        Command::Keystore(command) => keystore::run(&session()?, command),
        Command::Key(command) => key::run(&session()?, command),
        Command::Rekey { svm, external } => rekey::run(&session()?, svm.as_deref(), external.as_deref()),
        Command::Migrate { svm, to } => migrate::run(&session()?, &svm.svm, &to),
        Command::Kek(command) => kek::run(&session()?, &command),
        Command::Verify => verify::run(&session()?),
        Command::Backup(command) => backup::run(&session()?, command),
        Command::Store(command) => store::run(&session()?, &command),
        Command::Job(command) => job::run(&session()?, &command),
        Command::Show => show::run(&session()?),
        Command::Serve(args) => serve::run(args, &serve),
        Command::Account(command) => account::run(&session()?, command),
        Command::Audit(command) => audit::run(&session()?, &command),
        Command::Completions { shell } => completions::run(output, shell),
    }
}
