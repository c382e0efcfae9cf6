//! The client's half of `--url`: gives a command to a service, and shows what it says.

mod answer;
mod connection;
mod error;
mod profile;

use std::path::PathBuf;

use claviger::{Arena, ArenaOptions};

use self::answer::Answer;
use self::connection::Connection;
pub(crate) use self::error::ServiceError;
pub(crate) use self::profile::{Environment, ProfileError};
use crate::args::{Account, ServiceArgs, ServiceUrl};
use crate::event::Event;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Sink as _;
use crate::request::{Command, Given, Request};
use crate::screen::{Screen, Show};
use crate::secret::{Secrets as _, Source, Sources};

/// A service, and the account there.
pub(crate) struct Service {
    url: ServiceUrl,
    /// The arguments that name it again.
    named: String,
    user: Account,
    password: Source,
    /// The authorities that it is trusted by; the system's where no file is named.
    ca: Option<PathBuf>,
}

impl Service {
    /// The service that is meant; `None` where none is named. `password` is where the arguments say that it is.
    pub(crate) fn named(
        args: ServiceArgs,
        password: Source,
        environment: &Environment,
    ) -> Result<Option<Self>, Failure> {
        let ServiceArgs { url, profile, user, password_file: _, password_fd: _, url_ca } = args;
        let usage = |message: &str| Err(Failure::Usage { message: message.to_owned() });
        let Some(url) = url else {
            let profile = environment.profile(profile)?;
            return Ok(profile.map(|(name, profile)| Self {
                named: format!("--profile {name}"),
                url: profile.url,
                user: profile.user,
                password: profile.password_file.map_or(Source::Prompt, Source::File),
                ca: profile.ca,
            }));
        };
        match (profile, user) {
            (Some(_), _) => usage("--url and --profile exclude each other"),
            (None, None) => usage("the account at the service is not named: --user NAME is missing"),
            (None, Some(user)) => {
                let named = format!("--url {url} --user {}", user.as_str());
                Ok(Some(Self { named, url, user, password, ca: url_ca }))
            }
        }
    }

    /// Gives it a command, and shows what that says. A secret is sent when the command has asked for it.
    pub(crate) fn run(
        &self,
        screen: &Screen,
        sources: &Sources,
        command: Command,
        backup_to: Option<PathBuf>,
    ) -> Result<Exit, Failure> {
        let arena = Arena::new(&ArenaOptions::default())?;
        let connection = Connection::new(&self.url, &self.user, &self.password, self.ca.as_deref(), &arena)?;
        let show = Show::new(screen, self.named.clone(), backup_to);
        let request = Request { form: screen.form(), watched: screen.is_watched(), command };
        let mut given = Given::default();
        let mut is_first = true;
        loop {
            let answer = connection.ask(&request, &given, |event| match event {
                // Told with the first answer.
                Event::Waits { .. } if !is_first => Ok(()),
                event => show.take(event),
            })?;
            match answer {
                Answer::Ended(exit) => return Ok(exit),
                Answer::Wants(wanted) => {
                    if given.add(wanted, sources.secret(&arena, wanted)?) {
                        // It has it already.
                        return Err(ServiceError::Strange { url: self.url.clone() }.into());
                    }
                }
            }
            is_first = false;
        }
    }
}
