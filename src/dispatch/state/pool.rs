//! What the scheduler knows of one model: how it does, who waits ready, and what it needs next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    config::{Mode, Model},
    dispatch::{
        Health, PoolId, State,
        state::breaker::{Breaker, Change},
        state::idle::SpareHandle,
        statistics::{Books, Lifecycle},
    },
    events,
    request::{Code, Outcome, Refusal},
    units::Lifetime,
};

/// First pause after a spare died idle, or could not be forked; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A spare that was given a request is not replaced before that request is answered, or this has passed, as long as there
/// is another one: the fork would take the CPU on which the job is woken. Where several requests run at once, whoever
/// comes next is better served by spares.
const ANSWER_FIRST: Duration = Duration::from_millis(2);

/// When a client may come again whose model is starting, or failing for a reason that nobody can foresee the end of.
const RETRY_LATER: Duration = Duration::from_secs(10);

/// One model.
#[derive(Debug)]
pub(in crate::dispatch) struct Pool {
    pub(in crate::dispatch) name: String,
    pub(in crate::dispatch) books: Arc<Books>,
    /// The settings that it serves with.
    pub(in crate::dispatch) model: Arc<Model>,
    /// The settings that the configuration has for it. Others than those in force while a replacement loads; `None` once
    /// it was removed: what waits for it is still served.
    pub(in crate::dispatch) wanted: Option<Arc<Model>>,
    /// The settings whose replacement could not be started, and why: the old ones stay in force.
    pub(in crate::dispatch) rejected: Option<(Arc<Model>, String)>,
    pub(in crate::dispatch) health: Health,
    /// Why the last canary failed, if it did.
    pub(in crate::dispatch) unwell: Option<String>,
    /// A fresh zygote is asked for.
    pub(in crate::dispatch) renew: bool,
    pub(in crate::dispatch) breaker: Breaker,
    /// The one used last is taken first: its caches are warm.
    pub(in crate::dispatch) spares: Vec<SpareHandle>,
    /// Forked, but not ready yet.
    pub(in crate::dispatch) coming: usize,
    /// Requests that have a job.
    pub(in crate::dispatch) running: usize,
    /// Limits of its living jobs, in bytes.
    pub(in crate::dispatch) committed: u64,
    /// Raised when settings or zygote are replaced: jobs of an earlier generation take no request any more.
    pub(in crate::dispatch) generation: u64,
    /// From when on spares are forked up to their maximum; `None`: only up to their minimum.
    pub(in crate::dispatch) refill: Option<Instant>,
    /// When a spare was last given a request, unless one has been answered since.
    pub(in crate::dispatch) handed_over: Option<Instant>,
    /// Forks in a row that came to nothing, and until when no spare is forked for that reason.
    trouble: u32,
    calm_until: Instant,
    /// When a request last succeeded.
    pub(in crate::dispatch) proven: Instant,
    /// Recent mean time of service, once a request has ended.
    pub(in crate::dispatch) service_time: Option<Duration>,
    /// Wakes its keeper.
    pub(in crate::dispatch) wake: Arc<Notify>,
}

/// What a model needs at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatch) enum Need {
    /// A job for a request that waits.
    Job,
    /// A job ahead of its request.
    Spare,
    /// Nothing until then.
    Later(Instant),
    /// Nothing until something changes.
    Nothing,
}

impl Pool {
    pub(in crate::dispatch) fn new(model: Arc<Model>, breaker: Breaker, books: Arc<Books>) -> Self {
        let now = Instant::now();
        Self {
            name: model.name.clone(),
            books,
            wanted: Some(model.clone()),
            model,
            rejected: None,
            health: Health::Starting,
            unwell: None,
            renew: false,
            breaker,
            spares: Vec::new(),
            coming: 0,
            running: 0,
            committed: 0,
            generation: 0,
            refill: Some(now),
            handed_over: None,
            trouble: 0,
            calm_until: now,
            proven: now,
            service_time: None,
            wake: Arc::new(Notify::new()),
        }
    }

    /// How it does, as clients see it.
    pub(in crate::dispatch) fn health(&self, now: Instant) -> Health {
        if self.health == Health::Ready {
            if self.breaker.is_open(now).is_some() {
                return Health::Tripped(self.tripped());
            }
            if let Some(reason) = &self.unwell {
                return Health::Failed(reason.clone());
            }
        }
        self.health.clone()
    }

    fn tripped(&self) -> String {
        "its jobs crashed again and again; it is tried again after a pause".into()
    }

