//! How models are loaded and reloaded: `[zygote]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// The table `[zygote]`: loading of models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zygote {
    /// Time limit for loading a model and for the self-test after it.
    #[serde(with = "time")]
    pub load_timeout: Duration,
    /// Longest pause between two attempts to start a zygote that fails.
    #[serde(with = "time")]
    pub max_backoff: Duration,
    /// Number of forks, give or take a tenth, after which a zygote is replaced by a new one; 0:
    /// never.
    pub max_forks: u64,
}

impl Default for Zygote {
    fn default() -> Self {
        Self {
            load_timeout: Duration::from_secs(60),
            max_backoff: Duration::from_secs(30),
            max_forks: 100_000,
        }
    }
}

impl Zygote {
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.time("load_timeout", self.load_timeout);
        problems.time("max_backoff", self.max_backoff);
    }
}
