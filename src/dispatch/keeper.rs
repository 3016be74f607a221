//! Keeps one model's zygote alive, replaces it when it is time, and forks the jobs that its requests need.

use std::{
    fs::File,
    io::{Seek, Write},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    sync::{Notify, mpsc},
    time::sleep_until,
};

use super::{
    EVENTS, Health, Lower, PoolId, Shared,
    budget::Reservation,
    canary, lifecycle,
    pool::Need,
    queue::Waiting,
    renewal::{Look, Renewal},
    statistics::{Account, Latency, Lifecycle, Zygote},
    thread::{self, EngineThread},
    ticket::Refusal,
};
use crate::{
    config::{Limits, Mode, Model},
    events,
    isolation::{
        JobProcess, Load, Outcome, ProcessError, ZygoteProcess,
        cgroup::{CgroupError, Leaf, LeafLimits, Tree},
        sandbox,
    },
    job,
};

/// A zygote that served for so long before it died is started again at once.
const STABLE: Duration = Duration::from_secs(10);

/// Pause before the second attempt in a row; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Threads and processes in a zygote's own cgroup: against a model file that took it over and forks for ever.
const ZYGOTE_PIDS: u32 = 32;

/// How long a dead zygote's stderr is waited for: it is in the pipe already.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most bytes of a zygote's stderr that go to the log in its whole life.
const MAX_LOG: u64 = 256 * 1024;

/// What serves a model's requests.
pub(super) enum Server {
    /// A zygote that forks a job for each, or for several.
    Zygote(Box<Zygote>),
    /// A thread of the service.
    Thread(EngineThread),
}

/// Why a server serves no more.
pub(super) enum End {
    /// It is of no use any more; the reason.
    Lost(String),
    /// A fresh one takes its place, with these settings.
    Replaced(Server, Arc<Model>),
    /// The model was removed from the configuration, and nobody waits for it any more.
    Removed,
}

