//! Everything that `GET /v1/stats` and `GET /metrics` tell, at one moment. docs/STATS.md explains each key.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};

pub use crate::dispatch::statistics::{Each, Histogram, Latency, Lifecycle, Stage};
use crate::{
    config::{Mode, Model},
    dispatch::{
        Client, Dispatcher, Health,
        statistics::{Books, Ledger, Open, ZygoteEntry},
    },
    isolation::{self, Footprint, Probe},
    request::Code,
};

/// Version of the schema: raised with every change that could break a reader.
const SCHEMA: u32 = 2;

/// The whole.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Version of this schema.
    pub schema: u32,
    /// Version of the service.
    pub version: &'static str,
    /// Time since the start.
    #[serde(rename = "uptime_seconds", serialize_with = "seconds")]
    pub uptime: Duration,
    /// How jobs are kept apart.
    pub isolation: Isolation,
    /// What cannot be exceeded.
    pub bounds: Bounds,
    /// The service's own process.
    pub supervisor: Supervisor,
    /// All models together.
    pub total: Activity,
    /// Of the requests that were turned away: those that had not said yet which model they want.
    pub refused_before_upload: Each<Code, u64>,
    /// Each model by its name.
    pub models: BTreeMap<String, ModelState>,
    /// Requests that have a job, the oldest first.
    pub jobs: Vec<Job>,
    /// Those who have requests here.
    pub clients: Vec<ClientState>,
}

/// How jobs are kept apart.
#[derive(Debug, Serialize)]
pub struct Isolation {
    /// `isolation.mode`.
    pub mode: &'static str,
    /// Whether each job is confined by a cgroup of its own.
    pub confined: bool,
    /// What the kernel was found to offer.
    pub kernel: Probe,
    /// What weakens the isolation, in whole sentences.
    pub warnings: Vec<String>,
}

/// What cannot be exceeded.
#[derive(Debug, Serialize)]
pub struct Bounds {
    /// Jobs that run at once.
    pub max_running: usize,
    /// Requests that wait.
    pub max_queued: usize,
    /// What the limits of all jobs may add up to, in bytes; `None` without a budget.
    pub memory_budget_bytes: Option<u64>,
}

/// The service's own process. Sizes in bytes; `None` where `/proc` does not tell.
#[derive(Debug, Serialize)]
pub struct Supervisor {
    /// Its process id.
    pub pid: u32,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// What of it is no file's.
    pub anon_bytes: Option<u64>,
    /// CPU time.
    #[serde(rename = "cpu_seconds", serialize_with = "optional_seconds")]
    pub cpu: Option<Duration>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<usize>,
    /// Clients' connections.
    pub connections: usize,
}

/// What a model, or all models together, did and does.
#[derive(Debug, Serialize)]
pub struct Activity {
    /// Requests that wait for a job.
    pub queued: usize,
    /// Requests that have one.
    pub running: usize,
    /// Jobs that wait for a request.
    pub spares: usize,
    /// Limits of running and spare jobs together, in bytes.
    pub memory_committed_bytes: u64,
    /// Requests that were accepted, and how they ended.
    pub requests: Requests,
    /// Requests that were turned away at once.
    pub refused: Each<Code, u64>,
    /// Audio of the requests that ended well.
    #[serde(rename = "audio_seconds", serialize_with = "seconds")]
    pub audio: Duration,
    /// CPU time of all requests' jobs.
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub cpu: Duration,
    /// What happened to processes.
    pub lifecycle: Each<Lifecycle, u64>,
    /// How long things took.
    #[serde(rename = "latency_seconds")]
    pub latency: Each<Latency, Histogram>,
}

/// Requests that were accepted, and how they ended.
#[derive(Debug)]
pub struct Requests {
    /// All of them.
    pub accepted: u64,
    /// Those that have ended.
    pub ended: Each<Code, u64>,
}

/// What a model's [`ModelState::health`] may be.
pub const HEALTH: [&str; 4] = ["starting", "ready", "failed", "tripped"];

/// One model.
#[derive(Debug, Serialize)]
pub struct ModelState {
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Name of its engine.
    pub engine: &'static str,
    /// What serves its requests.
    pub mode: &'static str,
    /// Whether it can serve.
    pub health: &'static str,
    /// Why it cannot.
    pub reason: Option<String>,
    /// Memory limit of one job.
    pub memory_limit_bytes: u64,
    /// The most memory that a request's job had, in bytes; 0 where nobody tells.
    pub job_memory_peak_bytes: u64,
    /// Its zygotes.
    pub zygotes: Vec<Zygote>,
    /// What it did and does.
    #[serde(flatten)]
    pub activity: Activity,
}

