//! What commands speak through: results, notes, failures and progress, as [`Event`]s.
//!
//! A result is one value with two forms, `Display` for people and `Serialize` for programs, so that neither says what the
//! other does not.

use std::fmt::Display;
use std::io;

use serde::Serialize;

use crate::event::{Event, Form};
use crate::exit::Exit;
use crate::failure::Failure;

/// Where a command's events go.
pub(crate) trait Sink {
    /// Takes the next event.
    ///
    /// # Errors
    /// It could not be shown, and the command ends for it.
    fn take(&self, event: Event) -> Result<(), Failure>;

    /// Whether a command that takes many steps is to take the next.
    ///
    /// # Errors
    /// Why it is to end here.
    fn goes_on(&self) -> Result<(), Failure>;
}

/// Speaks as text or as JSON.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    form: Form,
    watched: bool,
    sink: &'a dyn Sink,
}

impl<'a> Output<'a> {
    /// `watched` says whether somebody watches the progress.
    pub(crate) const fn new(form: Form, watched: bool, sink: &'a dyn Sink) -> Self {
        Self { form, watched, sink }
    }

    pub(crate) fn is_json(self) -> bool {
        self.form == Form::Json
    }

    /// Whether somebody watches a terminal.
    pub(crate) const fn is_watched(self) -> bool {
        self.watched
    }

    /// Prints a result. Whoever reads it may stop when they have enough: what the command did, and its exit code, stay what
    /// they are.
    pub(crate) fn result(self, result: &(impl Serialize + Display)) -> Result<(), Failure> {
        self.sink.take(Event::Result(rendered(self.form, result)?))
    }

    /// Prints a piece of a long result.
    pub(crate) fn part(self, text: String) -> Result<(), Failure> {
        self.sink.take(Event::Part(text))
    }

    /// Hands over a backup, which is worth nothing unless all of it is taken.
    pub(crate) fn backup(self, backup: String) -> Result<(), Failure> {
        self.sink.take(Event::Backup(backup))
    }

    /// Says something beside the result.
    pub(crate) fn note(self, message: &str) {
        self.aside(Event::Note(message.to_owned()));
    }

    /// Says something that ends nothing where nobody hears it.
    pub(crate) fn aside(self, event: Event) {
        self.sink.take(event).unwrap_or_default();
    }

    /// Whether a command that takes many steps, each complete by itself, is to take the next.
    pub(crate) fn goes_on(self) -> Result<(), Failure> {
        self.sink.goes_on()
    }

    /// Says that something failed that does not end the command. Returns the exit code.
    pub(crate) fn failure(self, failure: &Failure) -> Exit {
        self.aside(Event::Failure(failure.view()));
        failure.exit()
    }

    /// Counts up to `total` keys, or just counts where their number is not known; only where somebody watches.
    pub(crate) fn progress(self, what: &str, total: Option<u64>) -> Progress<'a> {
        self.shows(|| Event::Counting { what: what.to_owned(), total })
    }

    /// Shows that something is waited for, and for how long; only where somebody watches.
    pub(crate) fn waiting(self, what: &str) -> Progress<'a> {
        self.shows(|| Event::Waiting { what: what.to_owned() })
    }

    fn shows(self, begin: impl FnOnce() -> Event) -> Progress<'a> {
        if !self.watched {
            return Progress(None);
        }
        self.aside(begin());
        Progress(Some(self))
    }
}

/// A progress that is shown until it is dropped.
pub(crate) struct Progress<'a>(Option<Output<'a>>);

impl Progress<'_> {
    pub(crate) fn set_position(&self, done: u64) {
        if let Some(output) = self.0 {
            output.aside(Event::At(done));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(output) = self.0 {
            output.aside(Event::Over);
        }
    }
}

/// A result with the end of its last line.
pub(crate) fn rendered(form: Form, result: &(impl Serialize + Display)) -> Result<String, Failure> {
    match form {
        Form::Json => {
            let json = serde_json::to_string_pretty(result);
            json.map(|json| json + "\n").map_err(|error| Failure::Stdout(io::Error::from(error)))
        }
        Form::Text => Ok(format!("{result}\n")),
    }
}
