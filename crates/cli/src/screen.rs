//! All that is printed: results on standard output; notes, failures and progress on standard error.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use claviger::SecretBytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};
use serde::Serialize;

use crate::backup_file;
use crate::event::{Event, Form};
use crate::exit::Exit;
use crate::failure::{Failure, FailureView};
use crate::output::Sink;

/// Where a process prints.
pub(crate) struct Screen {
    form: Form,
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    watched: bool,
}

impl Screen {
    /// That of the process.
    pub(crate) fn of_process(form: Form) -> Self {
        let watched = form == Form::Text && io::stderr().is_terminal();
        Self { watched, ..Self::over(form, Box::new(io::stdout()), Box::new(io::stderr())) }
    }

    /// One that nobody watches.
    pub(crate) fn over(form: Form, out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self { form, out: out.into(), err: err.into(), watched: false }
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Whether somebody watches a terminal.
    pub(crate) const fn is_watched(&self) -> bool {
        self.watched
    }

    /// Prints what is a result already, and all of it.
    pub(crate) fn print(&self, text: &[u8]) -> io::Result<()> {
        let mut out = self.out.borrow_mut();
        out.write_all(text).and_then(|()| out.flush())
    }

    /// Says something beside the result.
    fn note(&self, message: &str) {
        match self.form {
            Form::Json => self.say(&Json(&NoteLine { note: message })),
            Form::Text => self.say(&format_args!("note: {message}")),
        }
    }

    /// Says why the command ended before it was done, and what to do. Returns the exit code.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        match failure {
            // Whoever read has enough.
            Failure::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            failure => {
                self.failed(&failure.view());
                failure.exit()
            }
        }
    }

    fn failed(&self, failure: &FailureView) {
        match self.form {
            Form::Json => self.say(&Json(&ErrorLine { error: failure })),
            Form::Text => {
                self.say(&format_args!("error: {}", failure.message));
                self.say(&format_args!("advice: {}", failure.advice));
            }
        }
    }

    /// Shows a passphrase that was made here, this once. Standard error has no buffer that would keep it.
    pub(crate) fn show_once(&self, what: &str, secret: &SecretBytes) -> Result<(), Failure> {
        let mut err = self.err.borrow_mut();
        let mut show = || {
            write!(err, "{what}: ")?;
            err.write_all(secret.expose())?;
            writeln!(err)
        };
        show().map_err(Failure::Unshown)
    }

    /// Where standard error is closed, nobody is there to be told.
    fn say(&self, line: &dyn Display) {
        writeln!(self.err.borrow_mut(), "{line}").unwrap_or_default();
    }
}

/// Shows the events of one command.
pub(crate) struct Show<'a> {
    screen: &'a Screen,
    /// How the hierarchy is named in an argument: `--dir D`, `--url U`.
    hierarchy: String,
    /// Where a backup is to be written; to standard output where none is named.
    backup_to: Option<PathBuf>,
    /// It is gone from the screen when it is dropped.
    progress: RefCell<Option<ProgressBar>>,
}

impl<'a> Show<'a> {
    pub(crate) const fn new(screen: &'a Screen, hierarchy: String, backup_to: Option<PathBuf>) -> Self {
        Self { screen, hierarchy, backup_to, progress: RefCell::new(None) }
    }
}

impl Sink for Show<'_> {
    fn take(&self, event: Event) -> Result<(), Failure> {
        let screen = self.screen;
        match event {
            Event::Result(text) => match screen.print(text.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                printed => printed.map_err(Failure::Stdout)?,
            },
            Event::Part(text) => screen.print(text.as_bytes()).map_err(Failure::Stdout)?,
            Event::Backup(backup) => backup_file::deliver(screen, backup, self.backup_to.as_deref())?,
            Event::Note(message) => screen.note(&message),
            Event::Waits { job, what } => screen.note(&format!(
                "job {job} ({what}) was interrupted; it goes on with `claviger job wait {job} {}`, or when its command is \
                 given again",
                self.hierarchy
            )),
            Event::Failure(failure) => screen.failed(&failure),
            Event::Counting { what, total } => *self.progress.borrow_mut() = Some(count(what, total)),
            Event::Waiting { what } => *self.progress.borrow_mut() = Some(wait(what)),
            Event::At(done) => self.progress.borrow().iter().for_each(|bar| bar.set_position(done)),
            Event::Over => drop(self.progress.take()),
            // Not for people.
            Event::Wants(_) | Event::End(_) | Event::Alive => {}
        }
        Ok(())
    }

    /// Whoever has enough ends the process.
    fn goes_on(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A bar for `total` keys, or a count where their number is not known.
fn count(what: String, total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{msg:8} {bar:30} {human_pos} of {human_len} keys, {rate}, {eta} left",
        None => "{msg:8} {spinner} {human_pos} keys, {rate}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
        write!(out, "{:.0}/s", state.per_sec()).unwrap_or_default();
    });
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.with_style(style).with_message(what).with_finish(ProgressFinish::AndClear)
}

/// For how long something has been waited for.
fn wait(what: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:8} {spinner} {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let bar = bar.with_style(style).with_message(what).with_finish(ProgressFinish::AndClear);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    error: &'a FailureView,
}

#[derive(Serialize)]
struct NoteLine<'a> {
    note: &'a str,
}

/// Shows a value as JSON in one line.
struct Json<'a, T>(&'a T);

impl<T: Serialize> Display for Json<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}
