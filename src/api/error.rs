//! Every error as the client sees it, in OpenAI's format; the table of codes is `request::Code`.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    api::Peer,
    config::Config,
    request::{Again, Code, Outcome, Refusal},
    units::ByteSize,
};

/// An error in OpenAI's format.
#[derive(Debug)]
pub(super) struct ApiError {
    code: Code,
    /// Another status than the table has for the code: only where HTTP itself names the fault.
    status: Option<StatusCode>,
    message: String,
    param: Option<String>,
    /// When the client should ask again, if the code permits that.
    after: Option<Duration>,
    /// True if a part of the request may be unread. The connection ends with this answer.
    last: bool,
}

/// Most characters that an answer repeats of a foreign name; names of hosts have at most 253.
const LONGEST_NAME: usize = 300;

/// When to ask again if nobody knows better.
const PAUSE: Duration = Duration::from_secs(1);

impl ApiError {
    /// The error's code, for programs.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// The error's message, for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            status: None,
            message: message.into(),
            param: None,
            after: code.pause(),
            last: false,
        }
    }

    /// Status of the answer.
    fn status(&self) -> StatusCode {
        let of_table = || StatusCode::from_u16(self.code.status());
        self.status
            .or_else(|| of_table().ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The bytes are not an HTTP request; `reason` is the parser's.
    pub(super) fn no_http(status: StatusCode, reason: &str) -> Self {
        let message = format!("this is no HTTP/1.1 request: {reason}");
        Self {
            status: Some(status),
            last: true,
            ..Self::new(Code::InvalidHttp, message)
        }
    }

    /// The head of the request did not arrive completely.
    pub(super) fn slow_head(after: Duration) -> Self {
        let seconds = after.as_secs_f64();
        let message = format!("the head of the request did not arrive within {seconds} s");
        Self {
            last: true,
            ..Self::new(Code::HeaderTimeout, message)
        }
    }

    /// A parameter is missing, unknown or invalid.
    pub(super) fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self {
            param: Some(name.into()),
            ..Self::new(Code::InvalidParameter, message)
        }
    }

    /// A parameter is given more than once.
    pub(super) fn given_twice(name: &str) -> Self {
        Self::parameter(name, format!("the parameter `{name}` is given twice"))
    }

    /// The body cannot be parsed.
    pub(super) fn bad_body(message: impl Into<String>) -> Self {
        Self {
            last: true,
            ..Self::new(Code::InvalidBody, message)
        }
    }

    /// The upload is larger than `limit`.
    pub(super) fn too_large(limit: ByteSize) -> Self {
        let message = format!("the upload is larger than {limit} (http.max_upload)");
        Self {
            param: Some("file".into()),
            last: true,
            ..Self::new(Code::UploadTooLarge, message)
        }
    }

    /// The client stopped sending.
    pub(super) fn too_slow(after: Duration) -> Self {
        let message = format!("no byte of the body arrived for {} s", after.as_secs_f64());
        Self {
            last: true,
            ..Self::new(Code::BodyTimeout, message)
        }
    }

    /// The client sends too slowly on average.
    pub(super) fn trickling(received: u64, rate: ByteSize) -> Self {
        let message = format!(
            "only {received} bytes of the body arrived so far, at less than {rate} a second (http.body_min_rate)"
        );
        Self {
            last: true,
            ..Self::new(Code::BodyTimeout, message)
        }
    }

    /// The body is compressed.
    pub(super) fn compressed(encoding: &str) -> Self {
        let message = format!(
            "the body has the content-encoding `{encoding}`; send it as it is: recordings are compressed by their own \
             formats"
        );
        Self {
            last: true,
            ..Self::new(Code::UnsupportedEncoding, message)
        }
    }

    /// The upload cannot be stored.
    pub(super) fn storage(error: &std::io::Error) -> Self {
        if [libc::EMFILE, libc::ENFILE]
            .map(Some)
            .contains(&error.raw_os_error())
        {
            let message = "the service has as many files open as it may (LimitNOFILE= of its unit)";
            return Self::new(Code::TooManyFiles, message);
        }
        let message = format!("the upload cannot be stored: {error}");
        Self::new(Code::StorageFull, message)
    }

    /// No model has this name.
    pub(super) fn model_not_found(name: &str, config: &Config) -> Self {
        Self::no_model(&config.no_model(name))
    }

    fn no_model(sentence: &str) -> Self {
        let message = format!("{sentence}; GET /v1/models lists all");
        Self {
            param: Some("model".into()),
            ..Self::new(Code::ModelNotFound, message)
        }
    }

    /// Over TCP a key is asked for, and the request has none.
    pub(super) fn no_key() -> Self {
        let message = "over TCP this service asks for a key: send the header `Authorization: Bearer KEY`, once";
        Self::new(Code::InvalidApiKey, message).unread()
    }

    /// The key is not known.
    pub(super) fn wrong_key() -> Self {
        let message = "this key is not known here: it is wrong, or was withdrawn";
        Self::new(Code::InvalidApiKey, message).unread()
    }

    /// A client on another machine asks, and this service has no keys.
    pub(super) fn only_local() -> Self {
        let message = "over TCP this service serves only its own machine, because it has no keys; its administrator \
                       can make some (clients.keys)";
        Self::new(Code::Forbidden, message).unread()
    }

    /// As [`Self::only_local`], of Wyoming.
    pub(super) fn only_local_wyoming() -> Self {
        let message = "over TCP this service speaks Wyoming only with its own machine, because Wyoming knows no keys; \
                       its administrator can allow others (clients.wyoming_network)";
        Self::new(Code::Forbidden, message).unread()
    }

    /// The request calls the service by the foreign name `host`.
    pub(super) fn foreign_host(host: &str) -> Self {
        let host: String = host.chars().take(LONGEST_NAME).collect();
        let message = format!(
            "this service does not go by the name {host:?}; its administrator can list further names (http.hosts)"
        );
        Self::new(Code::ForeignHost, message).unread()
    }

    /// The request is from a page of a foreign `origin`.
    pub(super) fn foreign_origin(origin: &HeaderValue) -> Self {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let origin: String = origin.chars().take(LONGEST_NAME).collect();
        let message = format!(
            "pages of the origin {origin:?} may not ask this service; its administrator can list origins \
             (http.cors_origins)"
        );
        Self::new(Code::ForeignOrigin, message).unread()
    }

    /// This client may not use the service.
    pub(super) fn forbidden(peer: &Peer) -> Self {
        let message = match peer {
            Peer::Local { uid, .. } => format!(
                "user {uid} may not use this service; its administrator can allow it (clients.allow_users, \
                 clients.allow_groups)"
            ),
            Peer::Remote(_) => "only certain users may use this service (clients.allow_users, clients.allow_groups), and over \
                     TCP nobody vouches for who you are, unless you have a key (clients.keys)"
                .into(),
        };
        Self {
            last: true,
            ..Self::new(Code::Forbidden, message)
        }
    }

    /// A state that should be impossible.
    pub(super) fn internal(message: String) -> Self {
        Self::new(Code::InternalError, message)
    }

    /// The request for a session is no handshake of WebSocket.
    pub(super) fn no_websocket() -> Self {
        let message = "sessions are held over WebSocket, version 13 (RFC 6455): send its handshake";
        Self::new(Code::UpgradeRequired, message)
    }

    /// The client of a session commits only these milliseconds of audio.
    pub(super) fn empty_commit(milliseconds: u64) -> Self {
        let message = format!(
            "there is too little audio to commit: at least 100 ms are needed, the buffer has {milliseconds} ms"
        );
        Self::new(Code::EmptyCommit, message)
    }

    /// The path does not exist.
    pub(super) fn no_route() -> Self {
        let message = "there is nothing here; POST /v1/audio/transcriptions transcribes";
        Self::new(Code::NotFound, message)
    }

    /// The path does not support the method.
    pub(super) fn wrong_method() -> Self {
        let message = "this method is not allowed here";
        Self::new(Code::MethodNotAllowed, message)
    }

    /// The request was refused without being run.
    pub(super) fn refused(refusal: &Refusal, model: &str) -> Self {
        match refusal {
            // It was removed a moment ago.
            Refusal::UnknownModel => Self::no_model(&format!("the model `{model}` does not exist")),
            refusal => Self {
                after: refusal.retry_after(),
                ..Self::new(refusal.code(), refusal.to_string())
            },
        }
    }

    /// The same error, for a request whose body is unread.
    pub(super) fn unread(self) -> Self {
        Self { last: true, ..self }
    }

    /// The same error, with the name of the parameter that it is about.
    pub(super) fn about(self, parameter: &str) -> Self {
        Self {
            param: Some(parameter.into()),
            ..self
        }
    }

    /// The same error, with the number of the channel that it is about.
    pub(super) fn on_channel(self, channel: u16) -> Self {
        Self {
            message: format!("channel {channel}: {}", self.message),
            ..self
        }
    }

    /// The error of a request whose job failed; `None` if it succeeded.
    pub(super) fn of_outcome(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Ok => None,
            outcome => Some(Self::new(outcome.code(), outcome.to_string())),
        }
    }
}

impl ApiError {
    /// The error as JSON.
    pub(super) fn body(&self) -> Value {
        let kind = match self.status().as_u16() {
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.code.told(),
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        if self.last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.code == Code::UpgradeRequired {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.code == Code::InvalidApiKey {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // OpenAI's clients resend every 408, 409, 429 and 5xx twice unless told not to.
        match self.code.again() {
            Again::Never => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            Again::Later => {
                let seconds = self.after.unwrap_or(PAUSE).as_secs_f64();
                let seconds = seconds.ceil().clamp(1.0, 120.0) as u64;
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
        }
        response
    }
}
