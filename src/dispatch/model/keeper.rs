//! Keeps one model's zygote alive, replaces it when it is time, and forks the jobs that its requests need.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{forking::fork_jobs, zygote};
use crate::{
    config::{Mode, Model},
    dispatch::{
        Health, PoolId, Shared,
        model::canary,
        model::thread::{self, EngineThread},
        statistics::Zygote,
    },
    events,
    isolation::orphans,
    request::Refusal,
};

/// A zygote that served for so long before it died is started again at once.
const STABLE: Duration = Duration::from_secs(10);

/// Pause before the second attempt in a row; it doubles with each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How often, and how far apart, it is looked for jobs that a lost zygote had not told of.
const ORPHAN_LOOKS: u32 = 30;
const ORPHAN_PATIENCE: Duration = Duration::from_secs(1);

/// What serves a model's requests.
pub(in crate::dispatch) enum Server {
    /// A zygote that forks a job for each, or for several.
    Zygote(Box<Zygote>),
    /// A thread of the service.
    Thread(EngineThread),
}

/// Why a server serves no more.
pub(in crate::dispatch) enum End {
    /// It is of no use any more; the reason.
    Lost(String),
    /// A fresh one takes its place, with these settings.
    Replaced(Server, Arc<Model>),
    /// The model was removed from the configuration, and nobody waits for it any more.
    Removed,
}

/// Keep model `id` ready until it is removed or the service ends.
pub(in crate::dispatch) async fn keep(shared: Arc<Shared>, id: PoolId) {
    tokio::spawn(canary::watch(shared.clone(), id));
    let mut pause = Duration::ZERO;
    while let Some(model) = shared.wanted(id) {
        let name = model.name.clone();
        match start(&shared, model.clone()).await {
            Ok(server) => {
                let ready = Instant::now();
                let reason = match serve(&shared, id, model, server).await {
                    Some(reason) => reason,
                    None => break,
                };
                if ready.elapsed() > STABLE {
                    pause = Duration::ZERO;
                }
                tracing::error!(
                    target: events::ZYGOTE_LOST,
                    model = name,
                    "model {name}: its zygote is lost and started again: {reason}"
                );
                shared.set_health(id, Health::Starting);
            }
            Err(reason) => {
                tracing::error!(
                    target: events::MODEL_FAILED,
                    model = name,
                    "model {name}: it cannot be started: {reason}"
                );
                shared.failed(id, &model);
                shared.set_health(id, Health::Failed(reason));
                pause = pause.max(FIRST_PAUSE);
            }
        }
        if !pause.is_zero() {
            tracing::info!(
                model = name,
                "model {name}: next attempt in {:.1} s",
                pause.as_secs_f64()
            );
            let mut configured = shared.config.subscribe();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Perhaps it was mended just now.
                _ = configured.changed() => {}
            }
        }
        pause = (pause * 2).clamp(FIRST_PAUSE, shared.config().zygote.max_backoff);
    }
    shared.remove(id);
}

/// Serve with one server after the other, each replaced by the next without a gap. Gives the reason why the last one was
/// lost, or nothing once the model was removed.
async fn serve(
    shared: &Arc<Shared>,
    id: PoolId,
    mut model: Arc<Model>,
    mut server: Server,
) -> Option<String> {
    loop {
        shared.adopt(id, &model);
        let end = match &mut server {
            Server::Zygote(zygote) => fork_jobs(shared, id, model, zygote).await,
            Server::Thread(thread) => thread::serve(shared, id, model, thread).await,
        };
        match end {
            End::Lost(reason) => {
                tokio::spawn(reap_orphans());
                return Some(reason);
            }
            End::Removed => return None,
            End::Replaced(fresh, settings) => {
                let name = &settings.name;
                tracing::info!(
                    target: events::ZYGOTE_REPLACED,
                    model = name,
                    "model {name}: a fresh zygote takes over"
                );
                // Before the old one goes: what it has forked and what waits for it goes first.
                shared.adopt(id, &settings);
                (server, model) = (fresh, settings);
            }
        }
    }
}

