//! A WebSocket with a client: events as text, audio as bytes, and a good end.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// Most bytes of one event. As base64 that is 16 s of the audio with most bytes.
pub(super) const MAX_EVENT: usize = 1024 * 1024;

/// Bytes that are read at once. Each client has as many all the time.
const READ: usize = 4 * 1024;

/// Bytes of events that may wait for the client before we wait, too.
const WRITE: usize = 256 * 1024;

/// How long the client may take to answer our farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// The bounds of every WebSocket.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE)
        .max_message_size(Some(MAX_EVENT))
        .max_frame_size(Some(MAX_EVENT))
}

/// A client's WebSocket.
#[derive(Debug)]
pub(super) struct Socket<C>(WebSocketStream<C>);

/// Something that came from the client.
#[derive(Debug)]
pub(super) enum Incoming {
    /// An event.
    Text(Utf8Bytes),
    /// A sign of life.
    Life,
    /// A message that is no text.
    Binary(bytes::Bytes),
    /// The client has left, or its connection broke.
    Left,
    /// The client broke the protocol, and is told so by this code.
    Fault(CloseCode, String),
}

/// The client takes nothing more.
#[derive(Debug)]
pub(super) struct Gone;

impl<C: AsyncRead + AsyncWrite + Unpin> Socket<C> {
    /// The WebSocket over `connection`, of which `read` was read already.
    pub(super) async fn new(connection: C, read: Vec<u8>) -> Self {
        let (role, config) = (Role::Server, Some(config()));
        Self(WebSocketStream::from_partially_read(connection, read, role, config).await)
    }

    /// The client's WebSocket after its handshake, with the bounds of [`config`].
    pub(super) fn of(stream: WebSocketStream<C>) -> Self {
        Self(stream)
    }

    /// Send an event.
    ///
    /// # Errors
    /// The client is gone or does not read.
    pub(super) async fn say(&mut self, event: &Value) -> Result<(), Gone> {
        self.send(Message::text(event.to_string())).await
    }

    /// Ask for a sign of life.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub(super) async fn ping(&mut self) -> Result<(), Gone> {
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.0.send(message).await.map_err(|error| {
            // Clients may hang up; that is not our error.
            tracing::debug!(%error, "a session ended early");
            Gone
        })
    }

    /// The next message. Cancel-safe.
    pub(super) async fn next(&mut self) -> Incoming {
        use tungstenite::Error;
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Life,
            Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
            Some(Ok(Message::Close(_))) | None => Incoming::Left,
            Some(Err(Error::Capacity(_))) => Incoming::Fault(
                CloseCode::Size,
                format!("an event has more than {MAX_EVENT} bytes: send audio in smaller pieces"),
            ),
            Some(Err(Error::Utf8(_))) => {
                Incoming::Fault(CloseCode::Invalid, "an event is not UTF-8".into())
            }
            Some(Err(Error::Protocol(reason))) => {
                Incoming::Fault(CloseCode::Protocol, reason.to_string())
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a session ended early");
                Incoming::Left
            }
        }
    }

    /// Answer the farewell of a client that leaves, if it has said one.
    pub(super) async fn leave(mut self) {
        // The answer waits in the socket already (RFC 6455, 5.5.1): the next read sends it.
        let rest = async { while self.0.next().await.is_some_and(|message| message.is_ok()) {} };
        let _ = timeout(FAREWELL, rest).await;
    }

    /// End the session. `reason` has at most 123 bytes.
    pub(super) async fn close(mut self, code: CloseCode, reason: &str) {
        let frame = CloseFrame {
            code,
            reason: reason.chars().take(120).collect::<String>().into(),
        };
        let farewell = async {
            self.0.close(Some(frame)).await?;
            // The client may still be sending: what it has sent before it read the farewell must be
            // read, or the connection breaks and it never reads that.
            while self.0.next().await.is_some_and(|message| message.is_ok()) {}
            Ok::<(), tungstenite::Error>(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}
