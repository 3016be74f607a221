//! Another configuration while the service runs: models come, go and change; no request is lost.

use std::sync::Arc;

use tokio::time::Instant;

use super::keeper;
use crate::{
    config::Config,
    dispatch::state::{
        breaker::Breaker,
        budget,
        pool_id::PoolId,
        shared::{Shared, slot_count},
    },
};

/// Serve by `config` from now on: settings that take no new zygote are in force at once, and the
/// keepers see to the others. Must be called on the thread that runs the service.
pub fn reconfigure(shared: &Arc<Shared>, config: Arc<Config>) {
    shared.slots.set_limit(slot_count(&config));
    let new = update(shared, &config);
    shared.config.send_replace(config);
    for id in new {
        tokio::spawn(keeper::keep(shared.clone(), id));
    }
    shared.schedule().wake_all();
    shared.health.send_replace(());
}

/// Enter `config` into the schedule. Gives the models that are new.
fn update(shared: &Shared, config: &Config) -> Vec<PoolId> {
    let tree = shared.slots.tree().map(AsRef::as_ref);
    let mut schedule = shared.schedule();
    schedule.budget.bound = budget::bound(config, tree);
    schedule.queue.set_bound(config.jobs.max_queued);
    for pool in schedule.pools.values_mut() {
        pool.wanted = None;
        pool.rejected = None;
        pool.breaker.configure(config.breaker);
    }
    let mut new = Vec::new();
    for model in &config.models {
        let wanted = Arc::new(model.clone());
        match schedule.pool_named(&model.name) {
            // Settings that are the same as before are the very same object: there is nothing to do
            // for the keeper.
            Some((_, pool)) if *pool.model == *wanted => {
                pool.wanted = Some(pool.model.clone());
            }
            Some((_, pool)) => pool.wanted = Some(wanted),
            None => {
                let books = shared.statistics.model(&model.name);
                let breaker = Breaker::new(config.breaker);
                new.push(schedule.add_pool(wanted, breaker, books));
            }
        }
    }
    schedule.moves(Instant::now());
    new
}
