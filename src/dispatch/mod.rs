//! Who runs next: the queue, the spares that wait for it, and the life of each request's job.

mod model;
mod request;
mod serving;
pub mod snapshot;
mod state;
mod statistics;

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

pub use request::feed::Feed;
#[cfg(any(test, fuzzing))]
pub(crate) use serving::talk::fuzzing;
pub use state::{
    ticket::{Event, Report, Ticket},
    turns::Client,
};

use self::{
    state::{
        accepted::{Queue, Waiting},
        budget::Budget,
        pool::Pool,
        retry,
        turns::Queued,
    },
    statistics::{Account, Books, Latency, Statistics},
};
use crate::{
    config::{Config, Limits, MemoryBudget, Mode, Model, Share},
    isolation::{Probe, Slots, cgroup::Tree},
    request::{Ask, Outcome, Refusal},
    units::ByteSize,
};

/// Events that wait for a client before its job has to wait: segments come every few seconds at most.
const EVENTS: usize = 16;

/// The service's scheduler. Clones share it.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

/// What a client asks for.
#[derive(Debug)]
pub struct Request {
    /// Name or alias of the model; it must exist.
    pub model: String,
    /// What the job is asked.
    pub ask: Ask,
    /// What the client wants to be held to, below what the model allows.
    pub lower: Lower,
    /// The recording, readable from its start.
    pub recording: OwnedFd,
    /// How long the recording took to arrive; `None` if it is still coming.
    pub upload: Option<Duration>,
    /// The name under which the client knows the request, for the log.
    pub request_id: String,
    /// The client's user, where the kernel vouches for one.
    pub uid: Option<u32>,
    /// How much this client may have at once.
    pub share: Share,
}

/// Limits that a client sets for its own request. They can only be lower than the configured ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lower {
    /// Memory of the job.
    pub memory: Option<ByteSize>,
    /// Wall-clock time, whatever the recording's length would earn.
    pub deadline: Option<Duration>,
}

impl Lower {
    fn apply(self, mut limits: Limits) -> Limits {
        if let Some(memory) = self.memory {
            limits.memory = limits.memory.min(memory);
        }
        limits
    }
}

/// Whether a model can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its zygote is being started for the first time, or again after it died.
    Starting,
    /// Its last self-test succeeded.
    Ready,
    /// It could not be started, or does not work any more; the reason.
    Failed(String),
    /// Its jobs crashed again and again: it is left alone for a while; what happened.
    Tripped(String),
}

/// Names one model for as long as the service knows it; no two models ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PoolId(u32);

/// How far the service has gone on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    /// Not at all.
    No,
    /// Clients that were let in are served; nothing is done ahead.
    Draining,
    /// Time is up: nothing goes on.
    Now,
}

/// Numbers for the status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests whose job runs.
    pub running: usize,
    /// Requests that wait for a job.
    pub queued: usize,
    /// Jobs that wait for a request.
    pub spares: usize,
    /// Requests finished since the start.
    pub finished: u64,
}

#[derive(Debug)]
struct Shared {
    config: watch::Sender<Arc<Config>>,
    probe: Probe,
    slots: Slots,
    statistics: Statistics,
    state: Mutex<State>,
    /// Changes with every change of any model's health.
    health: watch::Sender<()>,
    stop: watch::Sender<Stop>,
}

#[derive(Debug)]
struct State {
    pools: BTreeMap<PoolId, Pool>,
    queue: Queue,
    budget: Budget,
    running: usize,
    finished: u64,
    next_id: u64,
    next_pool: u32,
    /// Recent mean time of service, of all models.
    service_time: Duration,
    /// No spares are kept until then: memory is scarce.
    pressure_until: Instant,
    /// When a request was last handed over or ended, a job became ready, or a model.
    progress: Instant,
    /// The service is to stop: nothing is kept ready.
    closing: bool,
}

/// How long no spares are kept after the system told that memory is scarce.
const PRESSURE_PAUSE: Duration = Duration::from_secs(10);

