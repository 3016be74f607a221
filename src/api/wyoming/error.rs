//! Errors as clients of Wyoming see them. The codes are those of the table in `api/error.rs`.

use std::time::Duration;

use super::frame::Malformed;
use crate::{api::error::ApiError, config::Config, request::Code};

/// An `error` event. The connection ends after it, because Home Assistant up to 2026.8.0 passes
/// over errors, and waits for a transcript or the end of the connection.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) text: String,
}

impl Problem {
    fn new(code: Code, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    /// A value is missing or invalid.
    pub(super) fn parameter(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameter, text)
    }

    /// No model has this name.
    pub(super) fn model_not_found(name: &str, config: &Config) -> Self {
        let text = format!("{}; `describe` lists all", config.no_model(name));
        Self::new(Code::ModelNotFound, text)
    }

    /// The client closed its sending side in the middle of a request.
    pub(super) fn cut_off() -> Self {
        let text = "the connection ends in the middle of a request";
        Self::new(Code::InvalidBody, text)
    }

    /// The event is valid, but not allowed now.
    pub(super) fn order(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidBody, text)
    }

    /// A live recording comes more slowly than allowed while it holds a job.
    pub(super) fn trickling(rate: u64) -> Self {
        let text = format!(
            "the recording arrives at less than {rate} bytes a second, half of what its samples play in that time"
        );
        Self::new(Code::BodyTimeout, text)
    }

    /// An event did not arrive completely.
    pub(super) fn slow_header(after: Duration) -> Self {
        let seconds = after.as_secs_f64();
        let text = format!("an event did not arrive within {seconds} s (http.header_timeout)");
        Self::new(Code::HeaderTimeout, text)
    }
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        let text = format!("this is no event of Wyoming: {malformed}");
        Self::new(Code::InvalidBody, text)
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self::new(error.code(), error.message())
    }
}
