//! What a connection is at, and how long it may wait for its client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::Limits;

/// What a connection is at.
pub(super) struct Activity {
    state: Mutex<Work>,
    /// The client's turn has begun, or its time has become shorter.
    hurried: Notify,
}

#[derive(Clone, Copy)]
struct Work {
    /// Requests that are answered, and bodies that wait for what they are to carry.
    running: usize,
    /// When the client's turn began.
    since: Instant,
    awaited: Awaited,
}

/// What the client is to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    First,
    Next,
    /// The rest of a header.
    Header,
}

impl Activity {
    pub(super) fn new() -> Self {
        let work = Work { running: 0, since: Instant::now(), awaited: Awaited::First };
        Self { state: work.into(), hurried: Notify::new() }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        let mut work = self.work();
        (work.running, work.awaited) = (work.running + 1, Awaited::Next);
        Running(Arc::clone(self))
    }

    /// Ends when the client is overdue.
    pub(super) async fn too_idle(&self, limits: &Limits) {
        loop {
            let Work { running, since, awaited } = *self.work();
            let patience = match awaited {
                Awaited::First | Awaited::Header => limits.header_timeout,
                Awaited::Next => limits.idle_timeout,
            };
            let now = Instant::now();
            let deadline = if running > 0 { now + patience } else { since + patience };
            if deadline <= now {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.hurried.notified() => {}
            }
        }
    }

    /// Something has come: the rest of the header must follow.
    fn heard(&self) {
        let mut work = self.work();
        if work.running == 0 && work.awaited == Awaited::Next {
            (work.since, work.awaited) = (Instant::now(), Awaited::Header);
            self.hurried.notify_one();
        }
    }

    /// The client has taken some of its answer.
    fn taken(&self) {
        let mut work = self.work();
        if work.awaited == Awaited::Next {
            work.since = Instant::now();
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that the client waits for.
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut work = self.0.work();
        (work.running, work.since) = (work.running.saturating_sub(1), Instant::now());
        self.0.hurried.notify_one();
    }
}

/// The body of an answer. While it waits for what it is to carry, its connection is not idle, however long that takes; while it waits
/// for the client to take it, it is.
pub(super) struct Carried<B> {
    body: B,
    activity: Arc<Activity>,
    running: Option<Running>,
}

impl<B> Carried<B> {
    /// `running` is the request that is answered with it.
    pub(super) const fn new(body: B, activity: Arc<Activity>, running: Running) -> Self {
        Self { body, activity, running: Some(running) }
    }
}

impl<B: Body + Unpin> Body for Carried<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let running = self.running.take().unwrap_or_else(|| self.activity.begin());
        match &polled {
            Poll::Pending => self.running = Some(running),
            Poll::Ready(_) => drop(running),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream of HTTP/1.1, which tells when something comes or goes.
pub(super) struct Noticing<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Noticing<S> {
    pub(super) const fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noticing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.heard();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noticing<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if polled.is_ready() {
            self.activity.taken();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if polled.is_ready() {
            self.activity.taken();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
