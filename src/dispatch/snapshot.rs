//! Everything that `GET /v1/stats` and `GET /metrics` tell, at one moment. docs/STATS.md explains
//! each key.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    config::{Mode, Model},
    dispatch::{
        request::client::Client,
        state::{pool::Health, shared::Shared},
        statistics::{
            books::Books,
            histogram::Histogram,
            kinds::{Each, Latency, Lifecycle},
            ledger::Ledger,
            open::{JobStage, OpenRequest},
            zygotes::ZygoteEntry,
        },
    },
    isolation::{self, Footprint, Probe},
    request::Code,
};

/// Version of the schema, raised with every change that could break a reader.
const SCHEMA: u32 = 2;

/// The whole answer of `GET /v1/stats`.
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
    /// Bounds that the service keeps.
    pub bounds: Bounds,
    /// The service's own process.
    pub supervisor: Supervisor,
    /// The work of all models together.
    pub total: Activity,
    /// Requests that were turned away before they had said which model they want.
    pub refused_before_upload: Each<Code, u64>,
    /// Each model by its name.
    pub models: BTreeMap<String, ModelState>,
    /// Requests that have a job, the oldest first.
    pub jobs: Vec<JobState>,
    /// Requests that wait for a job, the next one first.
    pub waiting: Vec<WaitingState>,
    /// The clients that have requests here.
    pub clients: Vec<ClientState>,
}

/// How jobs are kept apart.
#[derive(Debug, Serialize)]
pub struct Isolation {
    /// The value of `isolation.mode`.
    pub mode: &'static str,
    /// Whether each job is confined by a cgroup of its own.
    pub confined: bool,
    /// The kernel's features, found by trying them.
    pub kernel: Probe,
    /// Weaknesses of the isolation, in whole sentences.
    pub warnings: Vec<String>,
}

/// Bounds that the service keeps.
#[derive(Debug, Serialize)]
pub struct Bounds {
    /// Jobs that run at once.
    pub max_running: usize,
    /// Requests that wait at once.
    pub max_queued: usize,
    /// The largest sum of all jobs' limits, in bytes; `None` without a budget.
    pub memory_budget_bytes: Option<u64>,
}

/// The clients that are connected at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connected {
    /// Number of their connections.
    pub connections: usize,
    /// The realtime sessions.
    pub sessions: SessionCounts,
}

/// Counts of realtime sessions.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SessionCounts {
    /// Sessions that are open.
    pub open: usize,
    /// Sessions since the service was started.
    pub begun: u64,
    /// Turns in all of them.
    pub turns: u64,
}

/// The service's own process. Sizes in bytes; `None` if `/proc` does not tell.
#[derive(Debug, Serialize)]
pub struct Supervisor {
    /// The service's process id.
    pub pid: u32,
    /// Memory that is resident.
    pub rss_bytes: Option<u64>,
    /// The part of it that does not belong to a file.
    pub anon_bytes: Option<u64>,
    /// CPU time that it has used.
    #[serde(rename = "cpu_seconds", serialize_with = "optional_seconds")]
    pub cpu: Option<Duration>,
    /// Number of its threads.
    pub threads: Option<u64>,
    /// Number of its open descriptors.
    pub descriptors: Option<usize>,
    /// Number of clients' connections.
    pub connections: usize,
    /// The realtime sessions.
    pub sessions: SessionCounts,
}

/// Past and present work of a model, or of all models together.
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
    /// Events in the life of its processes.
    pub lifecycle: Each<Lifecycle, u64>,
    /// Times that were measured.
    #[serde(rename = "latency_seconds")]
    pub latency: Each<Latency, Histogram>,
}

/// Requests that were accepted, and how they ended.
#[derive(Debug)]
pub struct Requests {
    /// Requests that were accepted.
    pub accepted: u64,
    /// Those that have ended.
    pub ended: Each<Code, u64>,
}

/// All values of a model's [`ModelState::health`].
pub const HEALTH: [&str; 4] = ["starting", "ready", "failed", "tripped"];

/// One model's settings, health and work.
#[derive(Debug, Serialize)]
pub struct ModelState {
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Name of its engine.
    pub engine: &'static str,
    /// Mode in which it serves its requests.
    pub mode: &'static str,
    /// Whether it can serve.
    pub health: &'static str,
    /// Why it cannot serve.
    pub reason: Option<String>,
    /// Memory limit of one job.
    pub memory_limit_bytes: u64,
    /// The most memory that a request's job had, in bytes; 0 if unknown.
    pub job_memory_peak_bytes: u64,
    /// The zygotes that it has now.
    pub zygotes: Vec<ZygoteState>,
    /// Past and present work.
    #[serde(flatten)]
    pub activity: Activity,
}

