//! Tells clients that have closed their sending side, and wait, from clients that are gone.
//!
//! A Unix socket says which of the two it is. Over TCP, and behind a proxy, both look the same
//! until something is sent to the client: a client that waits reads it, and anything else breaks
//! the connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::http::Version;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Sleep, sleep},
};

use crate::api::listener::Connection;

/// How often to check whether a client that has closed its sending side is still there.
const LOOK: Duration = Duration::from_millis(50);

/// After how many of these checks to send the client something. A TCP client that leaves after it
/// has closed its sending side sends nothing more by itself.
const ASK: u32 = 20;

/// Sent before an answer. Every client of HTTP/1.1 passes over it and reads on.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    begun: AtomicU64,
    answered: AtomicU64,
    /// True once the body of the latest request is read.
    is_read: AtomicBool,
    /// True if the latest request is of HTTP/1.0, which has no answers before the answer.
    is_old: AtomicBool,
    /// Wakes the task that waits for the next request.
    pub(super) next: Notify,
    /// Wakes a streamed answer: the client has closed its sending side.
    closed: Arc<Notify>,
}

/// Wakes a streamed answer whose client has closed its sending side, so that it sends something.
#[derive(Clone, Debug, Default)]
pub(super) struct Closed(pub(super) Arc<Notify>);

impl Requests {
    /// Note that a request of this version has begun.
    pub(super) fn begin(&self, version: Version) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.is_read.store(false, Ordering::Relaxed);
        self.is_old
            .store(version < Version::HTTP_11, Ordering::Relaxed);
        self.next.notify_waiters();
    }

    /// The body of a request, which notes that it was read.
    pub(super) fn reading<B>(self: &Arc<Self>, body: B) -> Noted<B> {
        Noted {
            body,
            at_end: |requests| requests.is_read.store(true, Ordering::Relaxed),
            requests: self.clone(),
        }
    }

    /// The body of an answer, which notes that the request was answered.
    pub(super) fn answering<B>(self: &Arc<Self>, body: B) -> Noted<B> {
        Noted {
            body,
            at_end: |requests| {
                requests.answered.fetch_add(1, Ordering::Relaxed);
            },
            requests: self.clone(),
        }
    }

    pub(super) fn closed(&self) -> Closed {
        Closed(self.closed.clone())
    }

    /// True if no request is being served.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.load(Ordering::Relaxed) == self.answered.load(Ordering::Relaxed)
    }

    /// True if there never was a request.
    pub(super) fn is_fresh(&self) -> bool {
        self.begun.load(Ordering::Relaxed) == 0
    }
}

/// A body whose end is noted, however it ends.
pub(super) struct Noted<B> {
    body: B,
    at_end: fn(&Requests),
    requests: Arc<Requests>,
}

impl<B: Body + Unpin> Body for Noted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Noted<B> {
    fn drop(&mut self) {
        (self.at_end)(&self.requests);
    }
}

/// A connection that hides the end of its client's bytes while the client waits for an answer.
#[derive(Debug)]
pub(super) struct HalfClosed {
    connection: Connection,
    requests: Arc<Requests>,
    /// Set when the client's bytes have ended: the time of the next check.
    ended: Option<Pin<Box<Sleep>>>,
    looks: u32,
    /// Number of the request during which bytes of an answer were sent last.
    told: u64,
    /// True while the client takes nothing more.
    is_stuck: bool,
    /// True if only a part of something could be sent.
    is_broken: bool,
}

impl HalfClosed {
    pub(super) fn new(connection: Connection, requests: Arc<Requests>) -> Self {
        Self {
            connection,
            requests,
            ended: None,
            looks: 0,
            told: 0,
            is_stuck: false,
            is_broken: false,
        }
    }

    /// True if the client is gone, or waits for nothing, or its request is not whole. The last
    /// bytes of a request may still be on their way to the page, which gets a second to read them.
    fn is_over(&self) -> bool {
        let is_cut_off = !self.requests.is_read.load(Ordering::Relaxed) && self.looks >= ASK;
        self.is_broken || is_cut_off || self.requests.is_idle() || self.connection.is_gone()
    }

    /// From time to time, while a whole request waits for its answer, send something that a client
    /// which waits passes over. False if for a second there was nothing that the client would
    /// understand, and the socket does not tell whether it is gone.
    fn probe(&mut self, context: &mut Context<'_>) -> bool {
        let is_due = self.looks.is_multiple_of(ASK);
        self.looks = self.looks.wrapping_add(1);
        let is_read = self.requests.is_read.load(Ordering::Relaxed);
        if !is_due || !is_read || self.is_stuck {
            return true;
        }
        if self.told == self.requests.begun.load(Ordering::Relaxed) {
            self.requests.closed.notify_one();
        } else if self.requests.is_old.load(Ordering::Relaxed) {
            // A busy service may need a while even for a page.
            let is_first = self.looks < ASK;
            return is_first || matches!(self.connection, Connection::Unix(_));
        } else if let Poll::Ready(Ok(bytes)) =
            Pin::new(&mut self.connection).poll_write(context, PROBE)
        {
            self.is_broken = bytes < PROBE.len();
        }
        true
    }

    fn note(&mut self, first: &[u8], length: usize, written: &Poll<io::Result<usize>>) {
        if !first.starts_with(b"HTTP/1.1 100 ") {
            self.told = self.requests.begun.load(Ordering::Relaxed);
        }
        self.is_stuck = !matches!(written, Poll::Ready(Ok(bytes)) if *bytes == length);
    }
}

impl AsyncRead for HalfClosed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.connection).poll_read(context, buffer))?;
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            this.ended = Some(Box::pin(sleep(LOOK)));
        }
        while !this.is_over() {
            if let Some(look) = &mut this.ended {
                ready!(look.as_mut().poll(context));
                look.set(sleep(LOOK));
            }
            if !this.probe(context) {
                break;
            }
        }
        // No bytes mean the end.
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HalfClosed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(context, data);
        self.note(data, data.len(), &written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(context, data);
        let length = data.iter().map(|slice| slice.len()).sum();
        self.note(data.first().map_or(&[], |first| first), length, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
