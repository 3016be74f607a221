//! Keeps one model's zygote alive and its spares at their number (mode `process`).

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
    sync::mpsc,
};

use super::{EVENTS, Health, Lower, Shared, lifecycle, queue::Waiting};
use crate::{
    config::Limits,
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

/// Keep model `index` ready until the service ends.
pub(super) async fn keep(shared: Arc<Shared>, index: usize) {
    let name = shared.model(index).name.clone();
    let mut pause = Duration::ZERO;
    loop {
        let begin = Instant::now();
        match start(&shared, index).await {
            Ok(mut zygote) => {
                tracing::info!(
                    model = name,
                    pid = zygote.pid(),
                    "model {name}: ready after {:.2} s",
                    begin.elapsed().as_secs_f64()
                );
                shared.set_health(index, Health::Ready);
                let ready = Instant::now();
                let reason = serve(&shared, index, &mut zygote).await;
                if ready.elapsed() > STABLE {
                    pause = Duration::ZERO;
                }
                tracing::error!(
                    model = name,
                    pid = zygote.pid(),
                    "model {name}: its zygote is lost and started again: {reason}"
                );
                shared.set_health(index, Health::Starting);
            }
            Err(reason) => {
                tracing::error!(model = name, "model {name}: it cannot be started: {reason}");
                shared.set_health(index, Health::Failed(reason));
                pause = pause.max(FIRST_PAUSE);
            }
        }
        if !pause.is_zero() {
            tracing::info!(
                model = name,
                "model {name}: next attempt in {:.1} s",
                pause.as_secs_f64()
            );
            tokio::time::sleep(pause).await;
        }
        pause = (pause * 2).clamp(FIRST_PAUSE, shared.config.zygote.max_backoff);
    }
}

/// Start a zygote, let it load the model, and have a forked job prove it.
async fn start(shared: &Arc<Shared>, index: usize) -> Result<ZygoteProcess, String> {
    let model = shared.model(index);
    let leaf = match shared.slots.tree() {
        Some(tree) => Some(zygote_leaf(tree, &model.name).map_err(|error| error.to_string())?),
        None => None,
    };
    let (mut zygote, stderr) =
        ZygoteProcess::start(leaf.as_ref()).map_err(|error| error.to_string())?;
    let last_words = tokio::spawn(log_stderr(stderr, model.name.clone()));
    let load = Load {
        model: model.name.clone(),
        engine: model.engine.clone(),
    };
    let timeout = shared.config.zygote.load_timeout;
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
            model = name,
            "model {name}: this kernel's Landlock cannot forbid everything; only seccomp keeps jobs from: {missing}"
        );
    }
    let rest = timeout.saturating_sub(begin.elapsed());
    match tokio::time::timeout(rest, self_test(shared, index, &mut zygote)).await {
        Ok(result) => result.map_err(|reason| format!("the self-test failed: {reason}"))?,
        Err(_) => return Err(format!("the self-test did not end within {timeout:?}")),
    }
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
async fn self_test(
    shared: &Arc<Shared>,
    index: usize,
    zygote: &mut ZygoteProcess,
) -> Result<(), String> {
    let slot = shared
        .slots
        .take(&shared.model(index).limits)
        .map_err(|error| error.to_string())?
        .ok_or("no slot is free")?;
    let mut job = zygote.fork(slot).await.map_err(|error| error.to_string())?;
    lifecycle::ready(&mut job).await?;
    let name = &shared.model(index).name;
    match sandbox::read_back(job.pid()) {
        Ok(true) => {}
        Ok(false) => tracing::info!(
            model = name,
            "model {name}: /proc hides its jobs, so their confinement is their zygote's word"
        ),
        Err(error) => return Err(error.to_string()),
    }
    let (waiting, mut events) = self_test_request(index, shared.model(index).limits)?;
    let drain = async { while events.recv().await.is_some() {} };
    let test = async {
        let ended = lifecycle::run(&mut job, &waiting).await;
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

/// The request of a self-test, and the end at which its events come out.
pub(super) fn self_test_request(
    model: usize,
    limits: Limits,
) -> Result<(Waiting, mpsc::Receiver<super::Event>), String> {
    let (job, wav) = job::self_test(0);
    let (events, receiver) = mpsc::channel(EVENTS);
    let recording = memory_file(&wav).map_err(|error| error.to_string())?;
    let waiting = Waiting {
        id: 0,
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
    };
    Ok((waiting, receiver))
}

fn memory_file(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"self-test", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Fork spares as they are needed, until the zygote is lost; why it was.
async fn serve(shared: &Arc<Shared>, index: usize, zygote: &mut ZygoteProcess) -> ProcessError {
    let mut trouble = 0u32;
    loop {
        if shared.missing(index) == 0 {
            tokio::select! {
                () = shared.wanted[index].notified() => continue,
                reason = zygote.ended() => return reason,
            }
        }
        match fork(shared, index, zygote).await {
            Ok(Some(job)) => {
                trouble = 0;
                tokio::spawn(raise(shared.clone(), index, job));
            }
            // All slots are in use; the next job that ends wakes us.
            Ok(None) => {
                tokio::select! {
                    () = shared.wanted[index].notified() => {}
                    reason = zygote.ended() => return reason,
                }
            }
            Err(Trouble::Job(reason)) => {
                trouble += 1;
                let name = &shared.model(index).name;
                tracing::error!(model = name, "model {name}: no job can be forked: {reason}");
                let pause = FIRST_PAUSE * 2u32.saturating_pow(trouble.min(10) - 1);
                tokio::time::sleep(pause.min(shared.config.zygote.max_backoff)).await;
            }
            Err(Trouble::Zygote(reason)) => return reason,
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

async fn fork(
    shared: &Arc<Shared>,
    index: usize,
    zygote: &mut ZygoteProcess,
) -> Result<Option<JobProcess>, Trouble> {
    let slot = shared
        .slots
        .take(&shared.model(index).limits)
        .map_err(|error| Trouble::Job(error.to_string()))?;
    let Some(slot) = slot else {
        return Ok(None);
    };
    shared.state().models[index].coming += 1;
    match zygote.fork(slot).await {
        Ok(job) => Ok(Some(job)),
        Err(error) => {
            shared.state().models[index].coming -= 1;
            Err(match error {
                ProcessError::Fork(reason) => Trouble::Job(reason),
                error => Trouble::Zygote(error),
            })
        }
    }
}

/// See a forked job through until it is ready, then let it wait for its request.
async fn raise(shared: Arc<Shared>, index: usize, mut job: JobProcess) {
    let ready = lifecycle::ready(&mut job).await;
    shared.state().models[index].coming -= 1;
    match ready {
        Ok(()) => lifecycle::spare(shared, index, job).await,
        Err(reason) => {
            let name = &shared.model(index).name;
            tracing::error!(model = name, "model {name}: {reason}");
            job.kill();
            job.dismiss(Duration::ZERO).await;
            // Not at once: whatever keeps jobs from becoming ready would keep us busy for ever.
            tokio::time::sleep(FIRST_PAUSE).await;
            shared.pump();
        }
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
