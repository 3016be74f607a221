//! How many jobs run, and how many requests wait for one: `[jobs]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// The table `[jobs]`: running and waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Jobs that run at once; 0: one for each CPU.
    pub max_running: usize,
    /// Requests that wait for a job; further ones are refused at once with status 429.
    pub max_queued: usize,
    /// Longest time that a request may wait for a job.
    #[serde(with = "time")]
    pub queue_timeout: Duration,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            max_running: 0,
            max_queued: 256,
            queue_timeout: Duration::from_secs(60),
        }
    }
}

impl Jobs {
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.max_running > 1024 {
            problems.add("max_running", "at most 1024 jobs can run at once");
        }
        if self.max_queued == 0 {
            let what = "must be at least 1: every request waits for a moment";
            problems.add("max_queued", what);
        }
        problems.time("queue_timeout", self.queue_timeout);
    }

    /// The same, with 0 for `max_running` replaced by the number of CPUs.
    pub(super) fn on_this_machine(mut self) -> Self {
        if self.max_running == 0 {
            self.max_running = std::thread::available_parallelism().map_or(1, usize::from);
        }
        self
    }
}
