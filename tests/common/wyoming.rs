//! A client of Wyoming: good events, and whatever else anybody may send.

use std::{
    io::{ErrorKind::UnexpectedEof, Read, Write},
    net::{Shutdown, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    thread::JoinHandle,
};

use serde_json::{Value, json};

use super::LONG;

/// One event as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: String,
    pub data: Value,
}

/// An event as the reference implementation writes it: data and payload behind the header.
pub fn event(kind: &str, data: Value, payload: &[u8]) -> Vec<u8> {
    let mut header = json!({"type": kind, "version": "1.10.2"});
    let mut block = String::new();
    if !data.is_null() {
        block = data.to_string();
        header["data_length"] = block.len().into();
    }
    if !payload.is_empty() {
        header["payload_length"] = payload.len().into();
    }
    [format!("{header}\n{block}").as_bytes(), payload].concat()
}

/// 16 kHz, mono, 16 bits.
pub fn plain() -> Value {
    json!({"rate": 16_000, "width": 2, "channels": 1, "timestamp": null})
}

pub fn start() -> Vec<u8> {
    event("audio-start", plain(), b"")
}

pub fn chunk(samples: &[u8]) -> Vec<u8> {
    event("audio-chunk", plain(), samples)
}

pub fn stop() -> Vec<u8> {
    event("audio-stop", json!({"timestamp": null}), b"")
}

/// A whole request, the recording in chunks of 64 ms.
pub fn request(wish: Value, samples: &[u8]) -> Vec<u8> {
    let mut bytes = event("transcribe", wish, b"");
    bytes.extend(start());
    for samples in samples.chunks(2048) {
        bytes.extend(chunk(samples));
    }
    bytes.extend(stop());
    bytes
}

/// A connection. One over TCP is used in the same way.
pub struct Client(pub UnixStream);

impl Client {
    pub fn connect(socket: &Path) -> Client {
        Client::of(UnixStream::connect(socket).unwrap())
    }

    pub fn connect_tcp(address: &str) -> Client {
        Client::of(OwnedFd::from(TcpStream::connect(address).unwrap()).into())
    }

    fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Client(stream)
    }

    /// The same in the background, for as long as the service takes it. Returns how much it took.
    pub fn pour(&self, bytes: Vec<u8>) -> JoinHandle<usize> {
        let mut stream = self.0.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut taken = 0;
            while let Ok(length @ 1..) = stream.write(&bytes[taken..]) {
                taken += length;
            }
            taken
        })
    }

    /// Send no more, but wait for what there is to hear.
    pub fn end(&mut self) -> &mut Self {
        self.0.shutdown(Shutdown::Write).unwrap();
        self
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.write_all(bytes).unwrap();
        self
    }

    /// The next event; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Event> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            match self.0.read_exact(&mut byte) {
                Ok(()) if byte == *b"\n" => break,
                Ok(()) => line.push(byte[0]),
                Err(end) if end.kind() == UnexpectedEof && line.is_empty() => return None,
                Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&line)),
            }
        }
        let header: Value = serde_json::from_slice(&line).unwrap();
        assert!(header.get("payload_length").is_none(), "{header}");
        let mut block = vec![0; header["data_length"].as_u64().unwrap_or(0) as usize];
        self.0.read_exact(&mut block).unwrap();
        let data = match block.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&block).unwrap(),
        };
        let kind = header["type"].as_str().unwrap().into();
        Some(Event { kind, data })
    }

    #[track_caller]
    pub fn expect(&mut self, kind: &str) -> Value {
        let event = self.next().unwrap_or_else(|| panic!("no {kind}, the end"));
        assert_eq!(event.kind, kind, "{event:?}");
        event.data
    }

    /// A whole answer in the right order; its `transcript`.
    #[track_caller]
    pub fn transcript(&mut self) -> Value {
        self.expect("transcript-start");
        let mut pieces = String::new();
        let transcript = loop {
            let event = self.next().expect("the end");
            match event.kind.as_str() {
                "transcript-chunk" => pieces += event.data["text"].as_str().unwrap(),
                "transcript" => break event.data,
                _ => panic!("{event:?}"),
            }
        };
        assert_eq!(transcript["text"], pieces);
        assert_eq!(self.expect("transcript-stop"), Value::Null);
        transcript
    }

    #[track_caller]
    pub fn text(&mut self) -> String {
        self.transcript()["text"].as_str().unwrap().into()
    }

    /// An error, perhaps after pieces of a transcript.
    #[track_caller]
    pub fn late_error(&mut self, code: &str) -> String {
        loop {
            let event = self.next().expect("the end");
            match event.kind.as_str() {
                "transcript-start" | "transcript-chunk" => {}
                _ => {
                    assert_eq!(event.kind, "error", "{event:?}");
                    assert_eq!(event.data["code"], code, "{event:?}");
                    assert_eq!(self.next(), None);
                    break event.data["text"].as_str().unwrap().into();
                }
            }
        }
    }

    /// An error with this code, after which the connection ends; gives its text.
    #[track_caller]
    pub fn error(&mut self, code: &str) -> String {
        let data = self.expect("error");
        assert_eq!(data["code"], code, "{data}");
        assert_eq!(self.next(), None);
        data["text"].as_str().unwrap().into()
    }
}
