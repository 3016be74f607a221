//! A client of a realtime session that knows when each event came.

use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use crate::common::LONG;

/// Bytes of 50 ms of samples (16 bits, 24 kHz): the piece that clients send.
pub const PIECE: usize = 2_400;

pub struct Caller(WebSocket<UnixStream>);

impl Caller {
    /// A session with this model.
    pub fn connect(socket: &Path, model: &str) -> Caller {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let address = format!("ws://localhost/v1/realtime?model={model}");
        let (socket, _) = tungstenite::client(address, stream).unwrap();
        let mut caller = Caller(socket);
        caller.wait(&["session.created"]);
        caller
    }

    /// Send samples as one event.
    pub fn append(&mut self, samples: &[u8]) {
        let audio = STANDARD.encode(samples);
        let event = json!({"type": "input_audio_buffer.append", "audio": audio});
        self.0.send(Message::text(event.to_string())).unwrap();
    }

    /// Send silence of this length in one event.
    pub fn silence(&mut self, milliseconds: usize) {
        self.append(&vec![0; milliseconds * 48]);
    }

    /// The next event, and when it came; `None` if none came until `end`.
    pub fn next(&mut self, end: Instant) -> Option<(Instant, Value)> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A limit of 0 would mean none at all.
            let left = left.max(Duration::from_micros(1));
            self.0.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.0.read() {
                Ok(Message::Text(text)) => {
                    return Some((Instant::now(), serde_json::from_str(&text).unwrap()));
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return None;
                }
                Err(error) => panic!("a session ended: {error}"),
            }
        }
    }

    /// The next event whose kind ends like one of these.
    pub fn wait(&mut self, kinds: &[&str]) -> (Instant, Value) {
        let end = Instant::now() + LONG;
        loop {
            let (at, event) = self.next(end).expect("an event");
            let kind = event["type"].as_str().unwrap();
            if kinds.iter().any(|end| kind.ends_with(end)) {
                return (at, event);
            }
        }
    }

    /// End the session, and wait until the service has ended it, too.
    pub fn close(mut self) {
        let _ = self.0.close(None);
        while self.0.read().is_ok() {}
    }

    /// The end of the next turn.
    pub fn turn(&mut self) -> Value {
        self.wait(&["transcription.completed", "transcription.failed"])
            .1
    }
}
