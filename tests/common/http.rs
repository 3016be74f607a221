//! A client: well-formed requests through hyper, all others byte by byte.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request,
    body::Bytes,
    header::{HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::LONG;

pub const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        match self.headers.get(name) {
            Some(value) => value.to_str().unwrap(),
            None => panic!("no header {name}: {self:?}"),
        }
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        self.header(name).parse().unwrap()
    }

    /// Process id of the job.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        self.header("x-stt-pid").parse().unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The text of a successful answer in the format `json`.
    #[track_caller]
    pub fn text(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        let json = self.json();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["languages", "text", "usage"]);
        json["text"].as_str().unwrap().to_owned()
    }

    /// The error object of an answer in OpenAI's shape: all four keys and no others.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert!((400..600).contains(&self.status), "{self:?}");
        uuid::Uuid::parse_str(self.header("x-request-id")).unwrap();
        let json = self.json();
        let keys = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&json), BTreeSet::from(["error".into()]));
        let error = json["error"].clone();
        let expected = ["code", "message", "param", "type"].map(String::from);
        assert_eq!(keys(&error), BTreeSet::from(expected), "{error}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
        let kind = match self.status {
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        assert_eq!(error["type"], kind);
        error
    }

    /// The string at this place of the answer's JSON, `/error/code` say; empty if there is none.
    pub fn word(&self, place: &str) -> String {
        let json: Option<Value> = serde_json::from_slice(&self.body).ok();
        let word = json.as_ref().and_then(|json| json.pointer(place)?.as_str());
        word.unwrap_or_default().to_owned()
    }

    /// Fails unless this is the final error `status`, `code` and `param`, not to be tried again;
    /// gives its message.
    #[track_caller]
    pub fn assert_refusal(&self, status: u16, code: &str, param: Option<&str>) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.error();
        assert_eq!(
            (error["code"].as_str(), error["param"].as_str()),
            (Some(code), param),
            "{error}"
        );
        assert_eq!(self.header("x-should-retry"), "false");
        assert!(!self.headers.contains_key("retry-after"));
        error["message"].as_str().unwrap().to_owned()
    }

    /// Fails unless this error asks to come back later, after a reasonable number of whole seconds.
    #[track_caller]
    pub fn assert_come_back(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.error()["code"], code);
        assert!(!self.headers.contains_key("x-should-retry"));
        let seconds = self.header("retry-after");
        assert!(seconds.bytes().all(|b| b.is_ascii_digit()), "{seconds}");
        assert!((1..=120).contains(&seconds.parse().unwrap()), "{seconds}");
    }
}

/// A multipart body in the making.
#[derive(Clone, Debug, Default)]
pub struct Form {
    body: Vec<u8>,
}

pub const BOUNDARY: &str = "----stt-isolated-test";

impl Form {
    /// A form with nothing but a recording.
    pub fn of(name: &str, recording: &[u8]) -> Form {
        Form::default().file(name, recording)
    }

    pub fn file(self, name: &str, recording: &[u8]) -> Form {
        let disposition = format!("name=\"file\"; filename=\"{name}\"");
        self.part(&disposition, recording)
    }

    /// The same with a media type.
    pub fn file_of(self, kind: &str, name: &str, recording: &[u8]) -> Form {
        let disposition = format!("name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}");
        self.part(&disposition, recording)
    }

    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Form {
        self.part(&format!("name=\"{name}\""), value.as_ref())
    }

    fn part(mut self, disposition: &str, content: &[u8]) -> Form {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        self.body.extend(head.as_bytes());
        self.body.extend(content);
        self.body.extend(b"\r\n");
        self
    }

    /// The body without the boundary that would end it.
    pub fn unfinished(&self) -> Vec<u8> {
        self.body.clone()
    }

    pub fn body(&self) -> Vec<u8> {
        let mut body = self.body.clone();
        body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
        body
    }

    /// The whole request, byte by byte.
    pub fn request(&self) -> Vec<u8> {
        post(&self.body())
    }
}

pub fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// The head of a transcription request with a multipart body, `more` being header lines.
pub fn post_head(more: &str) -> Vec<u8> {
    let kind = content_type();
    format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// A transcription request with this multipart body and its length.
pub fn post(body: &[u8]) -> Vec<u8> {
    let mut request = post_head(&format!("Content-Length: {}\r\n", body.len()));
    request.extend(body);
    request
}

/// One request over a connection of its own.
///
/// # Errors
/// The connection broke before the answer was complete.
pub fn exchange(socket: &Path, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
    exchange_within(LONG, socket, request)
}

/// The same, for an answer that takes its time.
///
/// # Errors
/// The connection broke before the answer was complete.
pub fn exchange_within(
    limit: Duration,
    socket: &Path,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let work = async {
        let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    };
    runtime.block_on(async { tokio::time::timeout(limit, work).await.expect("no answer") })
}

/// A connection on which anything can be sent.
pub struct Raw(pub UnixStream);

impl Raw {
    pub fn connect(socket: &Path) -> Raw {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Raw(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Raw {
        self.0.write_all(bytes).unwrap();
        self
    }

    /// Sends what the server may not want to read to the end.
    pub fn send_in_background(&self, bytes: Vec<u8>) -> std::thread::JoinHandle<bool> {
        let mut stream = self.0.try_clone().unwrap();
        std::thread::spawn(move || stream.write_all(&bytes).is_ok())
    }

    /// Nothing more will be sent.
    pub fn half_close(&mut self) -> &mut Raw {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
        self
    }

    /// Reads exactly one answer.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                end => panic!("{end:?} after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        let status = status[..3].parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Answer {
            status,
            headers,
            body: body.into(),
        }
    }

    /// Everything that comes until the server hangs up.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            // A Unix socket says this when the other side closed it with something unread in it.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&rest)),
        }
        rest
    }
}
