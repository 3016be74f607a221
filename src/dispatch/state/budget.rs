//! The memory that all jobs may have together: each holds its limit's worth while it lives.

use std::collections::VecDeque;

use super::pool_id::PoolId;
use crate::{
    config::{Config, MemoryBudget},
    isolation::cgroup::Tree,
};

/// The memory promised to jobs, and the models that get the next of it.
#[derive(Debug, Default)]
pub struct Budget {
    /// Bound for the limits of all jobs together, in bytes; `None` if unbounded.
    pub bound: Option<u64>,
    /// Limits of all living jobs together, in bytes.
    pub committed: u64,
    /// Models with requests that wait for memory. The first come first: otherwise small jobs would
    /// starve a large one.
    claims: VecDeque<PoolId>,
}

/// The sum of all jobs' limits that `config` allows in `tree`, in bytes; `None` if unbounded.
pub fn bound(config: &Config, tree: Option<&Tree>) -> Option<u64> {
    match config.memory.budget {
        MemoryBudget::Unlimited => None,
        MemoryBudget::Size(size) => Some(size.bytes()),
        MemoryBudget::Auto => {
            let limit = tree?.memory_limit()?;
            // A small service must be able to do something at all.
            Some((limit / 2).max(limit.saturating_sub(config.memory.reserve.bytes())))
        }
    }
}

impl Budget {
    /// Take `bytes` for a job of model `id`. If they cannot be had and the job is `urgent` (its
    /// request waits), the model is remembered, and no other gets memory before it.
    pub fn take(&mut self, id: PoolId, bytes: u64, urgent: bool) -> bool {
        let first = self.claims.front().is_none_or(|first| *first == id);
        let fits = self
            .bound
            .is_none_or(|bound| self.committed.saturating_add(bytes) <= bound);
        if first && fits {
            self.committed += bytes;
            self.forget(id);
            return true;
        }
        if urgent && !self.claims.contains(&id) {
            self.claims.push_back(id);
        }
        false
    }

    /// No request waits for model `id` any more.
    pub fn forget(&mut self, id: PoolId) {
        self.claims.retain(|claim| *claim != id);
    }

    /// Whether a request waits for memory.
    pub fn is_short(&self) -> bool {
        !self.claims.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_promises_more_than_there_is() {
        let mut budget = Budget {
            bound: Some(100),
            ..Budget::default()
        };
        let (a, b) = (PoolId(1), PoolId(2));
        assert!(budget.take(a, 60, false));
        assert!(!budget.take(b, 60, false));
        assert!(budget.take(b, 40, false));
        assert_eq!(budget.committed, 100);
    }

    #[test]
    fn a_large_job_is_not_starved_by_small_ones() {
        let mut budget = Budget {
            bound: Some(100),
            ..Budget::default()
        };
        let (large, small) = (PoolId(1), PoolId(2));
        assert!(budget.take(small, 30, true));
        assert!(!budget.take(large, 90, true));
        assert!(!budget.take(small, 30, true), "the large one came first");
        budget.committed = 0;
        assert!(budget.take(large, 90, true));
        assert!(!budget.take(small, 30, true));
        budget.forget(small);
        assert!(!budget.is_short());
    }

    #[test]
    fn without_a_bound_every_model_gets_all() {
        let mut budget = Budget::default();
        assert!(budget.take(PoolId(1), u64::MAX / 2, false));
        assert!(budget.take(PoolId(1), u64::MAX / 2, false));
    }
}