/// One zygote. Sizes in bytes; `None` where nobody tells.
#[derive(Debug, Serialize)]
pub struct Zygote {
    /// Its process id.
    pub pid: i32,
    /// Memory that its cgroup counts.
    pub memory_bytes: Option<u64>,
    /// Resident memory, what it shares with its jobs included.
    pub rss_bytes: Option<u64>,
    /// Resident memory, what is shared by its share.
    pub pss_bytes: Option<u64>,
    /// Jobs that it has forked.
    pub forks: u64,
    /// Since it was started.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
}

/// A request that has a job. Sizes in bytes; `None` where nobody tells.
#[derive(Debug, Serialize)]
pub struct Job {
    /// Number of the request.
    pub id: u64,
    /// The name under which the client knows it.
    pub request_id: String,
    /// Its model.
    pub model: String,
    /// Its client's user; `None` over TCP.
    pub uid: Option<u32>,
    /// Process id of the job.
    pub pid: i32,
    /// Where it runs; `None` in mode `thread`.
    pub slot: Option<usize>,
    /// Since it has the request.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
    /// How far it is.
    pub stage: Stage,
    /// Audio read so far.
    #[serde(rename = "audio_seconds", serialize_with = "seconds")]
    pub audio: Duration,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// The most of it so far.
    pub memory_peak_bytes: Option<u64>,
    /// What it may use.
    pub memory_limit_bytes: Option<u64>,
    /// CPU time.
    #[serde(rename = "cpu_seconds", serialize_with = "optional_seconds")]
    pub cpu: Option<Duration>,
}

/// Somebody who has requests here.
#[derive(Debug, Serialize)]
pub struct ClientState {
    /// The user; `None` for all over TCP together.
    pub uid: Option<u32>,
    /// Requests that have a job.
    pub running: usize,
    /// Requests that wait for one.
    pub queued: usize,
    /// How many may run at once; 0: no cap of its own.
    pub max_running: usize,
    /// How many may wait; 0: likewise.
    pub max_queued: usize,
}

/// What the scheduler alone knows of a model.
pub(in crate::dispatch) struct PoolState {
    /// The settings that it serves with.
    pub(in crate::dispatch) model: Arc<Model>,
    pub(in crate::dispatch) books: Arc<Books>,
    pub(in crate::dispatch) health: Health,
    pub(in crate::dispatch) spares: usize,
    /// Limits of its living jobs, in bytes.
    pub(in crate::dispatch) committed: u64,
}

impl Dispatcher {
    /// Everything, at this moment; `connections` of clients are there. Reads a few files for each process.
    pub fn snapshot(&self, connections: usize) -> Snapshot {
        let open = self.shared.statistics.open();
        let pools = self.shared.pools();
        let names = pools.iter().map(|pool| pool.model.name.as_str());
        self.shared.statistics.keep_only(names);
        let mut total = Activity::new(self.shared.statistics.total());
        // Not summed: a model that a reload removed still works on what it was given.
        total.go_on(open.iter().map(AsRef::as_ref));
        let isolation = self.isolation(&pools);
        let models: BTreeMap<String, ModelState> = pools
            .into_iter()
            .map(|pool| {
                let name = pool.model.name.clone();
                let own = open.iter().filter(|open| open.model() == name);
                let state = ModelState::new(pool, own.map(AsRef::as_ref));
                total.spares += state.activity.spares;
                total.memory_committed_bytes += state.activity.memory_committed_bytes;
                (name, state)
            })
            .collect();
        Snapshot {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.shared.statistics.uptime(),
            isolation,
            bounds: self.bounds(),
            supervisor: Supervisor::now(connections),
            total,
            refused_before_upload: self.shared.statistics.refused(),
            models,
            jobs: open.iter().filter_map(|open| Job::of(open)).collect(),
            clients: self.clients(),
        }
    }

    fn isolation(&self, pools: &[PoolState]) -> Isolation {
        let mut warnings = Vec::new();
        for PoolState { model, books, .. } in pools {
            if model.mode == Mode::Thread {
                warnings.push(format!(
                    "The model {} runs inside the service, which it can leak into, crash and hang.",
                    model.name
                ));
            }
            let zygotes = books.zygotes();
            if let Some(lacks) = zygotes.iter().find_map(|zygote| zygote.lacking()) {
                warnings.push(format!(
                    "This kernel's Landlock is old: only seccomp keeps the jobs of the model {} from {lacks}.",
                    model.name
                ));
            }
        }
        let any_jobs = pools.iter().any(|pool| pool.model.mode != Mode::Thread);
        if any_jobs && self.shared.slots.tree().is_none() {
            warnings.push("Jobs run without memory limits: no cgroup confines them.".into());
        }
        Isolation {
            mode: self.config().isolation.mode.name(),
            confined: self.is_confined(),
            kernel: self.probe().clone(),
            warnings,
        }
    }

