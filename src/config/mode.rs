//! What serves the requests of a model: processes, or a thread.

use serde::{Deserialize, Serialize};

/// What serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A process of its own for exactly one request.
    Process,
    /// A process that serves several requests, one after the other, before it ends.
    Hybrid,
    /// A thread of the daemon: for comparison and as a last resort.
    Thread,
}

impl Mode {
    /// The word used in the configuration, in headers and in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Hybrid => "hybrid",
            Self::Thread => "thread",
        }
    }
}
