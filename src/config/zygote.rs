//! Loading of models: `[zygote]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{problems::Problems, units::time};

/// `[zygote]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zygote {
    /// How long loading a model, and the self-test after it, may take.
    #[serde(with = "time")]
    pub load_timeout: Duration,
    /// Longest pause between two attempts to start a zygote that fails.
    #[serde(with = "time")]
    pub max_backoff: Duration,
    /// Forks after which a zygote is replaced by a fresh one, give or take a tenth; 0: never.
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
    /// Check every rule that types cannot say.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.time("load_timeout", self.load_timeout);
        problems.time("max_backoff", self.max_backoff);
    }
}
