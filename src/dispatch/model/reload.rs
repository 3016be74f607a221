//! Another configuration while the service runs: models come, go and change, and no request is lost over it.

use std::{sync::Arc, time::Instant};

use crate::config::Config;
use crate::dispatch::{
    Dispatcher, Health, PoolId, Shared, budget, model::keeper, slots, state::breaker::Breaker,
    state::pool::Pool,
};

impl Dispatcher {
    /// Serve by `config` from now on.
    ///
    /// What takes no new zygote is in force at once. A model whose engine, files or mode changed goes on as before until
    /// a replacement has passed its self-test, and for good if none does. A removed model takes no new requests; those
    /// that wait for it are still served.
    ///
    /// Must be called on the thread that runs the service, as [`Self::start`].
    pub fn reconfigure(&self, config: Arc<Config>) {
        let shared = &self.shared;
        shared.slots.set_limit(slots(&config));
        let tree = shared.slots.tree().map(AsRef::as_ref);
        let mut new = Vec::new();
        {
            let mut state = shared.state();
            state.budget.bound = budget(&config, tree);
            state.queue.set_bound(config.jobs.max_queued);
            for pool in state.pools.values_mut() {
                pool.wanted = None;
                pool.rejected = None;
                pool.breaker.configure(config.breaker);
            }
            for model in &config.models {
                let wanted = Arc::new(model.clone());
                match state.pool_named(&model.name) {
                    // The same as before is the very same: nothing to do for its keeper.
                    Some((_, pool)) if *pool.model == *wanted => {
                        pool.wanted = Some(pool.model.clone());
                    }
                    Some((_, pool)) => pool.wanted = Some(wanted),
                    None => {
                        let id = PoolId(state.next_pool);
                        state.next_pool += 1;
                        let books = shared.statistics.model(&model.name);
                        let pool = Pool::new(wanted, Breaker::new(config.breaker), books);
                        state.pools.insert(id, pool);
                        new.push(id);
                    }
                }
            }
            state.progress = Instant::now();
        }
        shared.config.send_replace(config);
        for id in new {
            tokio::spawn(keeper::keep(shared.clone(), id));
        }
        shared.state().wake_all();
        shared.health.send_replace(());
    }

    /// Whether every model serves by the settings that the configuration has for it, or could not be brought to.
    /// [`Self::health_changes`] tells when to look again.
    pub fn is_settled(&self) -> bool {
        let state = self.shared.state();
        state.pools.values().all(|pool| match &pool.wanted {
            None => true,
            Some(wanted) => {
                let in_force = Arc::ptr_eq(wanted, &pool.model) && pool.health != Health::Starting;
                let rejected = pool.rejected.as_ref();
                in_force || rejected.is_some_and(|(settings, _)| Arc::ptr_eq(settings, wanted))
            }
        })
    }

    /// The models whose new settings could not be brought into force, and why; the old ones serve on.
    pub fn rejected(&self) -> Vec<(String, String)> {
        let state = self.shared.state();
        let rejected = state.pools.values().filter_map(|pool| {
            let (_, reason) = pool.rejected.as_ref()?;
            Some((pool.name.clone(), reason.clone()))
        });
        rejected.collect()
    }
}

impl Shared {
    /// The settings that the configuration has for model `id`; `None` once it was removed.
    pub(in crate::dispatch) fn wanted(&self, id: PoolId) -> Option<Arc<crate::config::Model>> {
        self.state().pools.get(&id)?.wanted.clone()
    }
}
