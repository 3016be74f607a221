//! The figures that a job reports about its own work.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A job's report about its own work. Limits are never judged by these times: they are the job's
/// word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Length of the decoded recording.
    pub audio: Duration,
    /// Wall-clock time spent on decoding and resampling.
    pub decode: Duration,
    /// Wall-clock time spent on finding the speech and in the engine.
    pub transcribe: Duration,
    /// ISO 639 code of the language that was heard, if the engine finds that out.
    pub language: Option<String>,
    /// Whole sentences that the client should read although the request succeeded.
    pub warnings: Vec<String>,
}