/// One zygote. Sizes in bytes; `None` if unknown.
#[derive(Debug, Serialize)]
pub struct ZygoteState {
    /// The zygote's process id.
    pub pid: i32,
    /// Memory that its cgroup counts.
    pub memory_bytes: Option<u64>,
    /// Resident memory, with the pages that it shares with its jobs.
    pub rss_bytes: Option<u64>,
    /// Resident memory, with its part of the pages that it shares.
    pub pss_bytes: Option<u64>,
    /// Jobs that it has forked.
    pub forks: u64,
    /// Time since it was started.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
}

/// A request that has a job. Sizes in bytes; `None` if unknown.
#[derive(Debug, Serialize)]
pub struct JobState {
    /// Number of the request.
    pub id: u64,
    /// The name under which the client knows it.
    pub request_id: String,
    /// The name that the client gave it; only its own client sees that.
    pub client_request_id: Option<String>,
    /// Name of its model.
    pub model: String,
    /// Its client's user; `None` over TCP.
    pub uid: Option<u32>,
    /// The name of its client's key; `None` without one.
    pub key: Option<String>,
    /// Process id of the job.
    pub pid: i32,
    /// Its slot; `None` in mode `thread`.
    pub slot: Option<usize>,
    /// Time since it has the request.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
    /// How far it is.
    pub stage: JobStage,
    /// Audio read so far.
    #[serde(rename = "audio_seconds", serialize_with = "seconds")]
    pub audio: Duration,
    /// Audio whose words are known.
    #[serde(rename = "transcribed_seconds", serialize_with = "seconds")]
    pub heard: Duration,
    /// Length of the whole recording, if it is known by now.
    #[serde(rename = "total_seconds", serialize_with = "optional_seconds")]
    pub total: Option<Duration>,
    /// Memory that it uses.
    pub memory_bytes: Option<u64>,
    /// The most memory that it has used so far.
    pub memory_peak_bytes: Option<u64>,
    /// Memory that it may use.
    pub memory_limit_bytes: Option<u64>,
    /// CPU time that it has used.
    #[serde(rename = "cpu_seconds", serialize_with = "optional_seconds")]
    pub cpu: Option<Duration>,
}

/// A request that waits for a job.
#[derive(Debug, Serialize)]
pub struct WaitingState {
    /// Number of the request.
    pub id: u64,
    /// The name under which the client knows it.
    pub request_id: String,
    /// The name that the client gave it; only its own client sees that.
    pub client_request_id: Option<String>,
    /// Name of its model.
    pub model: String,
    /// Its client's user; `None` over TCP.
    pub uid: Option<u32>,
    /// The name of its client's key, if it has one.
    pub key: Option<String>,
    /// Its place in the queue; 1 is the next.
    pub place: usize,
    /// How long it has waited.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
}

/// A client that has requests here.
#[derive(Debug, Serialize)]
pub struct ClientState {
    /// The user; `None` over TCP.
    pub uid: Option<u32>,
    /// The name of the key; `None` for users, and for all over TCP without a key together.
    pub key: Option<String>,
    /// Requests that have a job.
    pub running: usize,
    /// Requests that wait for one.
    pub queued: usize,
    /// How many may run at once; 0: no cap of its own.
    pub max_running: usize,
    /// How many may wait; 0: no cap of its own.
    pub max_queued: usize,
}

/// The figures of a model that only the scheduler knows.
struct PoolState {
    /// The settings that it serves with.
    model: Arc<Model>,
    books: Arc<Books>,
    health: Health,
    spares: usize,
    /// Limits of its living jobs, in bytes.
    committed: u64,
}

impl Snapshot {
    /// Everything, at this moment, as the client `asker` may see it; `connected` clients are
    /// there. Reads a few files for each process.
    pub(in crate::dispatch) fn take(shared: &Shared, connected: Connected, asker: &Client) -> Self {
        let statistics = &shared.statistics;
        let open = statistics.open();
        let pools = pools(shared);
        let names = pools.iter().map(|pool| pool.model.name.as_str());
        statistics.keep_only(names);
        let mut total = Activity::new(statistics.total());
        // Not summed: a model that a reload removed still works on what it was given.
        total.add_open(open.iter().map(AsRef::as_ref));
        let isolation = Isolation::of(shared, &pools);
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
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            uptime: statistics.uptime(),
            isolation,
            bounds: Bounds::of(shared),
            supervisor: Supervisor::now(connected),
            total,
            refused_before_upload: statistics.refused(),
            models,
            jobs: open
                .iter()
                .filter_map(|open| JobState::of(open, asker))
                .collect(),
            waiting: waiting(shared, &open, asker),
            clients: clients(shared),
        }
    }
}