    /// Whether it takes a request now.
    pub(in crate::dispatch) fn admit(&mut self, now: Instant) -> Result<(), Refusal> {
        let unavailable = |reason: String, retry_after| Refusal::EngineUnavailable {
            model: self.name.clone(),
            reason,
            retry_after,
        };
        if let Health::Failed(reason) = &self.health {
            return Err(unavailable(reason.clone(), RETRY_LATER));
        }
        let wait = match self.breaker.admit(now) {
            Ok(()) => return Ok(()),
            Err(wait) => wait,
        };
        Err(unavailable(self.tripped(), wait))
    }

    /// A request has ended; whether its crash was one too many.
    pub(in crate::dispatch) fn ended(&mut self, now: Instant, outcome: &Outcome) -> bool {
        let crash = matches!(outcome.code(), Code::WorkerCrashed | Code::WorkerMisbehaved);
        if *outcome == Outcome::Ok {
            self.proven = now;
            self.unwell = None;
            self.trouble = 0;
        }
        let name = &self.name;
        match self.breaker.ended(now, crash) {
            Some(Change::Opened) => {
                tracing::error!(
                    target: events::BREAKER_OPENED,
                    model = name,
                    "model {name}: its jobs crash again and again; its requests are refused for a while"
                );
                self.books.count(Lifecycle::BreakerTrips);
                true
            }
            Some(Change::Closed) => {
                tracing::info!(
                    target: events::BREAKER_CLOSED,
                    model = name,
                    "model {name}: a request succeeded; it serves again"
                );
                false
            }
            None => false,
        }
    }

    /// A spare died idle, or none could be forked: the next one waits a little, longer each time.
    pub(in crate::dispatch) fn stumbled(&mut self, longest: Duration) {
        self.trouble = self.trouble.saturating_add(1);
        let pause = FIRST_PAUSE * 2u32.saturating_pow(self.trouble.min(10) - 1);
        self.calm_until = Instant::now() + pause.min(longest);
    }

    /// Let all spares go; each ends as soon as its task sees that its handle is gone.
    pub(in crate::dispatch) fn drop_spares(&mut self) -> usize {
        self.refill = None;
        let dropped = self.spares.len();
        self.spares.clear();
        for _ in 0..dropped {
            self.count_dropped();
        }
        dropped
    }

    /// A thread that waits is no job that was forked.
    fn count_dropped(&self) {
        if self.model.mode != Mode::Thread {
            self.books.count(Lifecycle::SparesDropped);
        }
    }

    /// Serve with `model` from now on; jobs of the settings before take no request any more.
    pub(in crate::dispatch) fn adopt(&mut self, model: Arc<Model>) {
        self.model = model;
        self.generation += 1;
        self.drop_spares();
        self.refill = Some(Instant::now());
    }
}

impl State {
    /// What model `id` needs at this moment, where `max_running` requests may run at once.
    pub(in crate::dispatch) fn need(&mut self, id: PoolId, max_running: usize) -> Need {
        let now = Instant::now();
        let room = max_running.saturating_sub(self.running);
        let demand = self.queue.waiting_for(id).min(room);
        if demand == 0 {
            self.budget.forget(id);
        }
        let (pressure_until, closing) = (self.pressure_until, self.closing);
        let Some(pool) = self.pools.get_mut(&id) else {
            return Need::Nothing;
        };
        let have = pool.spares.len() + pool.coming;
        let spares = pool.model.spares;
        if have < demand {
            return Need::Job;
        }
        if spares.ttl == Lifetime::Zero || pool.wanted.is_none() || closing {
            return Need::Nothing;
        }
        if have >= spares.max {
            pool.refill = None;
            return Need::Nothing;
        }
        let below = have < spares.min;
        // Jobs of mode `hybrid` come back when they have answered.
        let returning = match pool.model.mode {
            Mode::Hybrid => pool.running,
            _ => 0,
        };
        let due = match (pool.refill, pool.handed_over) {
            (_, Some(since)) if below && have > 0 && pool.running < 2 => since + ANSWER_FIRST,
            _ if below => now,
            (Some(due), _) if have + returning < spares.max => due,
            _ => return Need::Nothing,
        };
        match due.max(pool.calm_until).max(pressure_until) {
            due if due <= now => Need::Spare,
            due => Need::Later(due),
        }
    }

    /// Models that nobody waits for let a spare go, if one that somebody waits for lacks memory.
    pub(in crate::dispatch) fn make_room(&mut self, id: PoolId) {
        let queue = &self.queue;
        let others = self.pools.iter_mut().filter(|(other, _)| **other != id);
        for (other, pool) in others {
            if pool.spares.len() > queue.waiting_for(*other) {
                // The one that has waited longest: its caches are cold.
                pool.spares.remove(0);
                pool.count_dropped();
                pool.refill = None;
                return;
            }
        }
    }
}
