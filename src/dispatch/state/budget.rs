//! The memory that all jobs may have together: each holds its limit's worth for as long as its process lives.

use std::{collections::VecDeque, sync::Arc};

use crate::dispatch::{PoolId, Shared};

/// What was promised to jobs, and to whom it goes next.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Budget {
    /// In bytes; `None`: there is no bound.
    pub(in crate::dispatch) bound: Option<u64>,
    /// Limits of all jobs that live, in bytes.
    pub(in crate::dispatch) committed: u64,
    /// Models with requests that wait for memory, the first come first: else small jobs would starve a large one.
    claims: VecDeque<PoolId>,
}

impl Budget {
    /// Take `bytes` for a job of model `id`. One that is `urgent` (its request waits) and cannot have them is remembered,
    /// and nobody else gets any before it.
    fn take(&mut self, id: PoolId, bytes: u64, urgent: bool) -> bool {
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

    /// Model `id` has no request waiting any more.
    pub(in crate::dispatch) fn forget(&mut self, id: PoolId) {
        self.claims.retain(|claim| *claim != id);
    }

    /// Whether somebody waits for memory.
    pub(in crate::dispatch) fn is_short(&self) -> bool {
        !self.claims.is_empty()
    }
}

/// A job's share of the budget, given back when dropped.
#[derive(Debug)]
pub(in crate::dispatch) struct Reservation {
    shared: Arc<Shared>,
    id: PoolId,
    bytes: u64,
}

impl Reservation {
    /// Take `bytes` for a job of model `id`; `None` while they cannot be had.
    pub(in crate::dispatch) fn take(
        shared: &Arc<Shared>,
        id: PoolId,
        bytes: u64,
        urgent: bool,
    ) -> Option<Self> {
        let mut state = shared.state();
        if !state.budget.take(id, bytes, urgent) {
            return None;
        }
        if let Some(pool) = state.pools.get_mut(&id) {
            pool.committed += bytes;
        }
        drop(state);
        Some(Self {
            shared: shared.clone(),
            id,
            bytes,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.budget.committed -= self.bytes;
        if let Some(pool) = state.pools.get_mut(&self.id) {
            pool.committed -= self.bytes;
        }
        // Whoever waits for memory tries again.
        if state.budget.is_short() {
            state.wake_all();
        }
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
    fn without_a_bound_everybody_gets_what_they_want() {
        let mut budget = Budget::default();
        assert!(budget.take(PoolId(1), u64::MAX / 2, false));
        assert!(budget.take(PoolId(1), u64::MAX / 2, false));
    }
}
