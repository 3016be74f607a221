//! One request and its answer: sending, limits on the answer, and retries.

use std::{error::Error as _, io, pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::future::{self, Either};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, HOST, HeaderMap, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;

use crate::{cli::Server, endpoint::Endpoint, error::Error};

/// Longest accepted answer, in bytes: a day of speech with the time of every word is shorter.
const ANSWER_LIMIT: usize = 64 << 20;

/// Longest accepted error message, in bytes.
const ERROR_LIMIT: usize = 1 << 20;

/// Number of retries if the server has no room for a request.
pub const RETRIES: u32 = 2;

/// Longest pause that the server may ask for, as its API promises.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Receives a successful answer piece by piece.
pub type Take<'a> = dyn FnMut(&[u8]) -> Result<(), Error> + 'a;

/// Body of a request.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A complete answer, successful or not.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The body of a successful answer.
    ///
    /// # Errors
    ///
    /// The request failed; the error has the server's own message.
    pub fn into_body(self) -> Result<Bytes, Error> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let said = |key: &str| Some(json.get("error")?.get(key)?.as_str()?.to_owned());
        Err(Error::Refused {
            message: said("message").unwrap_or_else(|| beginning(&self.body)),
            reason: match said("code") {
                Some(code) => format!("code {code}"),
                None => format!("HTTP {}", self.status),
            },
            request: self.header("x-request-id").map(str::to_owned),
        })
    }

    /// Value of a header, if it exists and has only visible characters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Values of a header that may be repeated, without those that have other than visible
    /// characters.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    }

    /// The pause that the server asks for before a retry.
    fn retry_after(&self) -> Option<Duration> {
        let full = matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if !full || self.header("x-should-retry") == Some("false") {
            return None;
        }
        let seconds = self.header(RETRY_AFTER.as_str())?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds)).filter(|wait| *wait <= LONGEST_WAIT)
    }
}

/// The first words of an error that does not come from the API, but for example from a proxy.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.trim() {
        "" => "the server gave no reason".into(),
        text => text.chars().take(200).collect(),
    }
}

/// Sends a request and returns its answer. `prepare` makes the request for each attempt; there are
/// up to `retries` retries. Before each pause, `notice` is called with a line to show. With `take`,
/// the body of a successful answer goes there.
///
/// # Errors
///
/// The request has no complete answer. An answer that reports a failure is not an error here.
pub async fn ask(
    server: &Server,
    retries: u32,
    prepare: impl AsyncFn() -> Result<Request<Body>, Error>,
    notice: impl Fn(&str),
    mut take: Option<&mut Take<'_>>,
) -> Result<Answer, Error> {
    let attempts = async {
        let mut left = retries;
        loop {
            let mut request = prepare().await?;
            if let Some(key) = &server.key {
                request.headers_mut().insert(AUTHORIZATION, key.0.clone());
            }
            let answer = exchange(&server.socket, request, take.as_deref_mut()).await?;
            let Some(wait) = answer.retry_after().filter(|_| left > 0) else {
                return Ok(answer);
            };
            left -= 1;
            let seconds = wait.as_secs();
            match answer.into_body() {
                Err(reason) => notice(&format!("{reason}; trying again in {seconds} s")),
                Ok(_) => notice(&format!("trying again in {seconds} s")),
            }
            tokio::time::sleep(wait).await;
        }
    };
    match server.timeout {
        None => attempts.await,
        Some(limit) => tokio::time::timeout(limit, attempts)
            .await
            .unwrap_or(Err(Error::TimedOut(limit))),
    }
}

/// Sends a GET request and returns the answer.
///
/// # Errors
///
/// As [`ask`].
pub async fn get(server: &Server, path: &str, notice: impl Fn(&str)) -> Result<Answer, Error> {
    let request = async || {
        Request::get(path)
            .header(HOST, server.socket.host())
            .header(USER_AGENT, concat!("sttctl/", env!("CARGO_PKG_VERSION")))
            .body(
                Empty::<Bytes>::new()
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            )
            .map_err(|error| Error::Http(error.to_string()))
    };
    ask(server, RETRIES, request, notice, None).await
}

async fn exchange(
    endpoint: &Endpoint,
    request: Request<Body>,
    take: Option<&mut Take<'_>>,
) -> Result<Answer, Error> {
    let io = TokioIo::new(endpoint.connect().await?);
    let (mut sender, connection) = http1::handshake(io).await.map_err(explain)?;
    let answer = pin!(async {
        let response = sender.send_request(request).await.map_err(explain)?;
        receive(response, take).await
    });
    match future::select(answer, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // The connection is over. The answer, or the reason why there is none, is already there.
        Either::Right((_, answer)) => answer.await,
    }
}

async fn receive(
    response: Response<Incoming>,
    take: Option<&mut Take<'_>>,
) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let good = head.status.is_success();
    let limit = if good { ANSWER_LIMIT } else { ERROR_LIMIT };
    let mut body = Limited::new(body, limit);
    let body = match take.filter(|_| good) {
        Some(take) => {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| broken_off(error, limit))?;
                if let Some(piece) = frame.data_ref() {
                    take(piece)?;
                }
            }
            Bytes::new()
        }
        None => match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if good => return Err(broken_off(error, limit)),
            // The status and the headers matter more than the lost message.
            Err(_) => Bytes::new(),
        },
    };
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
    })
}

fn broken_off(error: Box<dyn std::error::Error + Send + Sync>, limit: usize) -> Error {
    match error.downcast::<hyper::Error>() {
        Ok(error) => explain(*error),
        Err(error) if error.is::<LengthLimitError>() => Error::TooLong { limit },
        Err(error) => Error::Http(error.to_string()),
    }
}

fn explain(error: hyper::Error) -> Error {
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match io {
        // Only the request's body is ours, and it fails only if the file cannot be read.
        Some(io) if error.is_user() => Error::Read(io::Error::new(io.kind(), io.to_string())),
        Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Closed("in the middle of its answer")
        }
        Some(io) if io.kind() == io::ErrorKind::ConnectionReset => {
            Error::Closed("without a complete answer")
        }
        _ if error.is_incomplete_message() => Error::Closed("without a complete answer"),
        _ if error.is_parse() => Error::Http(format!("it does not speak HTTP/1.1 ({error})")),
        Some(io) => Error::Http(io.to_string()),
        None => Error::Http(error.to_string()),
    }
}
