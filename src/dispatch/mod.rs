//! Who runs next: the queue, the spares that wait for it, and the life of each request's job.

mod lifecycle;
mod pool;
mod queue;
mod spare;
mod talk;
mod thread;
mod ticket;

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc, watch};

pub use ticket::{Event, Refusal, Report, Ticket};

use self::queue::{Queue, Waiting};
use crate::{
    config::{ByteSize, Config, Limits, Mode, Model},
    isolation::{JobRequest, Probe, Slots, cgroup::Tree},
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
    /// The request as the job will see it; `id` and `max_audio` are filled in here.
    pub job: JobRequest,
    /// What the client wants to be held to, below what the model allows.
    pub lower: Lower,
    /// The recording, readable from its start.
    pub recording: OwnedFd,
    /// The name under which the client knows the request, for the log.
    pub request_id: String,
    /// The client's user, where the kernel vouches for one.
    pub uid: Option<u32>,
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
    /// It could not be started; the reason.
    Failed(String),
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
    config: Arc<Config>,
    probe: Probe,
    slots: Slots,
    state: Mutex<State>,
    /// Wakes a model's keeper: a spare was taken, or a request waits for one.
    wanted: Vec<Notify>,
    /// Changes with every change of any model's health.
    health: watch::Sender<()>,
    /// Set once, when the service stops.
    stopping: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    models: Vec<Pool>,
    queue: Queue,
    running: usize,
    finished: u64,
    next_id: u64,
    /// Recent mean time of service, for Retry-After.
    service_time: Duration,
}

/// One model's spares and health.
#[derive(Debug)]
struct Pool {
    health: Health,
    /// The one used last is taken first: its caches are warm.
    spares: Vec<spare::SpareHandle>,
    /// Forked, but not ready yet.
    coming: usize,
}

impl Dispatcher {
    /// Start to keep every model of `config` ready. Must be called on the thread that runs the service for its whole
    /// life, inside its runtime: zygotes die with the thread that made them.
    pub fn start(config: Arc<Config>, tree: Option<Arc<Tree>>, probe: Probe) -> Self {
        let spares: usize = config.models.iter().map(|model| model.spares.max).sum();
        // A self-test needs a slot, too, while spares and jobs may hold all others.
        let slots = config.jobs.max_running + spares + config.models.len();
        let pools = config.models.iter().map(|_| Pool {
            health: Health::Starting,
            spares: Vec::new(),
            coming: 0,
        });
        let shared = Arc::new(Shared {
            slots: Slots::new(tree, slots),
            probe,
            state: Mutex::new(State {
                models: pools.collect(),
                queue: Queue::new(config.jobs.max_queued),
                running: 0,
                finished: 0,
                next_id: 1,
                service_time: Duration::from_secs(1),
            }),
            wanted: config.models.iter().map(|_| Notify::new()).collect(),
            health: watch::channel(()).0,
            stopping: watch::channel(false).0,
            config,
        });
        for index in 0..shared.config.models.len() {
            match shared.config.isolation.mode {
                Mode::Process | Mode::Hybrid => {
                    tokio::spawn(pool::keep(shared.clone(), index));
                }
                Mode::Thread => {
                    tokio::spawn(thread::keep(shared.clone(), index));
                }
            }
        }
        Self { shared }
    }

    /// Queue a request. It runs as soon as it is its turn; dropping the ticket cancels it.
    ///
    /// # Errors
    /// It is refused at once: the queue is full, the model cannot serve, the service stops.
    pub fn submit(&self, request: Request) -> Result<Ticket, Refusal> {
        let shared = &self.shared;
        let model = shared
            .model_index(&request.model)
            .ok_or(Refusal::UnknownModel)?;
        if *shared.stopping.borrow() {
            return Err(Refusal::ShuttingDown);
        }
        let (events, receiver) = mpsc::channel(EVENTS);
        let mut state = shared.state();
        if let Health::Failed(reason) = &state.models[model].health {
            return Err(Refusal::EngineUnavailable {
                model: shared.config.models[model].name.clone(),
                reason: reason.clone(),
            });
        }
        let id = state.next_id;
        state.next_id += 1;
        let mut job = request.job;
        job.id = id;
        let limits = request.lower.apply(shared.config.models[model].limits);
        job.max_audio = limits.max_audio;
        let waiting = Box::new(Waiting {
            id,
            model,
            job,
            limits,
            lower: request.lower,
            recording: request.recording,
            request_id: request.request_id,
            uid: request.uid,
            events,
            since: Instant::now(),
            unread: 0,
        });
        if state.queue.push(waiting).is_err() {
            let retry_after = shared.retry_after(&state);
            return Err(Refusal::QueueFull { retry_after });
        }
        drop(state);
        shared.pump();
        let patience = shared.config.jobs.queue_timeout;
        Ok(Ticket::new(shared.clone(), id, receiver, patience))
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.shared.config
    }