impl Dispatcher {
    /// Start to keep every model of `config` ready. Must be called on the thread that runs the service for its whole
    /// life, inside its runtime: zygotes die with the thread that made them.
    pub fn start(config: Arc<Config>, tree: Option<Arc<Tree>>, probe: Probe) -> Self {
        let now = Instant::now();
        let shared = Arc::new(Shared {
            slots: Slots::new(tree, slots(&config)),
            probe,
            statistics: Statistics::new(),
            state: Mutex::new(State {
                pools: BTreeMap::new(),
                queue: Queue::new(config.jobs.max_queued),
                budget: Budget::default(),
                running: 0,
                finished: 0,
                next_id: 1,
                next_pool: 1,
                service_time: Duration::from_secs(1),
                pressure_until: now,
                progress: now,
                closing: false,
            }),
            health: watch::channel(()).0,
            stop: watch::channel(Stop::No).0,
            config: watch::channel(config.clone()).0,
        });
        let dispatcher = Self { shared };
        dispatcher.reconfigure(config);
        dispatcher
    }

    /// Whether a request of this client would be taken now, whatever its model. Counts nothing.
    pub fn has_room(&self, uid: Option<u32>, share: Share) -> bool {
        self.room(uid, share).is_ok()
    }

    fn room(&self, uid: Option<u32>, share: Share) -> Result<(), Refusal> {
        match *self.shared.stop.borrow() {
            Stop::No | Stop::Draining => self.shared.room(Client::of(uid), share),
            Stop::Now => Err(Refusal::ShuttingDown),
        }
    }

    /// Look whether a request of this client would be taken now, whatever its model, before its body is read.
    ///
    /// # Errors
    /// It would not, and counts as refused.
    pub fn announce(
        &self,
        request_id: &str,
        uid: Option<u32>,
        share: Share,
    ) -> Result<(), Refusal> {
        let room = self.room(uid, share);
        let statistics = &self.shared.statistics;
        room.inspect_err(|refusal| statistics.refuse(request_id, uid, refusal))
    }

    /// Queue a request. It runs as soon as it is its turn; dropping the ticket cancels it.
    ///
    /// # Errors
    /// It is refused at once: the queue is full, the model cannot serve, the service stops.
    pub fn submit(&self, request: Request) -> Result<Ticket, Refusal> {
        self.submit_as(request, None)
    }

