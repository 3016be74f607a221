//! Jobs that wait for requests: `[spares]`, and what one model overrides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    problems::Problems,
    units::{Lifetime, Time, time},
};

/// Numbers and lifetime of jobs that are forked ahead of their request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spares {
    /// If fewer wait, a new one is forked at once.
    pub min: usize,
    /// Largest number that waits.
    pub max: usize,
    /// After a request was handed over, no spare above `min` is forked for this time, so that the
    /// job has the CPU.
    #[serde(with = "time")]
    pub refill_delay: Duration,
    /// Longest time that one waits for its request.
    pub ttl: Lifetime,
}

impl Default for Spares {
    fn default() -> Self {
        Self {
            min: 1,
            max: 2,
            refill_delay: Duration::from_millis(20),
            ttl: Lifetime::Unlimited,
        }
    }
}

/// The keys of [`Spares`], each optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SparesOverride {
    min: Option<usize>,
    max: Option<usize>,
    refill_delay: Option<Time>,
    ttl: Option<Lifetime>,
}

impl SparesOverride {
    /// These keys in place of those of `base`.
    pub fn over(&self, base: Spares) -> Spares {
        Spares {
            min: self.min.unwrap_or(base.min),
            max: self.max.unwrap_or(base.max),
            refill_delay: self.refill_delay.map_or(base.refill_delay, |t| t.0),
            ttl: self.ttl.unwrap_or(base.ttl),
        }
    }
}

impl Spares {
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.min > self.max {
            let what = format!(
                "spares.min is {}, spares.max is {}: min cannot be above max",
                self.min, self.max
            );
            problems.add("min", what);
        }
        if self.max > 256 {
            problems.add("max", "at most 256 spares can wait");
        }
        problems.time_or_zero("refill_delay", self.refill_delay);
        if let Lifetime::Limited(ttl) = self.ttl {
            problems.time("ttl", ttl);
        }
    }
}
