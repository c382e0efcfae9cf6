//! All that is printed: results on standard output; notes, failures and progress on standard error.
//!
//! A result is one value with two forms, `Display` for people and `Serialize` for programs, so that neither says what the
//! other does not.

use std::fmt::{self, Display};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::time::Duration;

use claviger::SecretBytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, FailureView};

/// Prints as text or as JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result. Whoever reads it may stop when they have enough: what the command did, and its exit code, stay what
    /// they are.
    pub(crate) fn result(self, result: &(impl Serialize + Display)) -> Result<(), Failure> {
        match self.whole_result(result) {
            Err(Failure::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed,
        }
    }

    /// Prints a result that is worth nothing unless all of it is read.
    pub(crate) fn whole_result(self, result: &(impl Serialize + Display)) -> Result<(), Failure> {
        let mut out = self.stdout();
        let written = match self.json {
            true => {
                serde_json::to_writer_pretty(&mut out, result).map_err(io::Error::from).and_then(|()| writeln!(out))
            }
            false => writeln!(out, "{result}"),
        };
        written.and_then(|()| out.flush()).map_err(Failure::Stdout)
    }

    /// Where a long result is printed bit by bit. To be flushed at its end.
    pub(crate) fn stdout(self) -> BufWriter<io::StdoutLock<'static>> {
        BufWriter::new(io::stdout().lock())
    }

    /// Says something beside the result.
    pub(crate) fn note(self, message: &str) {
        match self.json {
            true => to_stderr(&Json(&NoteLine { note: message })),
            false => to_stderr(&format_args!("note: {message}")),
        }
    }

    /// Says why the command ended before it was done, and what to do. Returns the exit code.
    pub(crate) fn failure(self, failure: &Failure) -> Exit {
        match failure {
            // Whoever read has enough.
            Failure::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Done,
            failure if self.json => to_stderr(&Json(&ErrorLine { error: failure.view() })),
            failure => {
                to_stderr(&format_args!("error: {}", failure.message()));
                to_stderr(&format_args!("advice: {}", failure.advice()));
            }
        }
        failure.exit()
    }

    /// Shows a passphrase that was made here, this once. Standard error has no buffer that would keep it.
    pub(crate) fn show_once(self, what: &str, secret: &SecretBytes) -> Result<(), Failure> {
        let show = |mut stderr: io::StderrLock<'_>| {
            write!(stderr, "{what}: ")?;
            stderr.write_all(secret.expose())?;
            writeln!(stderr)
        };
        show(io::stderr().lock()).map_err(Failure::Unshown)
    }

    /// Whether somebody watches a terminal.
    pub(crate) fn is_watched(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// A bar for `total` keys, or a count where their number is not known; only where somebody watches. It is gone when it is
    /// dropped.
    pub(crate) fn progress(self, what: &'static str, total: Option<u64>) -> ProgressBar {
        if !self.is_watched() {
            return ProgressBar::hidden();
        }
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

    /// Shows that something is waited for, and for how long; only where somebody watches. It is gone when it is dropped.
    pub(crate) fn waiting(self, what: &'static str) -> ProgressBar {
        if !self.is_watched() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:8} {spinner} {elapsed}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let bar = bar.with_style(style).with_message(what).with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

/// Where standard error is closed, nobody is there to be told.
fn to_stderr(line: &dyn Display) {
    writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
}

#[derive(Serialize)]
struct ErrorLine {
    error: FailureView,
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
