//! One job's part of the memory budget, given back when it is dropped.

use std::sync::Arc;

use super::{pool_id::PoolId, shared::Shared};

/// Memory promised to one job.
#[derive(Debug)]
pub struct Reservation {
    shared: Arc<Shared>,
    id: PoolId,
    bytes: u64,
}

impl Reservation {
    /// Take `bytes` for a job of model `id`; `None` if they cannot be had now.
    pub fn take(shared: &Arc<Shared>, id: PoolId, bytes: u64, urgent: bool) -> Option<Self> {
        let mut schedule = shared.schedule();
        if !schedule.budget.take(id, bytes, urgent) {
            return None;
        }
        if let Some(pool) = schedule.pools.get_mut(&id) {
            pool.committed += bytes;
        }
        drop(schedule);
        Some(Self {
            shared: shared.clone(),
            id,
            bytes,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut schedule = self.shared.schedule();
        schedule.budget.committed -= self.bytes;
        if let Some(pool) = schedule.pools.get_mut(&self.id) {
            pool.committed -= self.bytes;
        }
        // Models that wait for memory try again.
        if schedule.budget.is_short() {
            schedule.wake_all();
        }
    }
}
