//! How much memory all jobs together may use: `[memory]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{problems::Problems, units::ByteSize};

/// Least memory of a job: it needs this for stacks, heap and decoder before it has heard a word.
pub const MIN_JOB_MEMORY: ByteSize = ByteSize::mib(16);

/// The table `[memory]`: budget and reserve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Largest sum of the memory limits of all running and spare jobs.
    pub budget: MemoryBudget,
    /// With `budget = "auto"`: memory withheld from the service's `memory.max` for the supervisor
    /// and the zygotes.
    pub reserve: ByteSize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            budget: MemoryBudget::Auto,
            reserve: ByteSize::mib(256),
        }
    }
}

impl Memory {
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        if let MemoryBudget::Size(budget) = self.budget
            && budget < MIN_JOB_MEMORY
        {
            let what = format!("one job needs at least {MIN_JOB_MEMORY}");
            problems.add("budget", what);
        }
    }
}

/// Largest sum of the memory limits of all running and spare jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBudget {
    /// `"auto"`: the service's own `memory.max` minus the reserve. If the service has no such
    /// limit, the sum is unlimited.
    Auto,
    /// `"unlimited"`: their sum has no limit.
    Unlimited,
    /// A fixed number of bytes.
    Size(ByteSize),
}

impl<'de> Deserialize<'de> for MemoryBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "unlimited" => Ok(Self::Unlimited),
            text => text.parse().map(Self::Size).map_err(|what| {
                de::Error::custom(format!("{what}; or \"auto\", or \"unlimited\""))
            }),
        }
    }
}

impl Serialize for MemoryBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Unlimited => serializer.serialize_str("unlimited"),
            Self::Size(size) => size.serialize(serializer),
        }
    }
}
