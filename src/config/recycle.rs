//! When a job of mode `hybrid` ends: `[recycle]`, and what one model overrides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    problems::Problems,
    units::{ByteSize, Time, time},
};

/// When a job that serves several requests (mode `hybrid`) ends: at the first of these limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recycle {
    /// Number of requests that it serves.
    pub max_requests: u64,
    /// Growth of its private memory since it was forked.
    pub max_growth: ByteSize,
    /// Time since it was forked.
    #[serde(with = "time")]
    pub max_age: Duration,
}

impl Default for Recycle {
    fn default() -> Self {
        Self {
            max_requests: 100,
            max_growth: ByteSize::mib(128),
            max_age: Duration::from_secs(3600),
        }
    }
}

/// The keys of [`Recycle`], each optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecycleOverride {
    max_requests: Option<u64>,
    max_growth: Option<ByteSize>,
    max_age: Option<Time>,
}

impl RecycleOverride {
    /// These keys in place of those of `base`.
    pub fn over(&self, base: Recycle) -> Recycle {
        Recycle {
            max_requests: self.max_requests.unwrap_or(base.max_requests),
            max_growth: self.max_growth.unwrap_or(base.max_growth),
            max_age: self.max_age.map_or(base.max_age, |t| t.0),
        }
    }
}

impl Recycle {
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.max_requests == 0 {
            problems.add("max_requests", "must be at least 1");
        }
        problems.time("max_age", self.max_age);
    }
}
