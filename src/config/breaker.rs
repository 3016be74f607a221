//! When a model that crashes repeatedly is no longer tried: `[breaker]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// The table `[breaker]`: crashes and pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Number of crashes of a model's jobs after which its requests are refused; 0: never refuse.
    pub crashes: u32,
    /// Period within which these crashes must happen.
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
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.time_or_zero("pause", self.pause);
        problems.time("within", self.within);
        if self.crashes > 10_000 {
            problems.add("crashes", "at most 10000 crashes are counted");
        }
    }
}
