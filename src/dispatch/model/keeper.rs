//! Keeps one model's server alive, and starts another one when it is lost or replaced.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    canary,
    forking::fork_jobs,
    server::{ModelServer, ServerEnd},
    threading,
};
use crate::{
    config::Model,
    dispatch::state::{backoff::Backoff, pool::Health, pool_id::PoolId, shared::Shared},
    events,
    isolation::orphans,
};

/// A server that served for this long before it was lost is started again at once.
const STABLE: Duration = Duration::from_secs(10);

/// How often to look for jobs that a lost zygote had not told of.
const ORPHAN_LOOKS: u32 = 30;

/// Time between these looks.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(1);

/// Keep model `id` ready until it is removed or the service ends.
pub async fn keep(shared: Arc<Shared>, id: PoolId) {
    tokio::spawn(canary::watch(shared.clone(), id));
    let mut backoff = Backoff::default();
    // The first loss may come at any time: it need not be a reason to pause.
    let mut is_stable = true;
    while let Some(model) = shared.wanted(id) {
        let name = model.name.clone();
        match ModelServer::start(&shared, model.clone()).await {
            Ok(server) => {
                let ready = Instant::now();
                let Some(reason) = serve(&shared, id, model, server).await else {
                    break;
                };
                is_stable |= ready.elapsed() > STABLE;
                tracing::error!(
                    target: events::ZYGOTE_LOST,
                    model = name,
                    "model {name}: its zygote is lost and started again: {reason}"
                );
                shared.set_health(id, Health::Starting);
            }
            Err(reason) => {
                is_stable = false;
                fail(&shared, id, model, reason);
            }
        }
        if std::mem::take(&mut is_stable) {
            backoff.reset();
        } else {
            let longest = shared.config().zygote.max_backoff;
            pause(&shared, &name, backoff.failed(longest)).await;
        }
    }
    remove(&shared, id);
}

/// Wait before the next attempt to start a server.
async fn pause(shared: &Shared, name: &str, pause: Duration) {
    tracing::info!(
        model = name,
        "model {name}: next attempt in {:.1} s",
        pause.as_secs_f64()
    );
    let mut configured = shared.config.subscribe();
    tokio::select! {
        biased;
        () = tokio::time::sleep(pause) => {}
        // Perhaps it was mended just now.
        _ = configured.changed() => {}
    }
}

/// Serve with one server after the other, each replaced by the next without a gap. Gives the reason
/// why the last one was lost, or nothing once the model was removed.
async fn serve(
    shared: &Arc<Shared>,
    id: PoolId,
    mut model: Arc<Model>,
    mut server: ModelServer,
) -> Option<String> {
    loop {
        shared.adopt(id, &model);
        let end = match &mut server {
            ModelServer::Zygote(zygote) => fork_jobs(shared, id, model, zygote).await,
            ModelServer::Thread(thread) => threading::serve(shared, id, model, thread).await,
        };
        match end {
            ServerEnd::Lost(reason) => {
                tokio::spawn(reap_orphans());
                return Some(reason);
            }
            ServerEnd::Removed => return None,
            ServerEnd::Replaced(fresh, settings) => {
                let name = &settings.name;
                tracing::info!(
                    target: events::ZYGOTE_REPLACED,
                    model = name,
                    "model {name}: a fresh zygote takes over"
                );
                // Before the old one goes: its idle jobs go first.
                shared.adopt(id, &settings);
                (server, model) = (fresh, settings);
            }
        }
    }
}

/// Reap the jobs that a lost zygote has perhaps forked a moment before, and not told of.
async fn reap_orphans() {
    match orphans::reap(ORPHAN_LOOKS, ORPHAN_PATIENCE).await {
        Ok(0) => {}
        Ok(count) => tracing::info!("{count} jobs were reaped that a lost zygote had not told of"),
        Err(error) => tracing::warn!("jobs of a lost zygote cannot be reaped: {error}"),
    }
}

/// Model `id` cannot be started with these settings.
fn fail(shared: &Shared, id: PoolId, model: Arc<Model>, reason: String) {
    let name = &model.name;
    tracing::error!(
        target: events::MODEL_FAILED,
        model = name,
        "model {name}: it cannot be started: {reason}"
    );
    if let Some(pool) = shared.schedule().pools.get_mut(&id) {
        pool.model = model;
    }
    shared.set_health(id, Health::Failed(reason));
}

/// The model is gone from the configuration, and drained.
fn remove(shared: &Shared, id: PoolId) {
    let (name, turned_away) = shared.schedule().remove(id);
    turned_away.tell();
    tracing::info!(
        target: events::MODEL_REMOVED,
        model = name,
        "model {name}: it is removed"
    );
    shared.health.send_replace(());
}
