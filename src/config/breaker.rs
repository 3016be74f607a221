//! When a model that crashes again and again is left alone: `[breaker]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// `[breaker]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Crashes of a model's jobs after which its requests are refused; 0: never.
    pub crashes: u32,
    /// Within which time they have to happen.
    #[serde(with = "time")]
    pub within: Duration,
    /// How long requests are refused before one is tried again.
    #[serde(with = "time")]
    pub pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            crashes: 10,
            within: Duration::from_secs(60),
            pause: Duration::from_secs(30),
        }
    }
}

impl Breaker {
    /// Check every rule that types cannot say.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.time_or_zero("pause", self.pause);
        problems.time("within", self.within);
        if self.crashes > 10_000 {
            problems.add("crashes", "at most 10000 crashes are counted");
        }
    }
}