/// The scheduler's figures of each model.
fn pools(shared: &Shared) -> Vec<PoolState> {
    let now = Instant::now();
    let schedule = shared.schedule();
    let pools = schedule.pools.values();
    pools
        .map(|pool| PoolState {
            model: pool.model.clone(),
            books: pool.books.clone(),
            health: pool.health(now),
            spares: pool.idle.len(),
            committed: pool.committed,
        })
        .collect()
}

/// The requests that wait, without those of the service itself.
fn waiting(shared: &Shared, open: &[Arc<OpenRequest>], asker: &Client) -> Vec<WaitingState> {
    let order = shared.schedule().queue.order();
    let places = order.iter().enumerate();
    let state = |(before, id): (usize, &u64)| {
        let at = open.binary_search_by_key(id, |open| open.id()).ok()?;
        let open = open.get(at)?;
        Some(WaitingState {
            id: *id,
            request_id: open.request_id().into(),
            client_request_id: open.label(asker).map(str::to_owned),
            model: open.model().into(),
            uid: open.client().uid(),
            key: open.client().key().map(Into::into),
            place: before + 1,
            age: open.waits_for()?,
        })
    };
    places.filter_map(state).collect()
}

/// The clients that have requests here, without the service itself.
fn clients(shared: &Shared) -> Vec<ClientState> {
    let schedule = shared.schedule();
    let clients = schedule.queue.clients();
    clients
        .filter(|counts| counts.client != Client::Service)
        .map(|counts| ClientState {
            uid: counts.client.uid(),
            key: counts.client.key().map(Into::into),
            running: counts.running,
            queued: counts.queued,
            max_running: counts.share.max_running,
            max_queued: counts.share.max_queued,
        })
        .collect()
}

impl Isolation {
    fn of(shared: &Shared, pools: &[PoolState]) -> Self {
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
                    "This kernel's Landlock is old: only seccomp keeps the jobs of the model {} \
                     from {lacks}.",
                    model.name
                ));
            }
        }
        let any_jobs = pools.iter().any(|pool| pool.model.mode != Mode::Thread);
        if any_jobs && shared.slots.tree().is_none() {
            warnings.push("Jobs run without memory limits: no cgroup confines them.".into());
        }
        Self {
            mode: shared.config().isolation.mode.name(),
            confined: shared.is_confined(),
            kernel: shared.probe.clone(),
            warnings,
        }
    }
}

impl Bounds {
    fn of(shared: &Shared) -> Self {
        let config = shared.config();
        Self {
            max_running: config.jobs.max_running,
            max_queued: config.jobs.max_queued,
            memory_budget_bytes: shared.schedule().budget.bound,
        }
    }
}

impl Supervisor {
    fn now(connected: Connected) -> Self {
        let own = Footprint::own();
        Self {
            pid: std::process::id(),
            rss_bytes: own.map(|own| own.resident),
            anon_bytes: own.map(|own| own.anonymous),
            cpu: own.map(|own| own.cpu),
            threads: own.map(|own| own.threads),
            descriptors: isolation::descriptors(),
            connections: connected.connections,
            sessions: connected.sessions,
        }
    }
}

impl Activity {
    /// Past work, with nothing going on now.
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

    /// Count requests that are under way.
    fn add_open<'a>(&mut self, open: impl Iterator<Item = &'a OpenRequest>) {
        for open in open {
            match open.job() {
                Some(_) => self.running += 1,
                None => self.queued += 1,
            }
        }
    }
}

impl ModelState {
    fn new<'a>(pool: PoolState, open: impl Iterator<Item = &'a OpenRequest>) -> Self {
        let ledger = pool.books.ledger();
        let job_memory_peak_bytes = ledger.peak;
        let mut activity = Activity::new(ledger);
        activity.add_open(open);
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
            zygotes: zygotes.iter().map(|entry| ZygoteState::of(entry)).collect(),
            activity,
        }
    }
}

impl ZygoteState {
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

impl JobState {
    /// `None` if the request waits.
    fn of(open: &OpenRequest, asker: &Client) -> Option<Self> {
        let job = open.job()?;
        let reading = job.worker.read();
        Some(Self {
            id: open.id(),
            request_id: open.request_id().into(),
            client_request_id: open.label(asker).map(str::to_owned),
            model: open.model().into(),
            uid: open.client().uid(),
            key: open.client().key().map(Into::into),
            pid: job.worker.pid,
            slot: job.worker.slot,
            age: job.age,
            stage: job.stage,
            audio: job.audio,
            heard: job.heard,
            total: job.total,
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