/// Keep model `id` ready until it is removed or the service ends.
pub(super) async fn keep(shared: Arc<Shared>, id: PoolId) {
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
            End::Lost(reason) => return Some(reason),
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

/// Start what serves `model`, and have it prove itself.
pub(super) async fn start(shared: &Arc<Shared>, model: Arc<Model>) -> Result<Server, String> {
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
            Server::Zygote(Box::new(start_zygote(shared, &model).await?))
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

/// Start a zygote, let it load the model, and have a forked job prove it.
async fn start_zygote(shared: &Shared, model: &Model) -> Result<Zygote, String> {
    let leaf = match shared.slots.tree() {
        Some(tree) => Some(zygote_leaf(tree, &model.name).map_err(|error| error.to_string())?),
        None => None,
    };
    let (process, stderr) =
        ZygoteProcess::start(leaf.as_ref()).map_err(|error| error.to_string())?;
    let books = shared.statistics.model(&model.name);
    let mut zygote = Zygote::new(books, process, leaf.as_ref().map(Leaf::reader));
    let last_words = tokio::spawn(log_stderr(stderr, model.name.clone()));
    let load = Load {
        model: model.name.clone(),
        engine: model.engine.clone(),
    };
    let timeout = shared.config().zygote.load_timeout;
    let begin = Instant::now();
    let confinement = match zygote.load(load, timeout).await {
        Ok(confinement) => confinement,
        Err(error @ ProcessError::Ended(_)) => {
            // Libraries that exit or abort over a file that they dislike say why on stderr.
            let words = tokio::time::timeout(LAST_WORDS, last_words).await;
            return Err(match words {
                Ok(Ok(Some(words))) => format!("{error}; its last words: {words}"),
                _ => error.to_string(),
            });
        }
        Err(error) => return Err(error.to_string()),
    };
    let name = &model.name;
    tracing::info!(
        model = name,
        pid = zygote.pid(),
        "model {name}: its zygote is confined by {confinement}"
    );
    let missing = confinement.missing();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::warn!(
            target: events::SANDBOX_PARTIAL,
            model = name,
            "model {name}: this kernel's Landlock cannot forbid everything; only seccomp keeps jobs from: {missing}"
        );
    }
    let rest = timeout.saturating_sub(begin.elapsed());
    match tokio::time::timeout(rest, self_test(shared, model, &mut zygote)).await {
        Ok(result) => result.map_err(|reason| format!("the self-test failed: {reason}"))?,
        Err(_) => return Err(format!("the self-test did not end within {timeout:?}")),
    }
    zygote.is_ready();
    Ok(zygote)
}

/// The cgroup of a zygote. Its jobs are born elsewhere, so a few threads of its library are all that it can need; how
/// much memory a model needs only the administrator can know (`MemoryMax=` of the unit).
fn zygote_leaf(tree: &Tree, model: &str) -> Result<Leaf, CgroupError> {
    let mut leaf = tree.leaf(&format!("zygote-{model}"))?;
    leaf.confine(LeafLimits {
        memory: None,
        pids: ZYGOTE_PIDS,
        cpu_weight: 100,
        cpu_quota: None,
    })?;
    Ok(leaf)
}

/// One transcription through a forked job, as a client's would be.
async fn self_test(shared: &Shared, model: &Model, zygote: &mut Zygote) -> Result<(), String> {
    let slot = shared
        .slots
        .take(&model.limits)
        .map_err(|error| error.to_string())?
        .ok_or("no slot is free")?;
    let mut job = zygote.fork(slot).await.map_err(|error| error.to_string())?;
    lifecycle::ready(&mut job).await?;
    let name = &model.name;
    match sandbox::read_back(job.pid()) {
        Ok(true) => {}
        Ok(false) => tracing::info!(
            model = name,
            "model {name}: /proc hides its jobs, so their confinement is their zygote's word"
        ),
        Err(error) => return Err(error.to_string()),
    }
    let (waiting, mut events) = self_test_request(PoolId(0), model.limits)?;
    let drain = async { while events.recv().await.is_some() {} };
    let test = async {
        let ended = lifecycle::run(shared, &mut job, &waiting).await;
        drop(waiting);
        ended
    };
    let (ended, ()) = tokio::join!(test, drain);
    job.dismiss(Duration::from_secs(1)).await;
    match ended.outcome {
        Outcome::Ok => Ok(()),
        outcome => Err(format!("{outcome:?}")),
    }
}

/// The request of a self-test, and the end at which its events come out. No model is ever number 0.
pub(super) fn self_test_request(
    model: PoolId,
    limits: Limits,
) -> Result<(Waiting, mpsc::Receiver<super::Event>), String> {
    let (job, wav) = job::self_test(0);
    let (events, receiver) = mpsc::channel(EVENTS);
    let recording = memory_file(&wav).map_err(|error| error.to_string())?;
    let waiting = Waiting {
        id: 0,
        account: Account::of_self_test(),
        model,
        job,
        limits,
        lower: Lower::default(),
        recording,
        request_id: "self-test".into(),
        uid: None,
        events,
        since: Instant::now(),
        unread: 0,
        canary: true,
    };
    Ok((waiting, receiver))
}

fn memory_file(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"self-test", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Fork jobs as they are needed, until something ends that.
async fn fork_jobs(
    shared: &Arc<Shared>,
    id: PoolId,
    mut model: Arc<Model>,
    zygote: &mut Zygote,
) -> End {
    let wake = shared.wake(id);
    let mut renewal = Renewal::new(shared);
    loop {
        match renewal.look(id, &model) {
            Look::GoOn => {}
            Look::Settings(settings) => {
                shared.adopt(id, &settings);
                model = settings;
            }
            Look::End(end) => return end,
        }
        let max_running = shared.config().jobs.max_running;
        let need = shared.state().need(id, max_running);
        let urgent = match need {
            Need::Job => true,
            Need::Spare => false,
            Need::Later(_) | Need::Nothing => {
                let later = async {
                    match need {
                        Need::Later(instant) => sleep_until(instant.into()).await,
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = wake.notified() => {}
                    () = later => {}
                    reason = zygote.ended() => return End::Lost(reason.to_string()),
                }
                continue;
            }
        };
        match fork(shared, id, &model, zygote, urgent).await {
            Ok(Some(forked)) => {
                renewal.forks += 1;
                if urgent {
                    shared
                        .statistics
                        .model(&model.name)
                        .count(Lifecycle::ForksOnDemand);
                }
                tokio::spawn(raise(shared.clone(), id, model.clone(), forked));
            }
            // No memory or no slot is left; whoever gives some back wakes us.
            Ok(None) => {
                if urgent {
                    shared.state().make_room(id);
                }
                tokio::select! {
                    () = wake.notified() => {}
                    reason = zygote.ended() => return End::Lost(reason.to_string()),
                }
            }
            Err(Trouble::Job(reason)) => {
                let name = &model.name;
                tracing::error!(
                    target: events::FORK_FAILED,
                    model = name,
                    "model {name}: no job can be forked: {reason}"
                );
                shared.stumbled(id);
                // Whoever waits would have us try again at once.
                tokio::time::sleep(FIRST_PAUSE).await;
            }
            Err(Trouble::Zygote(reason)) => return End::Lost(reason.to_string()),
        }
    }
}

/// Whom a failed fork concerns.
enum Trouble {
    /// Only this one job.
    Job(String),
    /// The zygote is of no use any more.
    Zygote(ProcessError),
}

/// A job that was forked a moment ago.
struct Forked {
    job: JobProcess,
    memory: Reservation,
    generation: u64,
}

async fn fork(
    shared: &Arc<Shared>,
    id: PoolId,
    model: &Model,
    zygote: &mut Zygote,
    urgent: bool,
) -> Result<Option<Forked>, Trouble> {
    let bytes = model.limits.memory.bytes();
    let Some(memory) = Reservation::take(shared, id, bytes, urgent) else {
        return Ok(None);
    };
    let slot = shared
        .slots
        .take(&model.limits)
        .map_err(|error| Trouble::Job(error.to_string()))?;
    let Some(slot) = slot else {
        return Ok(None);
    };
    let generation = shared.coming(id, 1);
    match zygote.fork(slot).await {
        Ok(job) => Ok(Some(Forked {
            job,
            memory,
            generation,
        })),
        Err(error) => {
            shared.coming(id, -1);
            Err(match error {
                ProcessError::Fork(reason) => Trouble::Job(reason),
                error => Trouble::Zygote(error),
            })
        }
    }
}

/// See a forked job through until it is ready, then let it wait for its request.
async fn raise(shared: Arc<Shared>, id: PoolId, model: Arc<Model>, forked: Forked) {
    let Forked {
        mut job,
        memory,
        generation,
    } = forked;
    let ready = lifecycle::ready(&mut job).await;
    let now = shared.coming(id, -1);
    let books = shared.statistics.model(&model.name);
    match ready {
        Ok(()) if generation == now => {
            books.observe(Latency::Start, job.age());
            lifecycle::spare(&shared, id, model, job).await;
        }
        // Its settings or its zygote were replaced meanwhile.
        Ok(()) => {
            books.count(Lifecycle::SparesDropped);
            job.dismiss(Duration::ZERO).await;
        }
        Err(reason) => {
            let name = &model.name;
            tracing::error!(
                target: events::SPARE_DIED,
                model = name,
                "model {name}: {reason}"
            );
            books.count(Lifecycle::SparesDied);
            job.kill();
            job.dismiss(Duration::ZERO).await;
            // Not at once: whatever keeps jobs from becoming ready would keep us busy for ever.
            shared.stumbled(id);
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }
    drop(memory);
    shared.pump();
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
    pub(super) fn wake(&self, id: PoolId) -> Arc<Notify> {
        let state = self.state();
        let pool = state.pools.get(&id);
        pool.map(|pool| pool.wake.clone()).unwrap_or_default()
    }

    /// So many more jobs (or fewer) are forked and not ready; gives the generation of the model's settings.
    fn coming(&self, id: PoolId, change: isize) -> u64 {
        let mut state = self.state();
        let Some(pool) = state.pools.get_mut(&id) else {
            return u64::MAX;
        };
        pool.coming = pool.coming.saturating_add_signed(change);
        pool.generation
    }

    /// Model `id` serves with `model` from now on.
    pub(super) fn adopt(&self, id: PoolId, model: &Arc<Model>) {
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
    pub(super) fn stumbled(&self, id: PoolId) {
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

/// Log what a zygote's library has to say, and give its last line; all of it is somebody else's text.
async fn log_stderr(stderr: pipe::Receiver, model: String) -> Option<String> {
    let mut last = None;
    let mut lines = BufReader::with_capacity(4096, stderr.take(MAX_LOG)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let text = String::from_utf8_lossy(&line);
        let text: String = text.chars().filter(|c| !c.is_control()).take(500).collect();
        if !text.is_empty() {
            tracing::warn!(model, "model {model}: its zygote says: {text}");
            last = Some(text);
        }
    }
    last
}
