//! One job that was asked for and is not ready yet: its model counts it while this is held.

use std::sync::Arc;

use super::{pool_id::PoolId, shared::Shared};

/// One job on its way to being ready. Dropping it takes the job off its model's count.
pub struct Upcoming {
    shared: Arc<Shared>,
    id: PoolId,
    /// Generation of the model's settings with which the job was asked for.
    generation: u64,
}

impl Upcoming {
    /// Count one more job of model `id`.
    pub fn of(shared: &Arc<Shared>, id: PoolId) -> Self {
        let mut schedule = shared.schedule();
        if let Some(pool) = schedule.pools.get_mut(&id) {
            pool.upcoming += 1;
        }
        Self {
            generation: schedule.generation(id),
            shared: shared.clone(),
            id,
        }
    }

    /// Whether its model still serves with the settings of the beginning.
    pub fn is_current(&self) -> bool {
        self.generation == self.shared.schedule().generation(self.id)
    }
}

impl Drop for Upcoming {
    fn drop(&mut self) {
        if let Some(pool) = self.shared.schedule().pools.get_mut(&self.id) {
            pool.upcoming = pool.upcoming.saturating_sub(1);
        }
    }
}
