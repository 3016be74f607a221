//! Whether the scheduler gets on, for the watchdog.

use std::time::{Duration, Instant};

use crate::{
    dispatch::{Health, State, state::pool::Pool},
    isolation::Preload,
};

impl State {
    /// Why nothing has moved for so long though something could: requests wait for a model that is ready, and there is
    /// room for one more to run.
    pub(in crate::dispatch) fn stalled(
        &self,
        after: Duration,
        now: Instant,
        max_running: usize,
    ) -> Option<String> {
        let idle = now.saturating_duration_since(self.progress);
        if idle < after || self.running >= max_running {
            return None;
        }
        // Memory that others hold is a good reason to wait while they run.
        if self.budget.is_short() && self.running > 0 {
            return None;
        }
        let waits = |id| self.queue.waiting_for(id) > 0;
        // A job that loads its model itself has the time of loading for that, which bounds it.
        let loads = |pool: &Pool| {
            pool.coming > 0 && pool.model.engine.needs().preload == Preload::AfterFork
        };
        let mut pools = self.pools.iter();
        let (_, pool) =
            pools.find(|(id, pool)| pool.health == Health::Ready && waits(**id) && !loads(pool))?;
        Some(format!(
            "requests for the model {} wait, it is ready, and nothing has moved for {:.1} s",
            pool.name,
            idle.as_secs_f64()
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::config::{self, Config, Share};
    use crate::dispatch::{
        PoolId, model::zygote::self_test_request, state::accepted::Queue, state::breaker::Breaker,
        state::budget::Budget, statistics::Statistics,
    };
    use crate::engine::{EngineSettings, exec::ExecSettings};

    const AFTER: Duration = Duration::from_secs(10);
    const ID: PoolId = PoolId(1);

    /// One model, ready, for which one request waits, and nothing has moved for a minute.
    fn wedged() -> (State, Instant) {
        let config = Config::load(Some(std::path::Path::new("/dev/null")), [].into_iter()).unwrap();
        let model = Arc::new(config.models[0].clone());
        let books = Statistics::new().model(&model.name);
        let mut pool = Pool::new(model.clone(), Breaker::new(config.breaker), books);
        pool.health = Health::Ready;
        let mut queue = Queue::new(10);
        let (waiting, _) = self_test_request(ID, model.limits).unwrap();
        queue.push(Box::new(waiting), Share::default()).unwrap();
        let progress = Instant::now();
        let state = State {
            pools: BTreeMap::from([(ID, pool)]),
            queue,
            budget: Budget::default(),
            running: 0,
            finished: 0,
            next_id: 1,
            next_pool: 2,
            service_time: Duration::from_secs(1),
            pressure_until: progress,
            progress,
            closing: false,
        };
        (state, progress + Duration::from_secs(60))
    }

    #[test]
    fn a_request_that_nobody_takes_is_a_standstill() {
        let (state, now) = wedged();
        let reason = state.stalled(AFTER, now, 4).unwrap();
        assert!(
            reason.contains("default") && reason.contains("60.0 s"),
            "{reason}"
        );
        assert_eq!(state.stalled(Duration::from_secs(61), now, 4), None);
    }

    #[test]
    fn whoever_has_a_reason_to_wait_does_not_stand_still() {
        let (mut state, now) = wedged();
        state.running = 4;
        assert_eq!(state.stalled(AFTER, now, 4), None, "all places are taken");
        assert!(state.stalled(AFTER, now, 5).is_some());
        state.running = 0;
        state.pools.get_mut(&ID).unwrap().health = Health::Starting;
        assert_eq!(state.stalled(AFTER, now, 4), None, "the model is loading");
        let (mut state, now) = wedged();
        let pool = state.pools.get_mut(&ID).unwrap();
        let mut model = config::Model::clone(&pool.model);
        pool.coming = 1;
        assert!(
            state.stalled(AFTER, now, 4).is_some(),
            "a fork takes no time"
        );
        model.engine = EngineSettings::Exec(ExecSettings::default());
        state.pools.get_mut(&ID).unwrap().model = Arc::new(model);
        assert_eq!(state.stalled(AFTER, now, 4), None, "a job is loading it");
        let (mut state, now) = wedged();
        state.queue.take_everything();
        assert_eq!(state.stalled(AFTER, now, 4), None, "nobody waits");
    }
}
