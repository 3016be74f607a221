//! The numbers of one model, or of all models together, since the start.

use std::time::Duration;

use super::{
    histogram::Histogram,
    kinds::{Each, Latency, Lifecycle},
};
use crate::request::Code;

/// Counts that only ever grow.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that were accepted and have ended.
    pub ended: Each<Code, u64>,
    /// Requests that were turned away at once.
    pub refused: Each<Code, u64>,
    /// Audio of the requests that ended well.
    pub audio: Duration,
    /// CPU time of all requests' jobs.
    pub cpu: Duration,
    /// The most memory that a request's job had, in bytes.
    pub peak: u64,
    /// Events in the life of processes.
    pub lifecycle: Each<Lifecycle, u64>,
    /// Times that were measured.
    pub latency: Each<Latency, Histogram>,
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
