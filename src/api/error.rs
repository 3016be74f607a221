//! Every error as the client sees it: one table of status, code and retry advice.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{api::Peer, config::ByteSize, dispatch::Refusal, isolation::Outcome};

/// An error in OpenAI's format.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    retry: Retry,
    /// True if a part of the request may be unread. The connection ends with this answer.
    last: bool,
}

/// Whether the client should send the same request again. OpenAI's clients resend every 408, 409,
/// 429 and 5xx twice unless told not to.
#[derive(Debug)]
enum Retry {
    /// A retry would fail again and might cost money: `x-should-retry: false`.
    Never,
    /// Retry after this time.
    After(Duration),
}

/// Time after which to retry if a remote service is overloaded. Its SDK does not pass on the
/// service's own advice, and the service counts by the second and by the minute.
const UPSTREAM_PAUSE: Duration = Duration::from_secs(10);

impl ApiError {
    /// The error's code, for programs.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// The error's message, for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            retry: Retry::Never,
            last: false,
        }
    }

    /// The bytes are not an HTTP request; `reason` is the parser's.
    pub(super) fn no_http(status: StatusCode, reason: &str) -> Self {
        let message = format!("this is no HTTP/1.1 request: {reason}");
        Self {
            last: true,
            ..Self::new(status, "invalid_http", message)
        }
    }

    /// The head of the request did not arrive completely.
    pub(super) fn slow_head(after: Duration) -> Self {
        let seconds = after.as_secs_f64();
        let message = format!("the head of the request did not arrive within {seconds} s");
        Self {
            last: true,
            ..Self::new(StatusCode::REQUEST_TIMEOUT, "header_timeout", message)
        }
    }

    /// A parameter is missing, unknown or invalid.
    pub(super) fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self {
            param: Some(name.into()),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", message)
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
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_body", message)
        }
    }

    /// The upload is larger than `limit`.
    pub(super) fn too_large(limit: ByteSize) -> Self {
        let message = format!("the upload is larger than {limit} (http.max_upload)");
        Self {
            param: Some("file".into()),
            last: true,
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large", message)
        }
    }

    /// The client stopped sending.
    pub(super) fn too_slow(after: Duration) -> Self {
        let message = format!("no byte of the body arrived for {} s", after.as_secs_f64());
        Self {
            last: true,
            ..Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
        }
    }

    /// The client sends too slowly on average.
    pub(super) fn trickling(received: u64, rate: ByteSize) -> Self {
        let message = format!(
            "only {received} bytes of the body arrived so far, at less than {rate} a second (http.body_min_rate)"
        );
        Self {
            last: true,
            ..Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
        }
    }

    /// The upload cannot be stored.
    pub(super) fn storage(error: &std::io::Error) -> Self {
        let message = format!("the upload cannot be stored: {error}");
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", message)
    }

    /// No model has this name.
    pub(super) fn model_not_found(name: &str) -> Self {
        let message = format!("the model `{name}` does not exist; GET /v1/models lists all");
        Self {
            param: Some("model".into()),
            ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message)
        }
    }

    /// This client may not use the service.
    pub(super) fn forbidden(peer: &Peer) -> Self {
        let message = match peer.uid() {
            Some(uid) => format!(
                "user {uid} may not use this service; its administrator can allow it (clients.allow_users, \
                 clients.allow_groups)"
            ),
            None => "only certain users may use this service (clients.allow_users, clients.allow_groups), and over \
                     TCP nobody vouches for who you are"
                .into(),
        };
        Self {
            last: true,
            ..Self::new(StatusCode::FORBIDDEN, "forbidden", message)
        }
    }

    /// A state that should be impossible.
    pub(super) fn internal(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// The path does not exist.
    pub(super) fn no_route() -> Self {
        let message = "there is nothing here; POST /v1/audio/transcriptions transcribes";
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The path does not support the method.
    pub(super) fn wrong_method() -> Self {
        let message = "this method is not allowed here";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    }

    /// The request was refused without being run.
    pub(super) fn refused(refusal: &Refusal, model: &str) -> Self {
        let message = refusal.to_string();
        let (status, code, after) = match refusal {
            Refusal::UnknownModel => return Self::model_not_found(model),
            Refusal::QueueFull { retry_after } | Refusal::QueueTimeout { retry_after, .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "queue_full", *retry_after)
            }
            Refusal::UserLimit { retry_after } => {
                (StatusCode::TOO_MANY_REQUESTS, "user_limit", *retry_after)
            }
            Refusal::EngineUnavailable { retry_after, .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "engine_unavailable",
                *retry_after,
            ),
            Refusal::ShuttingDown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "shutting_down",
                Duration::from_secs(2),
            ),
        };
        Self {
            retry: Retry::After(after),
            ..Self::new(status, code, message)
        }
    }

    /// The same error, for a request whose body is unread.
    pub(super) fn unread(self) -> Self {
        Self { last: true, ..self }
    }

    /// The error of a request whose job failed; `None` if it succeeded.
    pub(super) fn of_outcome(outcome: &Outcome) -> Option<Self> {
        let status = match outcome {
            Outcome::Ok => return None,
            Outcome::InvalidAudio(_) => StatusCode::BAD_REQUEST,
            Outcome::AudioTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Outcome::UpstreamBusy(message) => {
                return Some(Self {
                    retry: Retry::After(UPSTREAM_PAUSE),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, outcome.code(), message)
                });
            }
            Outcome::EngineFailed(_)
            | Outcome::UpstreamRefused(_)
            | Outcome::UpstreamFailed(_)
            | Outcome::Crashed(_)
            | Outcome::Misbehaved(_)
            | Outcome::Violation { .. } => StatusCode::BAD_GATEWAY,
            Outcome::MemoryLimit { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Outcome::UpstreamSilent(_) | Outcome::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Outcome::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            Outcome::Stopped => return Some(Self::refused(&Refusal::ShuttingDown, "")),
        };
        Some(Self::new(status, outcome.code(), outcome.to_string()))
    }
}

impl ApiError {
    /// The error as JSON.
    pub(super) fn body(&self) -> Value {
        let kind = match self.status.as_u16() {
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if self.last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        match self.retry {
            Retry::Never => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            Retry::After(time) => {
                let seconds = time.as_secs_f64().ceil().clamp(1.0, 120.0) as u64;
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
        }
        response
    }
}
