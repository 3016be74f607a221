//! The numbers of one model, or of all of them: what has happened since the start.

use std::time::Duration;

use super::{
    Each,
    histogram::Histogram,
    kinds::{Latency, Lifecycle},
};
use crate::request::Code;

/// Counts that only ever grow.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::dispatch) struct Ledger {
    /// Requests that were accepted.
    pub(in crate::dispatch) accepted: u64,
    /// Requests that were accepted and have ended.
    pub(in crate::dispatch) ended: Each<Code, u64>,
    /// Requests that were turned away at once.
    pub(in crate::dispatch) refused: Each<Code, u64>,
    /// Audio of the requests that ended well.
    pub(in crate::dispatch) audio: Duration,
    /// CPU time of all requests' jobs.
    pub(in crate::dispatch) cpu: Duration,
    /// The most memory that a request's job had, in bytes.
    pub(in crate::dispatch) peak: u64,
    /// What happened to processes.
    pub(in crate::dispatch) lifecycle: Each<Lifecycle, u64>,
    /// How long things took.
    pub(in crate::dispatch) latency: Each<Latency, Histogram>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            accepted: 0,
            ended: Each::among(Code::ends),
            refused: Each::among(Code::refuses),
            audio: Duration::ZERO,
            cpu: Duration::ZERO,
            peak: 0,
            lifecycle: Each::default(),
            latency: Each::default(),
        }
    }
}