    /// How every model does, in the order of the configuration.
    pub fn health(&self) -> Vec<(String, Health)> {
        let state = self.shared.state();
        let names = self.shared.config.models.iter().map(|m| m.name.clone());
        names
            .zip(state.models.iter().map(|pool| pool.health.clone()))
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
            spares: state.models.iter().map(|pool| pool.spares.len()).sum(),
            finished: state.finished,
        }
    }

    /// What the kernel was found to offer.
    pub fn probe(&self) -> &Probe {
        &self.shared.probe
    }

    /// Whether each job is confined by a cgroup of its own.
    pub fn is_confined(&self) -> bool {
        self.shared.config.isolation.mode == Mode::Process && self.shared.slots.tree().is_some()
    }

    /// Accept nothing more. Requests that wait or run go on.
    pub fn close(&self) {
        self.shared.stopping.send_replace(true);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn model(&self, index: usize) -> &Model {
        &self.config.models[index]
    }

    fn model_index(&self, name: &str) -> Option<usize> {
        let model = self.config.model(name)?;
        self.config.models.iter().position(|m| m.name == model.name)
    }

    /// Bring waiting requests and spares together, as far as both are there, and ask for what is missing.
    fn pump(&self) {
        let mut state = self.state();
        let max_running = self.config.jobs.max_running;
        while state.running < max_running {
            let State { models, queue, .. } = &mut *state;
            let Some(waiting) = queue.next(|model| !models[model].spares.is_empty()) else {
                break;
            };
            let Some(spare) = models[waiting.model].spares.pop() else {
                break;
            };
            match spare.assign(waiting) {
                Ok(()) => state.running += 1,
                // The spare died a moment ago; its own task tells the log.
                Err(waiting) => state.queue.push_front(waiting),
            }
        }
        drop(state);
        for wanted in &self.wanted {
            wanted.notify_one();
        }
    }

    /// How many more spares model `index` needs now.
    fn missing(&self, index: usize) -> usize {
        let state = self.state();
        let pool = &state.models[index];
        let room = self.config.jobs.max_running.saturating_sub(state.running);
        let demand = state.queue.waiting_for(index).min(room);
        let goal = demand.max(self.model(index).spares.max);
        goal.saturating_sub(pool.spares.len() + pool.coming)
    }

    /// A request that no job has touched waits again, in front of all others.
    fn give_back(&self, waiting: Box<Waiting>) {
        let mut state = self.state();
        state.running -= 1;
        state.queue.push_front(waiting);
    }

    /// A request's job is done with: count it, and let the next one run.
    fn finished(&self, service_time: Duration) {
        {
            let mut state = self.state();
            state.running -= 1;
            state.finished += 1;
            // A moving mean over about the last eight requests.
            state.service_time = (state.service_time * 7 + service_time) / 8;
        }
        self.pump();
    }

    fn set_health(&self, index: usize, health: Health) {
        let refused = {
            let mut state = self.state();
            let failed = matches!(health, Health::Failed(_));
            state.models[index].health = health.clone();
            if failed {
                state.queue.take_all(index)
            } else {
                Default::default()
            }
        };
        if let Health::Failed(reason) = health {
            for waiting in refused {
                waiting.refuse(Refusal::EngineUnavailable {
                    model: self.model(index).name.clone(),
                    reason: reason.clone(),
                });
            }
        }
        self.health.send_replace(());
    }

    /// When a refused client may come again: when the queue that is there now will have been worked off.
    fn retry_after(&self, state: &State) -> Duration {
        let rounds = state.queue.len() / self.config.jobs.max_running + 1;
        let estimate = state.service_time * u32::try_from(rounds).unwrap_or(u32::MAX);
        estimate.clamp(Duration::from_secs(1), Duration::from_secs(120))
    }
}
