//! How models prove that they still work: `[health]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// The table `[health]`: when models are tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Interval after which an unused model transcribes a test recording; zero: never.
    #[serde(with = "time")]
    pub interval: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
        }
    }
}

impl Health {
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.time_or_zero("interval", self.interval);
    }
}