    fn bounds(&self) -> Bounds {
        let config = self.config();
        Bounds {
            max_running: config.jobs.max_running,
            max_queued: config.jobs.max_queued,
            memory_budget_bytes: self.shared.state().budget.bound,
        }
    }

    fn clients(&self) -> Vec<ClientState> {
        let state = self.shared.state();
        let clients = state.queue.clients();
        clients
            .filter(|counts| counts.client != Client::Service)
            .map(|counts| ClientState {
                uid: counts.client.uid(),
                running: counts.running,
                queued: counts.queued,
                max_running: counts.share.max_running,
                max_queued: counts.share.max_queued,
            })
            .collect()
    }
}

impl Supervisor {
    fn now(connections: usize) -> Self {
        let own = Footprint::own();
        Self {
            pid: std::process::id(),
            rss_bytes: own.map(|own| own.resident),
            anon_bytes: own.map(|own| own.anonymous),
            cpu: own.map(|own| own.cpu),
            threads: own.map(|own| own.threads),
            descriptors: isolation::descriptors(),
            connections,
        }
    }
}

impl Activity {
    /// What was done, with nothing going on.
    fn new(ledger: Ledger) -> Self {
        Self {
            queued: 0,
            running: 0,
            spares: 0,
            memory_committed_bytes: 0,
            requests: Requests {
                accepted: ledger.accepted,
                ended: ledger.ended,
            },
            refused: ledger.refused,
            audio: ledger.audio,
            cpu: ledger.cpu,
            lifecycle: ledger.lifecycle,
            latency: ledger.latency,
        }
    }

    /// These requests are under way.
    fn go_on<'a>(&mut self, open: impl Iterator<Item = &'a Open>) {
        for open in open {
            match open.job() {
                Some(_) => self.running += 1,
                None => self.queued += 1,
            }
        }
    }
}

impl ModelState {
    fn new<'a>(pool: PoolState, open: impl Iterator<Item = &'a Open>) -> Self {
        let ledger = pool.books.ledger();
        let job_memory_peak_bytes = ledger.peak;
        let mut activity = Activity::new(ledger);
        activity.go_on(open);
        activity.spares = pool.spares;
        activity.memory_committed_bytes = pool.committed;
        let (health, reason) = match pool.health {
            Health::Starting => ("starting", None),
            Health::Ready => ("ready", None),
            Health::Failed(reason) => ("failed", Some(reason)),
            Health::Tripped(reason) => ("tripped", Some(reason)),
        };
        let zygotes = pool.books.zygotes();
        Self {
            aliases: pool.model.aliases.clone(),
            engine: pool.model.engine.name(),
            mode: pool.model.mode.name(),
            health,
            reason,
            memory_limit_bytes: pool.model.limits.memory.bytes(),
            job_memory_peak_bytes,
            zygotes: zygotes.iter().map(|entry| Zygote::of(entry)).collect(),
            activity,
        }
    }
}

impl Zygote {
    fn of(entry: &ZygoteEntry) -> Self {
        let pid = entry.pid();
        Self {
            pid,
            memory_bytes: entry.memory(),
            rss_bytes: Footprint::of(pid).map(|footprint| footprint.resident),
            pss_bytes: isolation::proportional(pid),
            forks: entry.forks(),
            age: entry.age(),
        }
    }
}

impl Serialize for Requests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("accepted", &self.accepted)?;
        for (word, count) in self.ended.iter() {
            map.serialize_entry(word, count)?;
        }
        map.end()
    }
}

impl Job {
    /// `None` if the request waits.
    fn of(open: &Open) -> Option<Self> {
        let job = open.job()?;
        let reading = job.worker.read();
        Some(Self {
            id: open.id(),
            request_id: open.request_id().into(),
            model: open.model().into(),
            uid: open.uid(),
            pid: job.worker.pid,
            slot: job.worker.slot,
            age: job.age,
            stage: job.stage,
            audio: job.audio,
            memory_bytes: reading.map(|now| now.memory),
            memory_peak_bytes: reading.map(|now| now.peak),
            memory_limit_bytes: reading.and_then(|now| now.limit),
            cpu: reading.map(|now| now.cpu),
        })
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn optional_seconds<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
