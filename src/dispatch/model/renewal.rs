//! When a model's server is to be replaced, and the replacement on its way: the old one serves until it is ready.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::dispatch::{
    PoolId, Shared,
    model::keeper::{self, End, Server},
};
use crate::{config::Model, events};

/// Pause after a replacement with the same settings could not be started.
const RETRY: Duration = Duration::from_secs(60);

/// One server's successor.
pub(in crate::dispatch) struct Renewal {
    shared: Arc<Shared>,
    /// Jobs that the present server has forked.
    pub(in crate::dispatch) forks: u64,
    /// Moves the number of forks after which it is replaced, in thousandths: servers that started together shall not be
    /// replaced together.
    jitter: u64,
    coming: Option<Coming>,
    not_before: Instant,
}

struct Coming {
    settings: Arc<Model>,
    server: oneshot::Receiver<Result<Server, String>>,
}

/// What the present server has to do.
pub(in crate::dispatch) enum Look {
    /// Nothing else than before.
    GoOn,
    /// Go on with these settings: engine and mode are the same.
    Settings(Arc<Model>),
    /// Serve no more.
    End(End),
}

impl Renewal {
    pub(in crate::dispatch) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: shared.clone(),
            forks: 0,
            jitter: 900 + RandomState::new().hash_one(0) % 201,
            coming: None,
            not_before: Instant::now(),
        }
    }

    /// See what the configuration wants, begin or end a replacement accordingly.
    pub(in crate::dispatch) fn look(&mut self, id: PoolId, model: &Arc<Model>) -> Look {
        if let Some(coming) = &mut self.coming
            && let Ok(started) = coming.server.try_recv()
        {
            let settings = coming.settings.clone();
            self.coming = None;
            match (started, self.shared.wanted(id)) {
                (Ok(fresh), Some(wanted)) if *wanted == *settings => {
                    return Look::End(End::Replaced(fresh, wanted));
                }
                // Overtaken by yet another configuration.
                (Ok(_), _) => {}
                (Err(reason), _) => self.rejected(id, model, settings, reason),
            }
        }
        let Some((wanted, renew, drained)) = self.state_of(id) else {
            return Look::End(End::Removed);
        };
        let Some(wanted) = wanted else {
            self.coming = None;
            return match drained {
                true => Look::End(End::Removed),
                false => Look::GoOn,
            };
        };
        if Arc::ptr_eq(&wanted, model) {
            let due = self.is_worn() || renew;
            if due && self.coming.is_none() && Instant::now() >= self.not_before {
                self.begin(id, wanted);
            }
            return Look::GoOn;
        }
        if wanted.loads_like(model) {
            return Look::Settings(wanted);
        }
        let is_coming = |c: &Coming| Arc::ptr_eq(&c.settings, &wanted);
        if !self.coming.as_ref().is_some_and(is_coming) && !self.is_rejected(id, &wanted) {
            self.begin(id, wanted);
        }
        Look::GoOn
    }

    fn begin(&mut self, id: PoolId, settings: Arc<Model>) {
        let (sender, server) = oneshot::channel();
        let (shared, model) = (self.shared.clone(), settings.clone());
        tokio::spawn(async move {
            let started = keeper::start(&shared, model).await;
            if sender.send(started).is_ok() {
                shared.wake(id).notify_one();
            }
        });
        self.coming = Some(Coming { settings, server });
    }

    /// Whether it has forked so often that it is to be replaced.
    fn is_worn(&self) -> bool {
        let most = self.shared.config().zygote.max_forks;
        most > 0 && self.forks >= (most.saturating_mul(self.jitter) / 1000).max(1)
    }

    /// The settings wanted, whether a fresh server is asked for, and whether nothing is left to do.
    fn state_of(&self, id: PoolId) -> Option<(Option<Arc<Model>>, bool, bool)> {
        let state = self.shared.state();
        let pool = state.pools.get(&id)?;
        let drained = !state.queue.wants(id) && pool.coming == 0;
        Some((pool.wanted.clone(), pool.renew, drained))
    }

    fn is_rejected(&self, id: PoolId, wanted: &Arc<Model>) -> bool {
        let state = self.shared.state();
        let rejected = state.pools.get(&id).and_then(|pool| pool.rejected.as_ref());
        rejected.is_some_and(|(settings, _)| Arc::ptr_eq(settings, wanted))
    }

    fn rejected(&mut self, id: PoolId, model: &Model, settings: Arc<Model>, reason: String) {
        let name = &settings.name;
        tracing::error!(
            target: events::REPLACEMENT_FAILED,
            model = name,
            "model {name}: no fresh zygote can be started, the old one goes on: {reason}"
        );
        self.not_before = Instant::now() + RETRY;
        if *model != *settings
            && let Some(pool) = self.shared.state().pools.get_mut(&id)
        {
            pool.rejected = Some((settings, reason));
        }
        self.shared.health.send_replace(());
    }
}
