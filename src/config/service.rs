//! The log level, and when the service exits: `[service]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// Shortest `idle_exit`. With a shorter one systemd could reach its limit of starts and give up.
const MIN_IDLE: Duration = Duration::from_secs(3);

/// The table `[service]`: logging and exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// Least severe kind of message that is logged.
    pub log_level: LogLevel,
    /// How long accepted requests may continue after the service was told to stop.
    #[serde(with = "time")]
    pub drain_timeout: Duration,
    /// Exit after this time without a connection and without work; zero: never.
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

/// Severities of messages, with the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed, and the administrator must act.
    Error,
    /// Something is wrong, but the service continues.
    Warn,
    /// One line for each request and for each event in the life of the service.
    Info,
    /// Details that help a developer.
    Debug,
    /// Every message that there is.
    Trace,
}

impl Service {
    /// Check every rule that the types cannot express.
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
