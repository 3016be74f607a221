//! One zygote, from its start to readiness (model loaded, a transcription as proof), and its forks.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    config::Model,
    dispatch::{
        serving::{
            lifecycle,
            run::run,
            words::{clean, last_words},
        },
        state::{accepted::Accepted, pool_id::PoolId, shared::Shared},
        statistics::{books::Books, zygote_record::ZygoteRecord},
    },
    events,
    isolation::{
        Load, ProcessError, Slot,
        cgroup::{CgroupError, Leaf, LeafLimits, Tree},
        environment,
        sandbox::{self, Confinement},
    },
    job::{
        converter,
        wire::{JobProcess, ZygoteProcess},
    },
    request::Outcome,
};

/// Threads and processes in a zygote's own cgroup: a bound for a model file that takes the zygote
/// over and forks without end.
const ZYGOTE_PIDS: u32 = 32;

/// Pause before a self-test looks again for a free slot; the time of loading bounds all of it.
const SLOT_PAUSE: Duration = Duration::from_millis(5);

/// How long to wait for a dead zygote's stderr: it is in the pipe already.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Time for the job of a self-test to end by itself.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// Most bytes of a zygote's stderr that go to the log in its whole life.
const MAX_LOG: u64 = 256 * 1024;

/// A zygote and its record in its model's books.
pub struct Zygote {
    process: ZygoteProcess,
    record: ZygoteRecord,
}

impl Zygote {
    /// Start a zygote, let it load the model, and have a forked job prove it.
    ///
    /// # Errors
    /// It cannot be started, or does not work; the reason.
    pub async fn start(shared: &Shared, model: &Model) -> Result<Self, String> {
        let leaf = match shared.slots.tree() {
            Some(tree) => Some(leaf(tree, &model.name).map_err(|error| error.to_string())?),
            None => None,
        };
        let (process, stderr) =
            ZygoteProcess::start(leaf.as_ref()).map_err(|error| error.to_string())?;
        let books = shared.statistics.model(&model.name);
        let mut zygote = Self::new(books, process, leaf.as_ref());
        let last_words = tokio::spawn(log_stderr(stderr, model.name.clone()));
        let limit = shared.config().zygote.load_timeout;
        let begin = Instant::now();
        let load = order(shared, model)?;
        let confinement = match zygote.process.load(load, limit).await {
            Ok(confinement) => confinement,
            Err(error) => return Err(load_failure(&error, last_words).await),
        };
        zygote.tell_confinement(&model.name, &confinement);
        let rest = limit.saturating_sub(begin.elapsed());
        match timeout(rest, zygote.self_test(shared, model)).await {
            Ok(result) => result.map_err(|reason| format!("the self-test failed: {reason}"))?,
            Err(_) => return Err(format!("the self-test did not end within {limit:?}")),
        }
        zygote.record.set_ready();
        Ok(zygote)
    }

    fn new(books: Arc<Books>, process: ZygoteProcess, leaf: Option<&Leaf>) -> Self {
        let record = ZygoteRecord::open(books, process.pid(), leaf.map(Leaf::reader));
        Self { process, record }
    }

    /// The zygote's process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Ask for a job, as [`ZygoteProcess::begin_fork`].
    ///
    /// # Errors
    /// As [`ZygoteProcess::begin_fork`].
    pub async fn begin_fork(&mut self, slot: Slot, ahead: bool) -> Result<(), ProcessError> {
        let begun = self.process.begin_fork(slot, ahead).await;
        begun.inspect_err(|error| note_failure(&mut self.record, error))
    }

    /// The next of the jobs that were asked for, as [`ZygoteProcess::forked`]. Cancel-safe.
    ///
    /// # Errors
    /// As [`ZygoteProcess::forked`].
    pub async fn forked(&mut self) -> Result<JobProcess, ProcessError> {
        let forked = self.process.forked().await;
        match &forked {
            Ok(_) => self.record.count_fork(),
            Err(error) => note_failure(&mut self.record, error),
        }
        forked
    }

    /// Wait until it ends, as [`ZygoteProcess::ended`]. Cancel-safe.
    pub async fn ended(&mut self) -> ProcessError {
        let reason = self.process.ended().await;
        self.record.set_lost();
        reason
    }

