//! The half of a command that is local to whoever gives it: what its arguments mean, where its secrets come from, over which
//! hierarchy it runs, and where its backup goes.

mod asked;
mod barbican;

use std::path::PathBuf;

use self::asked::{Asked, Here};
use crate::args::{Args, Common, ServiceArgs};
use crate::client::{Environment, Service};
use crate::commands::{self, account, audit, backup, completions, init, quickstart, serve, store};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::request::Command;
use crate::screen::{Screen, Show};
use crate::secret::{Secret, Source, Sources};
use crate::session::{Directory, Hierarchy, Session};

/// Does what the arguments ask for.
pub(crate) fn run(args: Args, environment: &Environment, screen: &Screen) -> Result<Exit, Failure> {
    let Args { common, command } = args;
    let serve = serve::Given::of(&common);
    let Common { dir, json: _, passphrase_file, passphrase_fd, danger_accept_rollback, mut service } = common;
    let passphrase = Source::new(Secret::Passphrase, passphrase_file, passphrase_fd)?;
    let password = Source::new(Secret::Password, service.password_file.take(), service.password_fd)?;
    let asked = Asked::of(command, passphrase)?;
    // That of an account which is made or changed on this machine is nobody's to log in with.
    let (login, new) = match asked.sets_password() {
        true => (Source::Prompt, password),
        false => (password, Source::Prompt),
    };
    let place = Place::of(dir, &service, &login, danger_accept_rollback)?;
    if let (Place::Remote, Some(name)) = (&place, asked.only_here()) {
        let message = format!("`claviger {name}` is about this machine, and takes neither --url nor --profile");
        return Err(Failure::Usage { message });
    }
    let directory = |path| Directory::new(path, danger_accept_rollback);
    match (asked, place) {
        (Asked::Completions(shell), _) => completions::run(screen, shell),
        (Asked::Serve(args), _) => serve::run(args, &serve),
        (Asked::Here(here, sources), place) => run_here(screen, &directory(place.directory())?, &sources, here, new),
        (Asked::Anywhere { command, sources, backup_to }, Place::Directory(path)) => {
            over_directory(screen, &directory(Some(path))?, &sources, command, backup_to)
        }
        (Asked::Anywhere { command, sources, backup_to }, Place::Remote | Place::Unnamed) => {
            match Service::named(service, login, environment)? {
                Some(service) => service.run(screen, &sources, command, backup_to),
                None => over_directory(screen, &directory(None)?, &sources, command, backup_to),
            }
        }
    }
}

/// Where the hierarchy is, as the arguments say.
enum Place {
    Directory(PathBuf),
    Remote,
    /// The environment may name a service.
    Unnamed,
}

impl Place {
    fn of(dir: Option<PathBuf>, service: &ServiceArgs, password: &Source, accepts: bool) -> Result<Self, Failure> {
        let ServiceArgs { url, profile, user, url_ca, .. } = service;
        let is_remote = url.is_some() || profile.is_some();
        let has_details = user.is_some() || url_ca.is_some() || !matches!(password, Source::Prompt);
        let usage = |message: &str| Err(Failure::Usage { message: message.to_owned() });
        match dir {
            Some(_) if is_remote => usage("--url and --dir exclude each other, and so do --profile and --dir"),
            _ if url.is_none() && has_details => {
                usage("--user, --password-file, --password-fd and --url-ca belong to --url, which is missing")
            }
            _ if is_remote && accepts => {
                usage("--danger-accept-rollback is for opening a directory, which the service has done")
            }
            _ if is_remote => Ok(Self::Remote),
            Some(path) => Ok(Self::Directory(path)),
            None => Ok(Self::Unnamed),
        }
    }

    fn directory(self) -> Option<PathBuf> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Remote | Self::Unnamed => None,
        }
    }
}

/// Runs a command over a hierarchy in a directory.
fn over_directory(
    screen: &Screen,
    directory: &Directory,
    sources: &Sources,
    command: Command,
    backup_to: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let show = Show::new(screen, format!("--dir {}", directory.path()?.display()), backup_to);
    let output = Output::new(screen.form(), screen.is_watched(), &show);
    commands::run(&Session::new(output, Hierarchy::In(directory), sources), command)
}

/// Runs a command that is about files and directories of this machine.
fn run_here(
    screen: &Screen,
    directory: &Directory,
    sources: &Sources,
    asked: Here,
    new_password: Source,
) -> Result<Exit, Failure> {
    let show = Show::new(screen, String::new(), None);
    let output = Output::new(screen.form(), screen.is_watched(), &show);
    let session = Session::new(output, Hierarchy::In(directory), sources);
    match asked {
        Here::Quickstart { keys, store } => {
            let here = quickstart::Here { screen, directory, passphrase: &sources.passphrase };
            quickstart::run(&session, here, keys, store)
        }
        Here::Init { name, store } => init::run(&session, directory, &name, store),
        Here::BackupVerify { from, keys_from } => backup::verify(&session, &from, keys_from.as_deref()),
        Here::BackupRestore { from, keys_from } => backup::restore(&session, directory, &from, keys_from.as_deref()),
        Here::StoreCopy { from, to, store } => store::copy(&session, directory, &from, &to, store),
        Here::Account(command) => account::run(&session, directory, command, new_password),
        Here::Audit(command) => audit::run(&session, directory, &command),
    }
}
