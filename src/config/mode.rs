//! How the requests of a model are served: in processes or in a thread.

use serde::{Deserialize, Serialize};

/// How a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By a new process for exactly one request.
    Process,
    /// By a process that serves several requests, one after the other, before it ends.
    Hybrid,
    /// By a thread of the daemon: for comparison, and as a last resort.
    Thread,
}

impl Mode {
    /// The word for it in the configuration, in headers and in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Hybrid => "hybrid",
            Self::Thread => "thread",
        }
    }
}