    fn tell_confinement(&self, name: &str, confinement: &Confinement) {
        tracing::info!(
            model = name,
            pid = self.pid(),
            "model {name}: its zygote is confined by {confinement}"
        );
        let missing = confinement.missing();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            self.record.set_lacking(&missing);
            tracing::warn!(
                target: events::SANDBOX_PARTIAL,
                model = name,
                "model {name}: this kernel's Landlock cannot forbid everything; \
                 only seccomp keeps jobs from: {missing}"
            );
        }
    }

    /// One transcription through a forked job, as a client's would be.
    async fn self_test(&mut self, shared: &Shared, model: &Model) -> Result<(), String> {
        let slot = free_slot(shared, model).await?;
        let begun = self.begin_fork(slot, false).await;
        begun.map_err(|error| error.to_string())?;
        let mut job = self.forked().await.map_err(|error| error.to_string())?;
        let load_timeout = shared.config().zygote.load_timeout;
        lifecycle::ready(&mut job, model.engine.needs().preload, load_timeout).await?;
        let name = &model.name;
        match sandbox::read_back(job.pid()) {
            Ok(true) => {}
            Ok(false) => tracing::info!(
                model = name,
                "model {name}: /proc hides its jobs, so their confinement is their zygote's word"
            ),
            Err(error) => return Err(error.to_string()),
        }
        let (request, mut events) = Accepted::self_test(PoolId::NONE, model.limits)?;
        let drain = async { while events.recv().await.is_some() {} };
        let test = async {
            let ended = run(shared, &mut job, &request).await;
            drop(request);
            ended
        };
        let (ended, ()) = tokio::join!(test, drain);
        let words = last_words(&mut job);
        job.dismiss(EXIT_GRACE).await;
        match ended.verdict.outcome {
            Outcome::Ok => Ok(()),
            outcome => Err(format!("{outcome}{words}")),
        }
    }
}

/// Note that a zygote is lost, unless only one fork has failed.
fn note_failure(record: &mut ZygoteRecord, error: &ProcessError) {
    if !matches!(error, ProcessError::Fork(_)) {
        record.set_lost();
    }
}

/// The order to load `model`, with everything that the zygote must know for it.
fn order(shared: &Shared, model: &Model) -> Result<Load, String> {
    let scratch = if model.engine.needs().profile.has_program() {
        let scratches = shared.slots.scratches();
        Some(scratches.map_err(|error| error.to_string())?)
    } else {
        None
    };
    Ok(Load {
        model: model.name.clone(),
        settings: model.engine.encode().map_err(|error| error.to_string())?,
        scratch,
        standby: model.converter.as_ref().map(converter::program),
        secret: secret(model)?,
    })
}

/// Why a zygote cannot load its model.
async fn load_failure(error: &ProcessError, last_words: JoinHandle<Option<String>>) -> String {
    // A library that dislikes a file says why on stderr, whether it exits, aborts or only refuses.
    if matches!(error, ProcessError::Ended(_) | ProcessError::Load(_))
        && let Ok(Ok(Some(words))) = timeout(LAST_WORDS, last_words).await
    {
        return format!("{error}; its last words: {words}");
    }
    error.to_string()
}

/// The secret that only the engine may know, if that was in the environment.
fn secret(model: &Model) -> Result<Option<OwnedFd>, String> {
    let Some(name) = model.engine.secret_variable() else {
        return Ok(None);
    };
    match environment::taken(name) {
        Some(file) => file.map(Some).map_err(|error| error.to_string()),
        None => Err(format!(
            "the environment variable {name} was not set when the service started; \
             set it, and restart the service"
        )),
    }
}

/// The cgroup of a zygote. Its jobs are born elsewhere, so it needs no more than a few threads of
/// its library. Only the administrator can know how much memory a model needs (`MemoryMax=` of the
/// unit).
fn leaf(tree: &Tree, model: &str) -> Result<Leaf, CgroupError> {
    let mut leaf = tree.leaf(&format!("zygote-{model}"))?;
    leaf.confine(LeafLimits {
        memory: None,
        pids: ZYGOTE_PIDS,
        cpu_weight: 100,
        cpu_quota: None,
    })?;
    Ok(leaf)
}

/// A slot for a self-test, as soon as there is one.
async fn free_slot(shared: &Shared, model: &Model) -> Result<Slot, String> {
    let limits = model.limits.of_cgroup();
    loop {
        let slot = shared.slots.take(limits, model.company());
        if let Some(slot) = slot.map_err(|error| error.to_string())? {
            return Ok(slot);
        }
        // Jobs on their way out still have theirs.
        tokio::time::sleep(SLOT_PAUSE).await;
    }
}

/// Log the lines of a zygote's library, and give the last one. All of it is untrusted text.
async fn log_stderr(stderr: pipe::Receiver, model: String) -> Option<String> {
    let mut last = None;
    let mut lines = BufReader::with_capacity(4096, stderr.take(MAX_LOG)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let text = String::from_utf8_lossy(&line);
        let text = clean(&text);
        if !text.is_empty() {
            tracing::warn!(model, "model {model}: its zygote says: {text}");
            last = Some(text);
        }
    }
    last
}