/// It may have forked a job a moment before, and not told of it.
async fn reap_orphans() {
    match orphans::reap(ORPHAN_LOOKS, ORPHAN_PATIENCE).await {
        Ok(0) => {}
        Ok(count) => tracing::info!("{count} jobs were reaped that a lost zygote had not told of"),
        Err(error) => tracing::warn!("jobs of a lost zygote cannot be reaped: {error}"),
    }
}

/// Start what serves `model`, and have it prove itself.
pub(in crate::dispatch) async fn start(
    shared: &Arc<Shared>,
    model: Arc<Model>,
) -> Result<Server, String> {
    let begin = Instant::now();
    let name = &model.name;
    let server = match model.mode {
        Mode::Thread => {
            tracing::warn!(
                target: events::MODE_THREAD,
                model = name,
                "model {name}: mode \"thread\": its engine runs inside the service, which it can leak into, crash and hang"
            );
            Server::Thread(thread::start(&model).await?)
        }
        Mode::Process | Mode::Hybrid => {
            shared.affordable(&model)?;
            Server::Zygote(Box::new(zygote::start(shared, &model).await?))
        }
    };
    let pid = match &server {
        Server::Zygote(zygote) => zygote.pid(),
        Server::Thread(_) => std::process::id().cast_signed(),
    };
    tracing::info!(
        target: events::MODEL_READY,
        model = name,
        pid,
        "model {name}: ready after {:.2} s",
        begin.elapsed().as_secs_f64()
    );
    Ok(server)
}

impl Shared {
    /// Whether one job of `model` fits into the memory that there is at all.
    fn affordable(&self, model: &Model) -> Result<(), String> {
        let limit = model.limits.memory;
        match self.state().budget.bound {
            Some(bound) if bound < limit.bytes() => Err(format!(
                "one of its jobs may need {limit} (limits.memory), and all jobs together may have {} MiB \
                 (memory.budget, or MemoryMax= of the unit): raise that or lower the limit",
                bound >> 20
            )),
            _ => Ok(()),
        }
    }

    /// What wakes the keeper of model `id`.
    pub(in crate::dispatch) fn wake(&self, id: PoolId) -> Arc<Notify> {
        let state = self.state();
        let pool = state.pools.get(&id);
        pool.map(|pool| pool.wake.clone()).unwrap_or_default()
    }

    /// So many more jobs (or fewer) are forked and not ready.
    pub(super) fn coming(&self, id: PoolId, change: isize) {
        if let Some(pool) = self.state().pools.get_mut(&id) {
            pool.coming = pool.coming.saturating_add_signed(change);
        }
    }

    /// The generation of the model's settings.
    pub(super) fn generation(&self, id: PoolId) -> u64 {
        let state = self.state();
        state
            .pools
            .get(&id)
            .map_or(u64::MAX, |pool| pool.generation)
    }

    /// Model `id` serves with `model` from now on.
    pub(in crate::dispatch) fn adopt(&self, id: PoolId, model: &Arc<Model>) {
        if let Some(pool) = self.state().pools.get_mut(&id)
            && (!Arc::ptr_eq(&pool.model, model) || pool.renew)
        {
            pool.adopt(model.clone());
            pool.rejected = None;
            pool.renew = false;
        }
        self.set_health(id, Health::Ready);
    }

    /// Model `id` cannot be started with `model`.
    fn failed(&self, id: PoolId, model: &Arc<Model>) {
        if let Some(pool) = self.state().pools.get_mut(&id) {
            pool.model = model.clone();
        }
    }

    /// A job of model `id` was of no use.
    pub(in crate::dispatch) fn stumbled(&self, id: PoolId) {
        let longest = self.config().zygote.max_backoff;
        if let Some(pool) = self.state().pools.get_mut(&id) {
            pool.stumbled(longest);
        }
    }

    /// The model is no more.
    fn remove(&self, id: PoolId) {
        let (refused, name) = {
            let mut state = self.state();
            let name = state.pools.remove(&id).map(|pool| pool.name);
            state.budget.forget(id);
            (state.queue.take_all(id), name.unwrap_or_default())
        };
        for waiting in refused {
            waiting.refuse(Refusal::UnknownModel);
        }
        tracing::info!(
            target: events::MODEL_REMOVED,
            model = name,
            "model {name}: it is removed"
        );
        self.health.send_replace(());
    }
}
