//! The line from a command, which runs in a thread of its own, to the answer that carries its events.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use claviger_server::Work;
use hyper::body::{Body, Frame};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::event::Event;
use crate::exit::Exit;
use crate::failure::{Failure, FailureView};
use crate::output::Sink;

/// How many events wait at most for a client that is slow.
const ROOM: usize = 64;

/// For how long a command waits at most for a client that reads nothing. From then on, nobody listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often progress is told.
const BETWEEN_POSITIONS: Duration = Duration::from_millis(100);

/// How long nothing is said at most: clients, and what is in between, give a silent connection up.
const SILENCE: Duration = Duration::from_secs(15);

/// The two ends of a line for a command that is this work. To be called in a runtime.
pub(super) fn line(work: Work) -> (Line, Lines) {
    let (events, receiver) = mpsc::channel(ROOM);
    let line = Line { events, runtime: Handle::current(), listens: Cell::new(true), told: Cell::new(None), work };
    (line, Lines { held: VecDeque::new(), events: receiver, silence: Box::pin(sleep(SILENCE)) })
}

/// The command's end. It may wait, so it is for threads that may.
pub(super) struct Line {
    events: Sender<Event>,
    runtime: Handle,
    listens: Cell<bool>,
    /// When a position was told last.
    told: Cell<Option<Instant>>,
    work: Work,
}

impl Line {
    fn send(&self, event: Event) {
        if self.listens.get() {
            let sent = self.runtime.block_on(self.events.send_timeout(event, PATIENCE));
            self.listens.set(sent.is_ok());
        }
    }
}

/// What a command did stays what it is where nobody listens. What only has to be read ends then.
impl Sink for Line {
    fn take(&self, event: Event) -> Result<(), Failure> {
        let is_read = matches!(event, Event::Part(_) | Event::Backup(_));
        match event {
            Event::At(_) if self.told.get().is_some_and(|told| told.elapsed() < BETWEEN_POSITIONS) => {}
            Event::At(_) => {
                self.told.set(Some(Instant::now()));
                // The next one says more.
                self.events.try_send(event).unwrap_or_default();
            }
            event => self.send(event),
        }
        match is_read && !self.listens.get() {
            true => Err(Failure::Stdout(io::ErrorKind::BrokenPipe.into())),
            false => Ok(()),
        }
    }

    fn goes_on(&self) -> Result<(), Failure> {
        match (self.work.must_end(), self.listens.get() && !self.events.is_closed()) {
            (true, _) => Err(Failure::ServiceStops),
            (false, false) => Err(Failure::Stdout(io::ErrorKind::BrokenPipe.into())),
            (false, true) => Ok(()),
        }
    }
}

/// The answer's end: a body of one event a line.
pub(super) struct Lines {
    /// Taken from the line already.
    held: VecDeque<Event>,
    events: Receiver<Event>,
    silence: Pin<Box<Sleep>>,
}

impl Lines {
    /// The status of the answer, which must be known before the first byte of it. Waits for the first event that says how the command
    /// goes, but not for long.
    pub(super) async fn status(&mut self) -> StatusCode {
        let until = Instant::now() + SILENCE;
        loop {
            let event = match timeout_at(until, self.events.recv()).await {
                Ok(Some(event)) => event,
                // It broke off.
                Ok(None) => return StatusCode::INTERNAL_SERVER_ERROR,
                Err(_) => return StatusCode::ACCEPTED,
            };
            let status = status_of(&event);
            self.held.push_back(event);
            if let Some(status) = status {
                return status;
            }
        }
    }
}

/// `None` where the event does not tell.
fn status_of(event: &Event) -> Option<StatusCode> {
    match event {
        Event::Note(_) | Event::Waits { .. } | Event::Alive => None,
        Event::Result(_) | Event::Part(_) | Event::Backup(_) => Some(StatusCode::OK),
        // It goes on, and may come to anything yet.
        Event::Counting { .. } | Event::Waiting { .. } | Event::At(_) | Event::Over => Some(StatusCode::ACCEPTED),
        Event::Wants(_) => Some(StatusCode::PRECONDITION_REQUIRED),
        Event::Failure(FailureView { exit_code, .. }) | Event::End(exit_code) => {
            Some(match Exit::of_code(*exit_code).unwrap_or(Exit::Failed) {
                Exit::Done => StatusCode::OK,
                Exit::Request => StatusCode::BAD_REQUEST,
                Exit::NotFound => StatusCode::NOT_FOUND,
                Exit::Taken => StatusCode::CONFLICT,
                Exit::Passphrase => StatusCode::FORBIDDEN,
                Exit::Keeper => StatusCode::BAD_GATEWAY,
                Exit::Failed | Exit::Damage | Exit::Node | Exit::Service => StatusCode::INTERNAL_SERVER_ERROR,
            })
        }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = match self.held.pop_front() {
            Some(held) => held,
            None => match self.events.poll_recv(context) {
                Poll::Ready(Some(event)) => event,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => match self.silence.as_mut().poll(context) {
                    Poll::Ready(()) => Event::Alive,
                    Poll::Pending => return Poll::Pending,
                },
            },
        };
        self.silence = Box::pin(sleep(SILENCE));
        Poll::Ready(written(&event).map(|line| Ok(Frame::data(line))))
    }
}

/// An event as a line. Nothing in one is beyond JSON; where it were, the client is told by the missing end.
fn written(event: &Event) -> Option<Bytes> {
    let mut line = serde_json::to_vec(event).ok()?;
    line.push(b'\n');
    Some(line.into())
}

#[cfg(test)]
mod tests {
    use claviger_ontap::Role;
    use claviger_server::Background;

    use super::*;

    fn line() -> (Line, Lines) {
        super::line(Background::default().begin(Role::Admin).unwrap())
    }

    #[tokio::test]
    async fn what_nobody_reads_ends_and_what_was_done_stays_done() {
        let (line, lines) = line();
        assert!(line.goes_on().is_ok());
        drop(lines);
        let command = move || {
            assert!(matches!(line.goes_on(), Err(Failure::Stdout(_))));
            let result = line.take(Event::Result("done".to_owned()));
            let part = line.take(Event::Part("a page".to_owned()));
            (result.is_ok(), matches!(part, Err(Failure::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe))
        };
        assert_eq!(tokio::task::spawn_blocking(command).await.unwrap(), (true, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_line_says_that_it_lives() {
        use http_body_util::BodyExt as _;
        let (line, mut lines) = line();
        let begun = Instant::now();
        for _ in 0..2 {
            let frame = lines.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "\"alive\"\n");
        }
        assert_eq!(begun.elapsed(), 2 * SILENCE);
        drop(line);
        assert!(lines.frame().await.is_none());
    }
}
