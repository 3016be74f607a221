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
    /// ISO 639 codes of the languages that were heard, in the order in which they were first heard;
    /// empty if the engine does not find that out.
    pub languages: Vec<String>,
    /// True if the administrator's converter read the recording. The job cannot use it again.
    pub converted: bool,
    /// Whole sentences that the client should read although the request succeeded.
    pub warnings: Vec<String>,
}
