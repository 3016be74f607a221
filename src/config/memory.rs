//! How much memory all jobs may have together: `[memory]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{problems::Problems, units::ByteSize};

/// A job needs this much for its own stacks, heap and decoder before it has heard a word.
pub const MIN_JOB_MEMORY: ByteSize = ByteSize::mib(16);

/// `[memory]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// What the limits of all running and spare jobs may add up to.
    pub budget: MemoryBudget,
    /// What of the service's own `memory.max` is kept for the supervisor and the zygotes, where the budget comes from it.
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
    /// Check every rule that types cannot say.
    pub(super) fn check(&self, problems: &mut Problems) {
        if let MemoryBudget::Size(budget) = self.budget
            && budget < MIN_JOB_MEMORY
        {
            let what = format!("one job needs at least {MIN_JOB_MEMORY}");
            problems.add("budget", what);
        }
    }
}

/// What the limits of all running and spare jobs may add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBudget {
    /// `"auto"`: the service's own `memory.max`, less the reserve; without a limit of its own there is no budget.
    Auto,
    /// `"unlimited"`: whatever they add up to.
    Unlimited,
    /// So much.
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
