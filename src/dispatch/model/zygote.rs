//! One zygote on its way to being ready: started, model loaded, proven by a transcription.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    sync::mpsc,
};

use crate::{
    config::{Limits, Model},
    dispatch::{
        EVENTS, Event, Lower, PoolId, Shared,
        serving::lifecycle,
        serving::run,
        state::accepted::Waiting,
        statistics::{Account, Zygote},
    },
    events,
    isolation::{
        Load, ProcessError,
        cgroup::{CgroupError, Leaf, LeafLimits, Tree},
        environment, sandbox, sealed,
    },
    job::{self, wire::ZygoteProcess},
    request::Outcome,
};

/// Threads and processes in a zygote's own cgroup: against a model file that took it over and forks for ever.
const ZYGOTE_PIDS: u32 = 32;

/// How long a self-test waits before it looks again for a free slot; the time of loading bounds all of it.
const SLOT_PAUSE: Duration = Duration::from_millis(5);

/// How long a dead zygote's stderr is waited for: it is in the pipe already.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most bytes of a zygote's stderr that go to the log in its whole life.
const MAX_LOG: u64 = 256 * 1024;

/// Start a zygote, let it load the model, and have a forked job prove it.
pub(super) async fn start(shared: &Shared, model: &Model) -> Result<Zygote, String> {
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
        settings: model.engine.encode().map_err(|error| error.to_string())?,
        scratch: match model.engine.needs().profile.has_program() {
            true => Some(
                shared
                    .slots
                    .scratches()
                    .map_err(|error| error.to_string())?,
            ),
            false => None,
        },
        secret: secret(model)?,
    };
    let timeout = shared.config().zygote.load_timeout;
    let begin = Instant::now();
    let confinement = match zygote.load(load, timeout).await {
        Ok(confinement) => confinement,
        Err(error @ (ProcessError::Ended(_) | ProcessError::Load(_))) => {
            // Libraries that dislike a file say why on stderr, be it that they exit, abort or only refuse.
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
        zygote.lacks(&missing);
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

/// What the engine alone may know, if that was in the environment.
fn secret(model: &Model) -> Result<Option<OwnedFd>, String> {
    let Some(name) = model.engine.secret_variable() else {
        return Ok(None);
    };
    match environment::taken(name) {
        Some(file) => file.map(Some).map_err(|error| error.to_string()),
        None => Err(format!(
            "the environment variable {name} was not set when the service started; set it, and restart the service"
        )),
    }
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
    let slot = loop {
        let slot = shared.slots.take(
            model.limits.of_cgroup(),
            model.engine.needs().profile.has_program(),
        );
        if let Some(slot) = slot.map_err(|error| error.to_string())? {
            break slot;
        }
        // Jobs on their way out still have theirs.
        tokio::time::sleep(SLOT_PAUSE).await;
    };
    let begun = zygote.begin_fork(slot, false).await;
    begun.map_err(|error| error.to_string())?;
    let mut job = zygote.forked().await.map_err(|error| error.to_string())?;
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
    let (waiting, mut events) = self_test_request(PoolId(0), model.limits)?;
    let drain = async { while events.recv().await.is_some() {} };
    let test = async {
        let ended = run::run(shared, &mut job, &waiting).await;
        drop(waiting);
        ended
    };
    let (ended, ()) = tokio::join!(test, drain);
    let words = lifecycle::last_words(&mut job);
    job.dismiss(Duration::from_secs(1)).await;
    match ended.outcome {
        Outcome::Ok => Ok(()),
        outcome => Err(format!("{outcome}{words}")),
    }
}

/// The request of a self-test, and the end at which its events come out. No model is ever number 0.
pub(in crate::dispatch) fn self_test_request(
    model: PoolId,
    limits: Limits,
) -> Result<(Waiting, mpsc::Receiver<Event>), String> {
    let (ask, wav) = job::self_test();
    let (events, receiver) = mpsc::channel(EVENTS);
    let recording = sealed::file(c"self-test", &wav).map_err(|error| error.to_string())?;
    let waiting = Waiting {
        id: 0,
        account: Account::of_self_test(),
        model,
        ask,
        limits,
        lower: Lower::default(),
        recording: recording.into(),
        feed: None,
        request_id: "self-test".into(),
        uid: None,
        events,
        since: Instant::now(),
        unread: 0,
        canary: true,
    };
    Ok((waiting, receiver))
}

/// Log what a zygote's library has to say, and give its last line; all of it is somebody else's text.
async fn log_stderr(stderr: pipe::Receiver, model: String) -> Option<String> {
    let mut last = None;
    let mut lines = BufReader::with_capacity(4096, stderr.take(MAX_LOG)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let text = String::from_utf8_lossy(&line);
        let text = lifecycle::clean(&text);
        if !text.is_empty() {
            tracing::warn!(model, "model {model}: its zygote says: {text}");
            last = Some(text);
        }
    }
    last
}
