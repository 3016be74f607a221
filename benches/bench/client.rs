//! A measuring client: between two readings of its clock there is only the kernel.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::common::{LONG, http::Form};

/// Longest expected answer, in bytes.
const BUFFER: usize = 256 << 10;

/// A connection to a server.
pub struct Client {
    socket: PathBuf,
    stream: UnixStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer, and the time from the first byte sent to the last byte read.
pub struct Reply<'a> {
    pub took: Duration,
    pub status: u16,
    pub head: &'a str,
    pub body: &'a [u8],
}

impl Client {
    pub fn connect(socket: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Client {
            socket: socket.into(),
            stream,
            buffer: vec![0; BUFFER],
            filled: 0,
        })
    }

    /// Send `request` and read the whole answer.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        let start = Instant::now();
        self.stream.write_all(request)?;
        self.filled = 0;
        let mut end = None;
        loop {
            let read = match self.stream.read(&mut self.buffer[self.filled..]) {
                // This program was stopped, and continues.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += read;
            if end.is_none() {
                let head = find(&self.buffer[..self.filled], b"\r\n\r\n");
                end = match head {
                    Some(head) => Some(head + 4 + content_length(&self.buffer[..head])?),
                    None => None,
                };
            }
            if end.is_some_and(|end| self.filled >= end) {
                break;
            }
        }
        let took = start.elapsed();
        let answer = &self.buffer[..self.filled];
        let head = find(answer, b"\r\n\r\n").unwrap_or(self.filled);
        let text = std::str::from_utf8(&answer[..head]).map_err(io::Error::other)?;
        let status = text.get(9..12).and_then(|digits| digits.parse().ok());
        Ok(Reply {
            took,
            status: status.ok_or_else(|| io::Error::other(text.to_owned()))?,
            head: text,
            body: &answer[head + 4..],
        })
    }

    /// The same for a request that must succeed. If the server closed the connection meanwhile,
    /// connects again.
    pub fn time(&mut self, request: &[u8]) -> Duration {
        for _ in 0..2 {
            match self.exchange(request) {
                Ok(Reply {
                    status: 200, took, ..
                }) => return took,
                Ok(reply) => panic!("{}: {}", reply.head, String::from_utf8_lossy(reply.body)),
                Err(_) => *self = Client::connect(&self.socket).unwrap(),
            }
        }
        panic!("{} does not answer", self.socket.display());
    }
}

impl Reply<'_> {
    /// Value of a header, in any case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n");
        lines.find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no number {name} in {}", self.head))
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    let head = std::str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let length = lines
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok());
    length.ok_or_else(|| io::Error::other("an answer without a length"))
}

/// The bytes of a request for `model` with this recording.
pub fn request(model: &str, recording: &[u8]) -> Vec<u8> {
    Form::of("a.wav", recording).field("model", model).request()
}

/// The bytes of a request without a body.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}