    /// As [`Self::submit`], for a recording that is a pipe and still comes: its job runs while it does.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn submit_live(&self, request: Request, feed: Arc<Feed>) -> Result<Ticket, Refusal> {
        self.submit_as(request, Some(feed))
    }

    fn submit_as(&self, request: Request, feed: Option<Arc<Feed>>) -> Result<Ticket, Refusal> {
        let config = self.config();
        let model = config.model(&request.model).ok_or(Refusal::UnknownModel)?;
        let books = self.shared.statistics.model(&model.name);
        let (request_id, uid) = (request.request_id.clone(), request.uid);
        let admitted = self.admit(&config, model, request, feed, &books);
        admitted.inspect_err(|refusal| books.refuse(&request_id, uid, refusal))
    }

    fn admit(
        &self,
        config: &Config,
        model: &Model,
        request: Request,
        feed: Option<Arc<Feed>>,
        books: &Arc<Books>,
    ) -> Result<Ticket, Refusal> {
        let shared = &self.shared;
        if *shared.stop.borrow() == Stop::Now {
            return Err(Refusal::ShuttingDown);
        }
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut state = shared.state();
        let now = Instant::now();
        let (pool_id, pool) = state.pool_named(&model.name).ok_or(Refusal::UnknownModel)?;
        pool.admit(now)?;
        let id = state.next_id;
        state.next_id += 1;
        let waiting = Box::new(Waiting {
            id,
            account: Account::new(books, id, &request.request_id, request.uid),
            model: pool_id,
            ask: request.ask,
            limits: model.limits,
            lower: request.lower,
            recording: request.recording,
            feed,
            request_id: request.request_id,
            uid: request.uid,
            events,
            since: now,
            unread: 0,
            canary: false,
        });
        let client = waiting.client();
        let upload = request.upload;
        if let Err(full) = state.queue.push(waiting, request.share) {
            return Err(state.full(full, client, config.jobs.max_running));
        }
        drop(state);
        if let Some(upload) = upload {
            books.observe(Latency::Upload, upload);
        }
        shared.pump();
        let patience = config.jobs.queue_timeout;
        Ok(Ticket::new(shared.clone(), id, receiver, patience))
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }

    /// How every model does, in the order of the configuration.
    pub fn health(&self) -> Vec<(String, Health)> {
        let now = Instant::now();
        let config = self.config();
        let mut state = self.shared.state();
        let names = config.models.iter().map(|model| model.name.clone());
        names
            .filter_map(|name| {
                let health = state.pool_named(&name)?.1.health(now);
                Some((name, health))
            })
            .collect()
    }

    /// Tells every change of [`Self::health`].
    pub fn health_changes(&self) -> watch::Receiver<()> {
        self.shared.health.subscribe()
    }

    /// What is going on at this moment.
    pub fn counts(&self) -> Counts {
        let state = self.shared.state();
        Counts {
            running: state.running,
            queued: state.queue.len(),
            spares: state.pools.values().map(|pool| pool.spares.len()).sum(),
            finished: state.finished,
        }
    }

    /// What the kernel was found to offer.
    pub fn probe(&self) -> &Probe {
        &self.shared.probe
    }

    /// Whether each job is confined by a cgroup of its own.
    pub fn is_confined(&self) -> bool {
        let config = self.config();
        let thread = config.models.iter().any(|m| m.mode == Mode::Thread);
        !thread && self.shared.slots.tree().is_some()
    }

    /// The service is to stop. Clients that it has let in are served, nothing is kept ready for others any more.
    pub fn close(&self) {
        self.shared.state().closing = true;
        self.shared.stop.send_replace(Stop::Draining);
    }

    /// Returns when [`Self::abort`] was called.
    pub async fn aborted(&self) {
        self.shared.aborted().await;
    }

    /// End everything that is still there: who waits or runs is told that the service is shutting down.
    pub fn abort(&self) {
        self.shared.stop.send_replace(Stop::Now);
        let waiting = self.shared.state().queue.take_everything();
        for waiting in waiting {
            waiting.refuse(Refusal::ShuttingDown);
        }
    }

    /// Memory is scarce: let all spares go, and keep none for a while.
    pub fn relieve(&self) {
        let mut state = self.shared.state();
        state.pressure_until = Instant::now() + PRESSURE_PAUSE;
        for pool in state.pools.values_mut() {
            pool.drop_spares();
        }
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        let state = self.shared.state();
        state.running == 0 && state.queue.len() == 0
    }

    /// Why the scheduler does not get on, if for so long nothing has moved though something could: a reason to be
    /// started again by the watchdog.
    pub fn stalled(&self, after: Duration) -> Option<String> {
        let max_running = self.config().jobs.max_running;
        let state = self.shared.state();
        state.stalled(after, Instant::now(), max_running)
    }
}

/// How many slots there can be: for what runs, for what waits ahead, and for one self-test of each model, twice, because
/// for a moment there are two zygotes while one is replaced.
fn slots(config: &Config) -> usize {
    let spares: usize = config.models.iter().map(|model| model.spares.max).sum();
    config.jobs.max_running + spares + 2 * config.models.len()
}

/// What the limits of all jobs may add up to, in bytes.
fn budget(config: &Config, tree: Option<&Tree>) -> Option<u64> {
    match config.memory.budget {
        MemoryBudget::Unlimited => None,
        MemoryBudget::Size(size) => Some(size.bytes()),
        MemoryBudget::Auto => {
            let limit = tree?.memory_limit()?;
            // A small service must be able to do something at all.
            Some((limit / 2).max(limit.saturating_sub(config.memory.reserve.bytes())))
        }
    }
}

impl State {
    fn pool_named(&mut self, name: &str) -> Option<(PoolId, &mut Pool)> {
        let (id, pool) = self.pools.iter_mut().find(|(_, pool)| pool.name == name)?;
        Some((*id, pool))
    }

