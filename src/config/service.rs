//! The daemon as systemd sees it: `[service]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// Shortest `idle_exit`.
const MIN_IDLE: Duration = Duration::from_secs(3);

/// `[service]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// Least severe kind of message that is logged.
    pub log_level: LogLevel,
    /// How long accepted requests may go on after the service was told to stop.
    #[serde(with = "time")]
    pub drain_timeout: Duration,
    /// Exit when nobody was connected and nothing ran for so long; zero: never.
    #[serde(with = "time")]
    pub idle_exit: Duration,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Info,
            drain_timeout: Duration::from_secs(30),
            idle_exit: Duration::ZERO,
        }
    }
}

/// Severities, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed and somebody must act.
    Error,
    /// Something is not as it should be, the service goes on.
    Warn,
    /// One line for each request and each event of the service's life.
    Info,
    /// What a developer wants to see.
    Debug,
    /// Everything.
    Trace,
}

impl Service {
    /// Check every rule that types cannot say.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.time_or_zero("drain_timeout", self.drain_timeout);
        problems.time_or_zero("idle_exit", self.idle_exit);
        if !self.idle_exit.is_zero() && self.idle_exit < MIN_IDLE {
            let what = "must be 0 or at least 3 s: systemd gives a service up that starts five times \
                        within ten seconds";
            problems.add("idle_exit", what);
        }
    }
}
