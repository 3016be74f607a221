//! One request that somebody sends, and what may come of it.

use crate::common::{
    clips::TEN_OF_CLUBS,
    http::{BOUNDARY, Form, TRANSCRIPTIONS, content_type},
};

/// The outcome that a request must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// One answer 4xx, or the end of the connection without a word.
    Refusal,
    /// One answer with exactly this status.
    Status(u16),
    /// It may be taken for valid, as lenient servers do, and is answered 200 then; or it is
    /// refused.
    Either,
    /// These answers in this order.
    Answers(Vec<u16>),
}

/// A request, byte by byte.
#[derive(Clone, Debug)]
pub struct Case {
    /// The fault of the request, in words.
    pub name: String,
    pub bytes: Vec<u8>,
    pub expected: Expected,
    /// Whether the client says that this was all; otherwise it stays and waits.
    pub is_all: bool,
}

impl Case {
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
        Case {
            name: name.into(),
            bytes: bytes.into(),
            expected: Expected::Refusal,
            is_all: false,
        }
    }

    pub fn expect(self, expected: Expected) -> Case {
        Case { expected, ..self }
    }

    pub fn status(self, status: u16) -> Case {
        self.expect(Expected::Status(status))
    }

    pub fn answers(self, statuses: &[u16]) -> Case {
        self.expect(Expected::Answers(statuses.into()))
    }

    pub fn either(self) -> Case {
        self.expect(Expected::Either)
    }

    /// The same from a client that hangs up its sending side.
    pub fn all(self) -> Case {
        let name = format!("{}, and no more", self.name);
        Case {
            name,
            is_all: true,
            ..self
        }
    }
}

/// The body of a good request.
pub fn good_body() -> Vec<u8> {
    Form::of("a.wav", &TEN_OF_CLUBS.wav()).body()
}

/// A transcription request with these lines in its head, each ended, after that of the host.
pub fn transcription(lines: &str, body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\n{lines}\r\n").into_bytes();
    request.extend(body);
    request
}

/// The same with this content type and the body's length.
pub fn typed(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: ").into_bytes();
    request.extend(kind);
    request.extend(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend(body);
    request
}

/// A good request.
pub fn good() -> Vec<u8> {
    form(&good_body())
}

/// A request with this multipart body.
pub fn form(body: &[u8]) -> Vec<u8> {
    typed(content_type().as_bytes(), body)
}

/// One part of a multipart body, whatever its head is.
pub fn part(head: &[u8], content: &[u8]) -> Vec<u8> {
    let boundary = format!("--{BOUNDARY}\r\n");
    [boundary.as_bytes(), head, b"\r\n\r\n", content, b"\r\n"].concat()
}

/// The end of a multipart body.
pub fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// A good request with its body in one chunk, up to where the chunk's size stands; and its body.
pub fn chunked_head() -> Vec<u8> {
    let kind = content_type();
    transcription(
        &format!("Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"),
        b"",
    )
}

/// A good request with a chunked body, in chunks of this size.
pub fn chunked(size: usize) -> Vec<u8> {
    let mut request = chunked_head();
    for chunk in good_body().chunks(size) {
        request.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}