    /// Have every keeper look at what its model needs.
    fn wake_all(&self) {
        for pool in self.pools.values() {
            pool.wake.notify_one();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    fn room(&self, client: Client, share: Share) -> Result<(), Refusal> {
        let max_running = self.max_running();
        let state = self.state();
        let room = state.queue.has_room(client, share);
        room.map_err(|full| state.full(full, client, max_running))
    }

    fn max_running(&self) -> usize {
        self.config.borrow().jobs.max_running
    }

    /// Bring waiting requests and spares together, as far as both are there, and ask for what is missing.
    fn pump(&self) {
        let max_running = self.max_running();
        let now = Instant::now();
        let mut state = self.state();
        while state.running < max_running {
            let State { pools, queue, .. } = &mut *state;
            let has_spare = |id| pools.get(&id).is_some_and(|pool| !pool.spares.is_empty());
            let Some(waiting) = queue.next(has_spare) else {
                break;
            };
            let Some((pool, spare)) = pools
                .get_mut(&waiting.model)
                .and_then(|pool| Some((pool.spares.pop()?, pool)))
                .map(|(spare, pool)| (pool, spare))
            else {
                break;
            };
            match spare.assign(waiting) {
                Ok(()) => {
                    pool.running += 1;
                    pool.refill = Some(now + pool.model.spares.refill_delay);
                    pool.handed_over = Some(now);
                    state.running += 1;
                    state.progress = now;
                }
                // The spare died a moment ago; its own task tells the log.
                Err(waiting) => queue.give_back(waiting),
            }
        }
        state.wake_all();
    }

    /// A request that no job has touched waits again, in front of all others.
    fn give_back(&self, waiting: Box<Waiting>) {
        let mut state = self.state();
        state.running -= 1;
        if let Some(pool) = state.pools.get_mut(&waiting.model) {
            pool.running -= 1;
        }
        match *self.stop.borrow() {
            Stop::Now => {
                state.queue.finished(waiting.client());
                waiting.refuse(Refusal::ShuttingDown);
            }
            Stop::No | Stop::Draining => state.queue.give_back(waiting),
        }
    }

    /// Returns when time is up.
    async fn aborted(&self) {
        let mut stop = self.stop.subscribe();
        // An error means that the service is gone.
        let _ = stop.wait_for(|stop| *stop == Stop::Now).await;
    }

    /// A request's job is done with: count it, and let the next one run.
    fn finished(&self, waiting: &Waiting, outcome: &Outcome, service_time: Duration) {
        let now = Instant::now();
        let mut tripped = None;
        {
            let mut state = self.state();
            state.running -= 1;
            state.progress = now;
            if !waiting.canary {
                state.finished += 1;
                state.service_time = retry::mean(state.service_time, service_time);
            }
            let State { pools, queue, .. } = &mut *state;
            queue.finished(waiting.client());
            if let Some(pool) = pools.get_mut(&waiting.model) {
                pool.running -= 1;
                pool.handed_over = None;
                if !waiting.canary {
                    let before = pool.service_time.unwrap_or(service_time);
                    pool.service_time = Some(retry::mean(before, service_time));
                }
                if pool.ended(now, outcome) {
                    tripped = Some((queue.take_all(waiting.model), pool.admit(now)));
                }
            }
        }
        if let Some((refused, Err(refusal))) = tripped {
            for waiting in refused {
                waiting.refuse(refusal.clone());
            }
            self.health.send_replace(());
        }
        self.pump();
    }

    fn set_health(&self, id: PoolId, health: Health) {
        let refused = {
            let mut state = self.state();
            state.progress = Instant::now();
            let State { pools, queue, .. } = &mut *state;
            let Some(pool) = pools.get_mut(&id) else {
                return;
            };
            pool.health = health.clone();
            match health {
                Health::Failed(_) => Some((queue.take_all(id), pool.admit(Instant::now()))),
                _ => None,
            }
        };
        if let Some((refused, Err(refusal))) = refused {
            for waiting in refused {
                waiting.refuse(refusal.clone());
            }
        }
        self.health.send_replace(());
    }

    /// What statistics tell of each model.
    fn pools(&self) -> Vec<snapshot::PoolState> {
        let now = Instant::now();
        let state = self.state();
        let pools = state.pools.values();
        pools
            .map(|pool| snapshot::PoolState {
                model: pool.model.clone(),
                books: pool.books.clone(),
                health: pool.health(now),
                spares: pool.spares.len(),
                committed: pool.committed,
            })
            .collect()
    }
}
