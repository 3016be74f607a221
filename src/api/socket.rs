//! A WebSocket with a client: events as text, audio as bytes, signs of life, and a good end.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
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

/// After this silence of a client it is asked for a sign of life, and after twice this it is gone.
const QUIET: Duration = Duration::from_secs(30);

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
pub(super) struct Socket<C> {
    stream: WebSocketStream<C>,
    /// Time of the client's last message.
    seen: Instant,
    is_asked: bool,
}

/// Something that came from the client.
#[derive(Debug)]
pub(super) enum Incoming {
    /// An event.
    Text(Utf8Bytes),
    /// Nothing but a sign of life.
    Life,
    /// A message that is no text.
    Binary(bytes::Bytes),
}

/// The end of a connection.
#[derive(Debug)]
pub(super) enum End {
    /// The client has left, or its connection broke.
    Gone,
    /// The client is told this code and reason.
    Told(CloseCode, String),
}

impl<C: AsyncRead + AsyncWrite + Unpin> Socket<C> {
    /// The WebSocket over `connection`, of which `read` was read already.
    pub(super) async fn new(connection: C, read: Vec<u8>) -> Self {
        let (role, config) = (Role::Server, Some(config()));
        Self::of(WebSocketStream::from_partially_read(connection, read, role, config).await)
    }

    /// The client's WebSocket after its handshake, with the bounds of [`config`].
    pub(super) fn of(stream: WebSocketStream<C>) -> Self {
        Self {
            stream,
            seen: Instant::now(),
            is_asked: false,
        }
    }

    /// Send an event.
    ///
    /// # Errors
    /// The client is gone or does not read.
    pub(super) async fn say(&mut self, event: &Value) -> Result<(), End> {
        self.send(Message::text(event.to_string())).await
    }

    /// The client may be silent until now, because it was not read.
    pub(super) fn excuse(&mut self) {
        self.seen = Instant::now();
    }

    /// Ask a silent client for a sign of life.
    async fn ask(&mut self) -> Result<(), End> {
        if self.is_asked {
            let reason = "no sign of life came for a minute".to_owned();
            return Err(End::Told(CloseCode::Policy, reason));
        }
        self.is_asked = true;
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.stream.send(message).await.map_err(|error| {
            // Clients may hang up; that is not our error.
            tracing::debug!(%error, "a session ended early");
            End::Gone
        })
    }

    /// The next message. A client that is silent is asked for a sign of life. Cancel-safe.
    ///
    /// # Errors
    /// The client has left, has broken the protocol, or gives no sign of life.
    pub(super) async fn next(&mut self) -> Result<Incoming, End> {
        use tungstenite::Error;
        let message = loop {
            let patience = if self.is_asked { QUIET * 2 } else { QUIET };
            let due = self.seen + patience;
            tokio::select! {
                biased;
                message = self.stream.next() => break message,
                () = sleep_until(due) => self.ask().await?,
            }
        };
        (self.seen, self.is_asked) = (Instant::now(), false);
        Ok(match message {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Life,
            Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
            Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
            Some(Err(error)) => {
                let (code, reason) = match error {
                    Error::Capacity(_) => (
                        CloseCode::Size,
                        format!(
                            "an event has more than {MAX_EVENT} bytes: send audio in smaller pieces"
                        ),
                    ),
                    Error::Utf8(_) => (CloseCode::Invalid, "an event is not UTF-8".into()),
                    Error::Protocol(reason) => (CloseCode::Protocol, reason.to_string()),
                    error => {
                        tracing::debug!(%error, "a session ended early");
                        return Err(End::Gone);
                    }
                };
                return Err(End::Told(code, reason));
            }
        })
    }

    /// End the connection.
    pub(super) async fn end(self, end: End) {
        match end {
            End::Told(code, reason) => self.close(code, &reason).await,
            End::Gone => self.leave().await,
        }
    }

    /// Answer the farewell of a client that leaves, if it has said one.
    async fn leave(mut self) {
        // The answer waits in the socket already (RFC 6455, 5.5.1): the next read sends it.
        let rest = async {
            while self
                .stream
                .next()
                .await
                .is_some_and(|message| message.is_ok())
            {}
        };
        let _ = timeout(FAREWELL, rest).await;
    }

    /// End the session. `reason` has at most 123 bytes.
    async fn close(mut self, code: CloseCode, reason: &str) {
        let frame = CloseFrame {
            code,
            reason: reason.chars().take(120).collect::<String>().into(),
        };
        let farewell = async {
            self.stream.close(Some(frame)).await?;
            // The client may still be sending: what it has sent before it read the farewell must be
            // read, or the connection breaks and it never reads that.
            while self
                .stream
                .next()
                .await
                .is_some_and(|message| message.is_ok())
            {}
            Ok::<(), tungstenite::Error>(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}
