//! Reads and writes a connection at the same time: pending output never stops input.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::frame::{Frames, encode};

/// Most bytes that wait for a client that does not read. A client that sends a whole recording
/// before it reads its transcript has room for a transcript of hours.
const BACKLOG: usize = 256 * 1024;

/// Events of one connection, in both directions.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) frames: Frames,
    /// The client has closed its sending side.
    has_ended: bool,
    outgoing: BytesMut,
    /// Time when the client last took bytes, or all bytes were taken.
    taken: Instant,
}

/// A step on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// This many bytes arrived; 0 means that the client sends no more.
    In(usize),
    /// The client took some bytes.
    Out,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            has_ended: false,
            outgoing: BytesMut::new(),
            taken: Instant::now(),
        }
    }

    /// Queue an event. It goes out when the client reads.
    pub(super) fn say(&mut self, kind: &str, data: &Value) {
        if self.outgoing.is_empty() {
            self.taken = Instant::now();
        }
        self.outgoing.extend_from_slice(&encode(kind, data));
    }

    /// True if the client has closed its sending side.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// True if so much output waits for the client that nothing should be added.
    pub(super) fn is_backed_up(&self) -> bool {
        self.outgoing.len() >= BACKLOG
    }

    /// Time since the client last took bytes of the pending output; `None` if nothing is pending.
    pub(super) fn untaken(&self) -> Option<Duration> {
        (!self.outgoing.is_empty()).then(|| self.taken.elapsed())
    }

    /// Write pending output and, if `reads`, read; returns after the first success of either.
    /// Cancel-safe.
    pub(super) async fn exchange(&mut self, reads: bool) -> io::Result<Moved> {
        poll_fn(|context| {
            if !self.outgoing.is_empty() {
                let write = pin!(self.stream.write(&self.outgoing));
                match write.poll(context) {
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    Poll::Ready(Ok(length)) => {
                        self.outgoing.advance(length);
                        self.taken = Instant::now();
                        return Poll::Ready(Ok(Moved::Out));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            if !reads {
                return Poll::Pending;
            }
            let read = pin!(self.stream.read_buf(self.frames.room()));
            read.poll(context).map_ok(|length| {
                self.has_ended = length == 0;
                Moved::In(length)
            })
        })
        .await
    }

    /// Write all pending output. Fails if the client takes nothing for `patience`.
    pub(super) async fn flush(&mut self, patience: Duration) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            timeout(patience, self.exchange(false)).await??;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_is_not_taken_keeps_nothing_from_arriving() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut wire = Wire::new(server);
        let text = "x".repeat(1000);
        wire.say("a", &json!({"text": text}));
        assert_eq!(wire.exchange(true).await.unwrap(), Moved::Out);
        client.write_all(b"{\"type\":\"b\"}\n").await.unwrap();
        assert_eq!(wire.exchange(true).await.unwrap(), Moved::In(13));
        assert_eq!(wire.frames.next().unwrap().unwrap().kind, "b");
        assert!(wire.untaken().is_some() && !wire.is_backed_up());
        let error = wire.flush(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let read = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        wire.flush(Duration::from_secs(10)).await.unwrap();
        assert!(wire.untaken().is_none());
        drop(wire);
        let mut frames = Frames::default();
        frames.push(&read.await.unwrap());
        assert_eq!(frames.next().unwrap().unwrap().kind, "a");
    }

    #[tokio::test]
    async fn the_buffer_does_not_keep_what_it_once_needed() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::new(server);
        let length = 256 * 1024;
        let header = format!("{{\"type\":\"a\",\"data_length\":{length}}}\n");
        client.write_all(header.as_bytes()).await.unwrap();
        client.write_all(&vec![b' '; length]).await.unwrap();
        while wire.frames.next().unwrap().is_none() {
            wire.exchange(true).await.unwrap();
        }
        client.write_all(b"{").await.unwrap();
        assert_eq!(wire.exchange(true).await.unwrap(), Moved::In(1));
        assert!(wire.frames.room().capacity() <= 3 * 64 * 1024);
        drop(client);
        assert_eq!(wire.exchange(true).await.unwrap(), Moved::In(0));
    }
}
