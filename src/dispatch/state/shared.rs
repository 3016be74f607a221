//! The dispatcher's state as all of its tasks share it: the schedule, the configuration in force,
//! and what the tasks tell each other.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    accepted::Accepted, idle::IdleHandle, pool::Health, pool_id::PoolId, retry, schedule::Schedule,
};
use crate::{
    config::{Config, Mode, Model, Share},
    dispatch::{request::client::Client, statistics::Statistics},
    isolation::{Probe, Slots, cgroup::Tree},
    request::{Outcome, Refusal},
};

/// How far the service has gone on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The service goes on.
    No,
    /// Accepted requests are served; nothing is done ahead.
    Draining,
    /// Time is up: nothing goes on.
    Now,
}

/// All that the dispatcher's tasks share.
#[derive(Debug)]
pub struct Shared {
    pub config: watch::Sender<Arc<Config>>,
    pub probe: Probe,
    pub slots: Slots,
    pub statistics: Statistics,
    schedule: Mutex<Schedule>,
    /// Changes whenever the health of any model changes.
    pub health: watch::Sender<()>,
    pub stop: watch::Sender<Stop>,
}

/// How many slots there can be: for all running jobs, for all spares, and for one self-test of each
/// model, twice, because for a moment there are two zygotes while one is replaced.
pub fn slot_count(config: &Config) -> usize {
    let spares: usize = config.models.iter().map(|model| model.spares.max).sum();
    config.jobs.max_running + spares + 2 * config.models.len()
}

impl Shared {
    /// The state of a service that has no models yet.
    pub fn new(config: Arc<Config>, tree: Option<Arc<Tree>>, probe: Probe) -> Self {
        Self {
            slots: Slots::new(tree, slot_count(&config)),
            probe,
            statistics: Statistics::new(),
            schedule: Mutex::new(Schedule::new(config.jobs.max_queued, Instant::now())),
            health: watch::channel(()).0,
            stop: watch::channel(Stop::No).0,
            config: watch::channel(config).0,
        }
    }

    /// The schedule, locked until the guard is dropped.
    pub fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    /// How many requests may run at once.
    pub fn max_running(&self) -> usize {
        self.config.borrow().jobs.max_running
    }

    /// Whether each job is confined by a cgroup of its own.
    pub fn is_confined(&self) -> bool {
        let config = self.config();
        let thread = config.models.iter().any(|m| m.mode == Mode::Thread);
        !thread && self.slots.tree().is_some()
    }

    /// Whether a request of a client with this share would be taken now, whatever its model.
    ///
    /// # Errors
    /// It would not, for this reason.
    pub fn room(&self, client: &Client, share: Share) -> Result<(), Refusal> {
        if *self.stop.borrow() == Stop::Now {
            return Err(Refusal::ShuttingDown);
        }
        let max_running = self.max_running();
        let schedule = self.schedule();
        let room = schedule.queue.has_room(client, share);
        room.map_err(|full| retry::refusal(&schedule, full, client, max_running))
    }

    /// Give waiting requests to idle jobs, and have the keepers fork the jobs that are missing.
    pub fn pump(&self) {
        let max_running = self.max_running();
        let now = Instant::now();
        let mut schedule = self.schedule();
        schedule.hand_over(max_running, now);
        schedule.wake_all();
    }

    /// A request that no job has touched waits again, in front of all others.
    pub fn give_back(&self, request: Box<Accepted>) {
        let mut schedule = self.schedule();
        schedule.take_from_job(&request);
        match *self.stop.borrow() {
            Stop::Now => {
                schedule.queue.finished(&request.client);
                request.refuse(Refusal::ShuttingDown);
            }
            Stop::No | Stop::Draining => schedule.queue.give_back(request),
        }
    }

    /// Returns when time is up.
    pub async fn aborted(&self) {
        let mut stop = self.stop.subscribe();
        // An error means that the service is gone.
        let _ = stop.wait_for(|stop| *stop == Stop::Now).await;
    }

    /// End everything: all that wait or run are told that the service is shutting down.
    pub fn abort(&self) {
        self.stop.send_replace(Stop::Now);
        let turned_away = self.schedule().turn_all_away();
        turned_away.tell();
    }

    /// A request's job is done with it after `service_time`: count it, and let the next one run.
    pub fn finished(&self, request: &Accepted, outcome: &Outcome, service_time: Duration) {
        let now = Instant::now();
        let turned_away = self.schedule().finish(request, outcome, service_time, now);
        if let Some(turned_away) = turned_away {
            turned_away.tell();
            self.health.send_replace(());
        }
        self.pump();
    }

    /// Set how model `id` does, and tell everybody who waits for that.
    pub fn set_health(&self, id: PoolId, health: Health) {
        let changed = self.schedule().set_health(id, health, Instant::now());
        let Some(turned_away) = changed else { return };
        if let Some(turned_away) = turned_away {
            turned_away.tell();
        }
        self.health.send_replace(());
    }

    /// Offer an idle job for its first request, as [`Schedule::offer_fresh`].
    pub fn offer_fresh(&self, id: PoolId, handle: IdleHandle) -> u64 {
        self.schedule().offer_fresh(id, handle, Instant::now())
    }

    /// Offer an idle job for another request, as [`Schedule::offer_again`].
    pub fn offer_again(&self, id: PoolId, generation: u64, handle: IdleHandle) -> bool {
        self.schedule()
            .offer_again(id, generation, handle, Instant::now())
    }

    /// The bell that wakes the keeper of model `id`.
    pub fn wake(&self, id: PoolId) -> Arc<Notify> {
        let schedule = self.schedule();
        let pool = schedule.pools.get(&id);
        pool.map(|pool| pool.wake.clone()).unwrap_or_default()
    }

    /// The settings that the configuration has for model `id`; `None` once it was removed.
    pub fn wanted(&self, id: PoolId) -> Option<Arc<Model>> {
        self.schedule().pools.get(&id)?.wanted.clone()
    }

    /// Model `id` serves with `model` from now on.
    pub fn adopt(&self, id: PoolId, model: &Arc<Model>) {
        if let Some(pool) = self.schedule().pools.get_mut(&id)
            && (!Arc::ptr_eq(&pool.model, model) || pool.renew)
        {
            pool.adopt(model.clone());
        }
        self.set_health(id, Health::Ready);
    }

    /// A job of model `id` was of no use: fork the next spare after a pause, longer each time.
    pub fn delay_spares(&self, id: PoolId) {
        let longest = self.config().zygote.max_backoff;
        if let Some(pool) = self.schedule().pools.get_mut(&id) {
            pool.delay_spares(longest);
        }
    }
}
