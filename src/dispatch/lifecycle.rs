//! The life of one job: forked, ready, assigned, running, done, gone.

use std::{
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    PoolId, Shared, Stop,
    queue::Waiting,
    spare::SpareHandle,
    talk::{Last, Talk},
    ticket::{Event, Report},
};
use crate::{
    config::{Lifetime, Model},
    isolation::{
        Figures, FromJob, JobProcess, Outcome, Usage, channel::ChannelError,
        sandbox::system_call_name,
    },
};

/// A forked child has nothing to do before it is ready but to set itself up.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A job that answered and does not go when it is dismissed, or hung up and does not end, is killed after this.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// So many jobs may die with a request in front of them that they have not read; then it fails as if they had.
const MAX_UNREAD: u32 = 3;

/// Lines of a job's stderr that go to the log, and the length in characters at which each is cut.
const MAX_LOG: (usize, usize) = (20, 500);

/// Wait until a forked job is ready.
///
/// # Errors
/// It ended, broke the protocol or took too long; the reason for the log. It is gone by then.
pub(super) async fn ready(job: &mut JobProcess) -> Result<(), String> {
    let failure = match timeout(READY_TIMEOUT, job.receive()).await {
        Ok(Ok(FromJob::Ready)) => return Ok(()),
        Ok(Ok(FromJob::Violation { call })) => {
            let call = system_call_name(call).unwrap_or("unknown");
            format!("it was stopped at a forbidden system call ({call})")
        }
        Ok(Ok(_)) => "it spoke before it was asked".into(),
        Ok(Err(ChannelError::HungUp)) => match timeout(EXIT_GRACE, job.ended()).await {
            Ok(Ok(exit)) => exit.how.to_string(),
            _ => "it hung up".into(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it was not ready within {READY_TIMEOUT:?}"),
    };
    Err(format!(
        "a forked job is of no use: {failure}{}",
        last_words(job)
    ))
}

/// Keep a ready job in its model's pool until it gets a request, serve that one, and end.
pub(super) async fn spare(
    shared: &Arc<Shared>,
    id: PoolId,
    model: Arc<Model>,
    mut job: JobProcess,
) {
    let key = u64::from(job.pid().cast_unsigned());
    let (handle, mut request) = SpareHandle::new(key);
    shared.ready(id, handle);
    shared.pump();
    let ttl = async {
        match model.spares.ttl {
            Lifetime::Limited(ttl) => tokio::time::sleep(ttl).await,
            Lifetime::Zero | Lifetime::Unlimited => std::future::pending().await,
        }
    };
    let died = tokio::select! {
        biased;
        request = &mut request => {
            match request {
                Ok(waiting) => serve(shared, &model, job, waiting).await,
                // The scheduler let it go.
                Err(_) => job.dismiss(EXIT_GRACE).await,
            }
            return;
        }
        exit = job.ended() => Some(exit),
        () = ttl => None,
    };
    shared.withdraw(id, key);
    // Until this moment it may have been given a request.
    request.close();
    let late = request.try_recv().ok();
    match (died, late) {
        (None, Some(waiting)) => return serve(shared, &model, job, waiting).await,
        (None, None) => {}
        (Some(exit), late) => {
            let how = exit.map_or_else(|e| e.to_string(), |e| e.how.to_string());
            let name = &model.name;
            tracing::warn!(
                model = name,
                pid = job.pid(),
                "model {name}: a spare died idle: {how}"
            );
            shared.stumbled(id);
            // Another spare serves that.
            if let Some(waiting) = late {
                shared.give_back(waiting);
            }
        }
    }
    job.dismiss(EXIT_GRACE).await;
}

async fn serve(shared: &Shared, model: &Model, mut job: JobProcess, mut waiting: Box<Waiting>) {
    let start = Instant::now();
    // The limits that the job's slot was made with: those in force may be others by now.
    waiting.limits = waiting.lower.apply(model.limits);
    waiting.job.max_audio = waiting.limits.max_audio;
    let queued = start - waiting.since;
    if waiting.unread == 0 {
        let _ = waiting.events.try_send(Event::Started);
    }
    // Its place is kept from the beginning: behind a burst of segments there might be none, and the last event must
    // neither wait for the client nor be lost.
    let finished = waiting.events.clone().try_reserve_owned();
    let ended = run(shared, &mut job, &waiting).await;
    if ended.unread && waiting.unread < MAX_UNREAD && !waiting.events.is_closed() {
        let name = &model.name;
        let pid = job.pid();
        tracing::warn!(
            model = name,
            pid,
            "model {name}: a spare died idle; its request goes to another one"
        );
        waiting.unread += 1;
        shared.give_back(waiting);
        return job.dismiss(EXIT_GRACE).await;
    }
    let report = Report {
        outcome: ended.outcome,
        usage: ended.usage,
        figures: ended.figures,
        pid: job.pid(),
        queued,
        wall: start.elapsed(),
    };
    let slot = job.slot().index();
    let request_id = waiting.request_id.clone();
    log(model, &waiting, &report, slot);
    if let Outcome::Violation { call } = &report.outcome {
        let name = &model.name;
        tracing::error!(
            request_id = waiting.request_id,
            model = name,
            pid = report.pid,
            slot,
            call,
            "model {name}: a job was ended at a forbidden system call: {}",
            call.as_deref().unwrap_or("unknown")
        );
    }
    let outcome = report.outcome.clone();
    // The answer first; whatever the job leaves behind is cleared away afterwards.
    if let Ok(place) = finished {
        place.send(Event::Finished(Box::new(report)));
    }
    shared.finished(&waiting, &outcome, start.elapsed());
    drop(waiting);
    tokio::task::yield_now().await;
    let words = last_words(&mut job);
    if !words.is_empty() {
        let name = &model.name;
        tracing::warn!(
            model = name,
            slot,
            request_id,
            "model {name}: a job wrote to stderr{words}"
        );
    }
    job.dismiss(EXIT_GRACE).await;
    if let Some(killed) = ended.killed {
        let freed = killed.elapsed();
        tracing::info!(
            request_id,
            slot,
            slot_free_us = u64::try_from(freed.as_micros()).unwrap_or(u64::MAX),
            "slot {slot} is free {:.1} ms after its job was killed",
            freed.as_secs_f64() * 1000.0
        );
    }
}

/// One line for each finished request.
pub(super) fn log(model: &Model, waiting: &Waiting, report: &Report, slot: usize) {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        request_id = waiting.request_id,
        uid = waiting.uid,
        model = model.name,
        outcome = report.outcome.code(),
        pid = report.pid,
        slot,
        audio_ms = milliseconds(report.figures.audio),
        wall_ms = milliseconds(report.wall),
        queue_ms = milliseconds(report.queued),
        cpu_ms = milliseconds(report.usage.cpu),
        peak_bytes = report.usage.peak,
        anon_bytes = report.usage.anonymous,
        limit_bytes = report.usage.limit,
        page_cache_bytes = report.usage.page_cache,
        page_faults = report.usage.page_faults,
        "{}",
        summary(report)
    );
}

/// The line that a person reads; the fields beside it are for queries.
fn summary(report: &Report) -> String {
    if report.outcome != Outcome::Ok {
        return format!(
            "request failed ({}): {}",
            report.outcome.code(),
            report.outcome
        );
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let limit = match report.usage.limit {
        Some(limit) => format!(" of {:.0}", mebibytes(limit)),
        None => String::new(),
    };
    format!(
        "request ok: {:.1} s of audio in {:.2} s, peak {:.1}{limit} MiB",
        report.figures.audio.as_secs_f64(),
        report.wall.as_secs_f64(),
        mebibytes(report.usage.peak),
    )
}

/// How a job's work on its request ended; the process itself may still be there.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    pub(super) figures: Figures,
    /// When the service decided to kill it, if it did.
    pub(super) killed: Option<Instant>,
    /// Whether it died before it had read its request: not one byte of the recording was touched.
    pub(super) unread: bool,
}

/// Give the job its request and follow it to its last word or its end.
pub(super) async fn run(shared: &Shared, job: &mut JobProcess, waiting: &Waiting) -> Ended {
    let mut stop = shared.stop.subscribe();
    let stopped = async {
        // An error means that the service is gone.
        let _ = stop.wait_for(|stop| *stop == Stop::Now).await;
    };
    let mut talk = Talk::new(waiting);
    let lowered = if waiting.lower.memory.is_some() {
        job.lower(&waiting.limits)
    } else {
        Ok(())
    };
    let last = match lowered {
        Err(error) => Last::Violation(format!("it cannot be held to its limit: {error}")),
        Ok(()) => match job.assign(waiting.job.clone(), waiting.recording.as_fd()) {
            Ok(()) => tokio::select! {
                biased;
                last = talk.follow(job, &waiting.events) => last,
                () = stopped => Last::Stopped,
            },
            Err(error) => Last::Lost(error),
        },
    };
    let mut goes_on = false;
    let mut killed = None;
    if !matches!(last, Last::Word(_)) {
        // A job that lost its channel is ending or broken; only its end tells which.
        if !matches!(
            last,
            Last::Lost(ChannelError::HungUp | ChannelError::Unread)
        ) {
            killed = Some(Instant::now());
            job.kill();
        }
        if timeout(EXIT_GRACE, job.ended()).await.is_err() {
            goes_on = true;
            job.kill();
        }
    }
    let usage = job.usage();
    let mut figures = Figures {
        audio: talk.audio,
        ..Figures::default()
    };
    let lost_unread = matches!(last, Last::Lost(ChannelError::Unread));
    let outcome = match last {
        Last::Word(FromJob::Done { figures: told, .. }) => {
            figures = told;
            Outcome::Ok
        }
        Last::Word(FromJob::Failed { failure, .. }) => Outcome::of_failure(failure),
        Last::Word(_) => Outcome::Misbehaved("it ended with something that is no end".into()),
        Last::Forbidden(call) => Outcome::of_violation(call),
        Last::Violation(what) => Outcome::Misbehaved(what),
        Last::OutOfTime(limit) => Outcome::Timeout {
            limit,
            after: talk.allowance(limit),
            audio: talk.audio,
        },
        Last::Cancelled => Outcome::Cancelled,
        Last::Stopped => Outcome::Stopped,
        Last::Lost(error) if error.is_violation() => Outcome::Misbehaved(error.to_string()),
        // Killed by us, which must not look like a crash.
        Last::Lost(ChannelError::HungUp) if goes_on => {
            Outcome::Misbehaved("it hung up without a last word, and went on".into())
        }
        Last::Lost(_) => match job.ended().await {
            Ok(exit) => Outcome::of_dead(
                exit,
                usage.oom_kills,
                usage.limit.unwrap_or(0),
                usage.peak,
                talk.audio,
            ),
            Err(error) => Outcome::Misbehaved(format!("its end is unknown: {error}")),
        },
    };
    Ended {
        killed,
        unread: lost_unread && matches!(outcome, Outcome::Crashed(_)),
        outcome,
        usage,
        figures,
    }
}

/// What the job wrote to stderr, for the log: cut, and without control characters.
fn last_words(job: &mut JobProcess) -> String {
    let (lines, length) = MAX_LOG;
    let raw = job.slot().take_stderr();
    String::from_utf8_lossy(&raw)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(lines)
        .map(|line| {
            let line: String = line
                .chars()
                .filter(|c| !c.is_control())
                .take(length)
                .collect();
            format!(": {line}")
        })
        .collect()
}

impl Shared {
    /// A job of model `id` waits for a request.
    pub(super) fn ready(&self, id: PoolId, handle: SpareHandle) {
        let mut state = self.state();
        state.progress = Instant::now();
        // Without a pool the handle goes, and the job with it.
        if let Some(pool) = state.pools.get_mut(&id) {
            pool.spares.push(handle);
        }
    }

    /// The spare `key` takes no request any more.
    pub(super) fn withdraw(&self, id: PoolId, key: u64) {
        if let Some(pool) = self.state().pools.get_mut(&id) {
            pool.spares.retain(|spare| spare.key != key);
        }
    }
}
