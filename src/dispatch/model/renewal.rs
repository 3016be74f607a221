//! The replacement of a model's server: the old one serves until the new one is ready.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::server::{ModelServer, ServerEnd};
use crate::{
    config::Model,
    dispatch::state::{pool::Rejected, pool_id::PoolId, shared::Shared},
    events,
};

/// Pause after a replacement with the same settings could not be started.
const RETRY: Duration = Duration::from_secs(60);

/// The replacement of one server, if one is due.
pub struct Renewal {
    shared: Arc<Shared>,
    /// Jobs that the present server has forked.
    pub forks: u64,
    /// Factor, in thousandths, for the number of forks after which the server is replaced. Servers
    /// that started together shall not be replaced together.
    jitter: u64,
    successor: Option<Successor>,
    not_before: Instant,
}

/// A server that is being started.
struct Successor {
    settings: Arc<Model>,
    server: oneshot::Receiver<Result<ModelServer, String>>,
}

/// The task of the present server after a look.
pub enum Look {
    /// Nothing else than before.
    GoOn,
    /// Go on with these settings: engine and mode are the same.
    Settings(Arc<Model>),
    /// Serve no more requests.
    End(ServerEnd),
}

/// The wishes of the configuration and the schedule for a model.
struct Wanted {
    /// The settings that the configuration has for it; `None` once it was removed.
    settings: Option<Arc<Model>>,
    /// A fresh server is asked for.
    renew: bool,
    /// No request waits for it, and no job of it is on its way.
    is_drained: bool,
}

impl Renewal {
    /// For a server of `model` that starts to serve now.
    pub fn new(shared: &Arc<Shared>, model: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        model.hash(&mut hasher);
        Self {
            shared: shared.clone(),
            forks: 0,
            jitter: 900 + hasher.finish() % 201,
            successor: None,
            not_before: Instant::now(),
        }
    }

    /// See what the configuration wants; begin or end a replacement accordingly. `model` has the
    /// settings with which the present server serves.
    pub fn look(&mut self, id: PoolId, model: &Arc<Model>) -> Look {
        if let Some(end) = self.take_over(id, model) {
            return Look::End(end);
        }
        let Some(wish) = self.wish(id) else {
            return Look::End(ServerEnd::Removed);
        };
        let Some(wanted) = wish.settings else {
            self.successor = None;
            return if wish.is_drained {
                Look::End(ServerEnd::Removed)
            } else {
                Look::GoOn
            };
        };
        if Arc::ptr_eq(&wanted, model) {
            let is_due = self.is_worn() || wish.renew;
            if is_due && self.successor.is_none() && Instant::now() >= self.not_before {
                self.begin(id, wanted);
            }
            return Look::GoOn;
        }
        if wanted.loads_like(model) {
            return Look::Settings(wanted);
        }
        let successor = self.successor.as_ref();
        let is_coming = successor.is_some_and(|next| Arc::ptr_eq(&next.settings, &wanted));
        if !is_coming && !self.is_rejected(id, &wanted) {
            self.begin(id, wanted);
        }
        Look::GoOn
    }

    /// Let the successor take over, if it has been started since the last look.
    fn take_over(&mut self, id: PoolId, model: &Arc<Model>) -> Option<ServerEnd> {
        let started = self.successor.as_mut()?.server.try_recv().ok()?;
        let settings = self.successor.take()?.settings;
        match (started, self.shared.wanted(id)) {
            (Ok(fresh), Some(wanted)) if *wanted == *settings => {
                return Some(ServerEnd::Replaced(fresh, wanted));
            }
            // Yet another configuration came meanwhile.
            (Ok(_), _) => {}
            (Err(reason), _) => self.reject(id, model, settings, reason),
        }
        None
    }

    /// Start a successor with these settings.
    fn begin(&mut self, id: PoolId, settings: Arc<Model>) {
        let (sender, server) = oneshot::channel();
        let (shared, model) = (self.shared.clone(), settings.clone());
        tokio::spawn(async move {
            let started = ModelServer::start(&shared, model).await;
            if sender.send(started).is_ok() {
                shared.wake(id).notify_one();
            }
        });
        self.successor = Some(Successor { settings, server });
    }

    /// Whether the server has forked so often that it is to be replaced.
    fn is_worn(&self) -> bool {
        let most = self.shared.config().zygote.max_forks;
        most > 0 && self.forks >= (most.saturating_mul(self.jitter) / 1000).max(1)
    }

    fn wish(&self, id: PoolId) -> Option<Wanted> {
        let schedule = self.shared.schedule();
        let pool = schedule.pools.get(&id)?;
        Some(Wanted {
            settings: pool.wanted.clone(),
            renew: pool.renew,
            is_drained: !schedule.queue.wants(id) && pool.upcoming == 0,
        })
    }

    fn is_rejected(&self, id: PoolId, wanted: &Arc<Model>) -> bool {
        let schedule = self.shared.schedule();
        let pool = schedule.pools.get(&id);
        pool.is_some_and(|pool| pool.has_rejected(wanted))
    }

    /// No successor with these settings can be started.
    fn reject(&mut self, id: PoolId, model: &Model, settings: Arc<Model>, reason: String) {
        let name = &settings.name;
        tracing::error!(
            target: events::REPLACEMENT_FAILED,
            model = name,
            "model {name}: no fresh zygote can be started, the old one goes on: {reason}"
        );
        self.not_before = Instant::now() + RETRY;
        if *model != *settings
            && let Some(pool) = self.shared.schedule().pools.get_mut(&id)
        {
            pool.rejected = Some(Rejected { settings, reason });
        }
        self.shared.health.send_replace(());
    }
}
