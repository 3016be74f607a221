//! The numbers of one model, or of all of them: what has happened since the start.

use std::time::Duration;

use super::{
    Each,
    histogram::Histogram,
    kinds::{Ending, Latency, Lifecycle, Refused},
};

/// Counts that only ever grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that were accepted and have ended.
    pub ended: Each<Ending, u64>,
    /// Requests that were turned away at once.
    pub refused: Each<Refused, u64>,
    /// Audio of the requests that ended well.
    pub audio: Duration,
    /// CPU time of all requests' jobs.
    pub cpu: Duration,
    /// What happened to processes.
    pub lifecycle: Each<Lifecycle, u64>,
    /// How long things took.
    pub latency: Each<Latency, Histogram>,
}
