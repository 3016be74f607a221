//! A client of realtime sessions, over a Unix socket or TCP.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tungstenite::{
    Message, WebSocket, client::IntoClientRequest, handshake::client::Response,
    protocol::frame::coding::CloseCode,
};

use super::{LONG, clips::Clip};

/// Bytes of 50 ms of samples at 24 kHz: the piece that clients send.
const PIECE: usize = 2_400;

/// Any stream to a service.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// The answer that refuses a session.
pub type Refused = Box<tungstenite::http::Response<Option<Vec<u8>>>>;

/// A session.
pub struct Session {
    socket: WebSocket<Box<dyn Stream>>,
}

/// The ways in which a session ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed(pub Option<u16>);

impl Session {
    /// A session over the Unix socket `path`, with these query and headers.
    pub fn connect(path: &Path, query: &str, headers: &[(&'static str, &str)]) -> Session {
        Session::try_connect(unix(path), query, headers)
            .unwrap_or_else(|answer| panic!("{answer:?}"))
            .0
    }

    /// A session over `stream`, or the answer that refuses it.
    pub fn try_connect(
        stream: Box<dyn Stream>,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Session, Response), Refused> {
        let address = format!("ws://localhost/v1/realtime?{query}");
        let mut request = address.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, stream) {
            Ok((socket, response)) => Ok((Session { socket }, response)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer)
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub fn send(&mut self, event: &Value) {
        self.socket.send(Message::text(event.to_string())).unwrap();
    }

    pub fn send_raw(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// Send `samples` in pieces of 50 ms, as fast as they are taken.
    pub fn append(&mut self, samples: &[u8]) {
        for piece in samples.chunks(PIECE) {
            let audio = STANDARD.encode(piece);
            self.send(&json!({"type": "input_audio_buffer.append", "audio": audio}));
        }
    }

    pub fn commit(&mut self) {
        self.send(&json!({"type": "input_audio_buffer.commit"}));
    }

    /// The next event, or how the session was ended.
    pub fn event(&mut self) -> Result<Value, Closed> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => {
                    return Err(Closed(frame.map(|frame| CloseCode::into(frame.code))));
                }
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return Err(Closed(None)),
                Err(error) => panic!("no event: {error}"),
            }
        }
    }

    /// The events up to the next one of this kind.
    #[track_caller]
    pub fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = match self.event() {
                Ok(event) => event,
                Err(closed) => panic!("{closed:?} before {kind}, after {events:#?}"),
            };
            let is_last = event["type"] == kind;
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    /// The next event of this kind.
    #[track_caller]
    pub fn wait(&mut self, kind: &str) -> Value {
        self.until(kind).pop().unwrap()
    }

    /// The end of the next turn: `completed` or `failed`.
    #[track_caller]
    pub fn turn(&mut self) -> Value {
        loop {
            let event = self.event().unwrap();
            let kind = event["type"].as_str().unwrap();
            if kind.ends_with("transcription.completed") || kind.ends_with("transcription.failed") {
                return event;
            }
        }
    }

    /// Take events until the session ends.
    pub fn end(&mut self) -> (Vec<Value>, Closed) {
        let mut events = Vec::new();
        loop {
            match self.event() {
                Ok(event) => events.push(event),
                Err(closed) => return (events, closed),
            }
        }
    }
}

/// A stream to the Unix socket `path`.
pub fn unix(path: &Path) -> Box<dyn Stream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    Box::new(stream)
}

/// A stream over TCP.
pub fn tcp(address: SocketAddr) -> Box<dyn Stream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    Box::new(stream)
}

/// The clip as the samples of a session: 16 bits, 24 kHz.
pub fn samples(clip: Clip) -> Vec<u8> {
    converted(clip, "-ar 24000 -f s16le")
}

/// The clip as ffmpeg converts it by these arguments.
pub fn converted(clip: Clip, arguments: &str) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg")
        .args(
            "-nostdin -loglevel error -i pipe:0"
                .replace("-nostdin ", "")
                .split(' '),
        )
        .args(arguments.split(' '))
        .arg("pipe:1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("install ffmpeg");
    let mut input = ffmpeg.stdin.take().unwrap();
    let wav = clip.wav();
    let writer = std::thread::spawn(move || input.write_all(&wav));
    let output = ffmpeg.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Silence of so many milliseconds at 24 kHz.
pub fn silence(milliseconds: usize) -> Vec<u8> {
    vec![0; milliseconds * 48]
}
