//! The life of one job: forked, ready, assigned, running, done, and gone or (mode `hybrid`) ready again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot,
    time::{sleep, sleep_until, timeout},
};

use super::{
    recycle::{Reason, Wear},
    run::{EXIT_GRACE, run},
    talk::unasked,
};
use crate::{
    config::{Mode, Model},
    dispatch::{
        PoolId, Shared,
        state::accepted::Waiting,
        state::idle::SpareHandle,
        state::ticket::{Event, Report},
        statistics::{Books, Latency, Lifecycle, Worker},
    },
    events,
    isolation::{Preload, channel::ChannelError},
    job::wire::{FromJob, JobProcess},
    units::Lifetime,
};

/// A forked child has nothing to do before it is ready but to set itself up.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// So many jobs may die with a request in front of them that they have not read; then it fails as if they had. Jobs that
/// have served before are no reason to fail: there are only so many, and each was sound until then.
const MAX_UNREAD: u32 = 3;

/// Lines of a job's stderr that go to the log, and the length in characters at which each is cut.
const MAX_LOG: (usize, usize) = (20, 500);

/// Wait until a forked job is ready. `load` is how long it may take to load a model, if it does that itself.
///
/// # Errors
/// It ended, broke the protocol or took too long; the reason for the log. It is gone by then.
pub(in crate::dispatch) async fn ready(
    job: &mut JobProcess,
    preload: Preload,
    load: Duration,
) -> Result<(), String> {
    let limit = match preload {
        Preload::BeforeFork => READY_TIMEOUT,
        Preload::AfterFork => READY_TIMEOUT + load,
    };
    let failure = match timeout(limit, job.receive()).await {
        Ok(Ok(FromJob::Ready)) => {
            job.begin();
            return Ok(());
        }
        Ok(Ok(FromJob::LoadFailed(message))) => return Err(clean(&message)),
        Ok(heard) => trouble(job, heard).await,
        Err(_) => format!("it was not ready within {limit:?}"),
    };
    Err(format!(
        "a forked job is of no use: {failure}{}",
        last_words(job)
    ))
}

/// What is wrong with a job that says this, or hangs up, though nobody asked it anything.
async fn trouble(job: &mut JobProcess, heard: Result<FromJob, ChannelError>) -> String {
    match heard {
        Ok(message) => unasked(&message),
        Err(ChannelError::HungUp) => match timeout(EXIT_GRACE, job.ended()).await {
            Ok(Ok(exit)) => exit.how.to_string(),
            _ => "it hung up".into(),
        },
        Err(error) => error.to_string(),
    }
}

/// A job in its model's pool: where its request comes, and the generation of the settings that it was made with.
struct Place {
    next: oneshot::Receiver<Box<Waiting>>,
    generation: u64,
}

/// Keep a ready job in its model's pool until it gets a request, serve that one, and in mode `hybrid` come back.
pub(in crate::dispatch) async fn spare(
    shared: &Arc<Shared>,
    id: PoolId,
    model: Arc<Model>,
    job: JobProcess,
) {
    let mut wear = (model.mode == Mode::Hybrid).then(|| Wear::of(&job, model.recycle));
    let (handle, next) = SpareHandle::new(key(&job));
    let generation = shared.ready(id, handle);
    shared.pump();
    let mut ready = Some((job, Place { next, generation }));
    while let Some((job, place)) = ready {
        ready = match wait(shared, id, &model, job, place, wear.as_ref()).await {
            Some((job, generation, waiting)) => {
                let again = Again {
                    id,
                    generation,
                    wear: wear.as_mut(),
                };
                serve(shared, &model, job, waiting, again).await
            }
            None => None,
        };
    }
}

/// Tells spares of one model apart.
fn key(job: &JobProcess) -> u64 {
    u64::from(job.pid().cast_unsigned())
}

/// Wait for a request, and watch the job: it has nothing to do, so whatever it does is wrong. `None`: it is gone.
async fn wait(
    shared: &Shared,
    id: PoolId,
    model: &Model,
    mut job: JobProcess,
    place: Place,
    wear: Option<&Wear>,
) -> Option<(JobProcess, u64, Box<Waiting>)> {
    let Place {
        mut next,
        generation,
    } = place;
    let ttl = async {
        match model.spares.ttl {
            Lifetime::Limited(ttl) => sleep(ttl).await,
            Lifetime::Zero | Lifetime::Unlimited => std::future::pending().await,
        }
    };
    let max_age = async {
        match wear {
            Some(wear) => sleep_until(wear.end().into()).await,
            None => std::future::pending().await,
        }
    };
    let (heard, is_old) = tokio::select! {
        biased;
        waiting = &mut next => {
            if let Ok(waiting) = waiting {
                return Some((job, generation, waiting));
            }
            // The scheduler let it go.
            job.dismiss(EXIT_GRACE).await;
            return None;
        }
        heard = job.receive() => (Some(heard), false),
        () = ttl => (None, false),
        () = max_age => (None, true),
    };
    let books = shared.statistics.model(&model.name);
    shared.withdraw(id, key(&job));
    // Until this moment it may have been given a request.
    next.close();
    let late = next.try_recv().ok();
    match (heard, late) {
        (None, Some(waiting)) => return Some((job, generation, waiting)),
        (None, None) => match wear {
            Some(wear) if is_old => recycled(&books, model, &job, Reason::Age, wear),
            _ => books.count(Lifecycle::SparesExpired),
        },
        (Some(heard), late) => {
            books.count(Lifecycle::SparesDied);
            // Another spare serves that.
            if let Some(waiting) = late {
                shared.give_back(waiting);
            }
            let what = trouble(&mut job, heard).await;
            let name = &model.name;
            tracing::warn!(
                target: events::SPARE_DIED,
                model = name,
                pid = job.pid(),
                "model {name}: a spare is of no use any more: {what}{}",
                last_words(&mut job)
            );
            shared.stumbled(id);
            job.kill();
        }
    }
    job.dismiss(EXIT_GRACE).await;
    None
}

/// A job ends that could have gone on: tell why.
fn recycled(books: &Books, model: &Model, job: &JobProcess, reason: Reason, wear: &Wear) {
    books.count(match reason {
        Reason::Requests => Lifecycle::JobsRecycledRequests,
        Reason::Growth => Lifecycle::JobsRecycledGrowth,
        Reason::Age => Lifecycle::JobsRecycledAge,
    });
    let name = &model.name;
    tracing::debug!(
        model = name,
        pid = job.pid(),
        reason = reason.name(),
        requests = wear.requests(),
        growth_bytes = wear.growth(),
        "model {name}: a job is replaced ({}) after {} requests",
        reason.name(),
        wear.requests()
    );
}

/// What decides whether a job serves again.
struct Again<'a> {
    id: PoolId,
    generation: u64,
    /// `None`: one request is all that any job of its mode serves.
    wear: Option<&'a mut Wear>,
}

impl Again<'_> {
    /// Put a job that has just done its work well into its pool again, if it is to serve once more.
    fn offer(self, shared: &Shared, model: &Model, job: &JobProcess, memory: u64) -> Option<Place> {
        let wear = self.wear?;
        wear.served(memory);
        if let Some(reason) = wear.verdict() {
            recycled(
                &shared.statistics.model(&model.name),
                model,
                job,
                reason,
                wear,
            );
            return None;
        }
        let (handle, next) = SpareHandle::new(key(job));
        shared
            .back(self.id, self.generation, handle)
            .then_some(Place {
                next,
                generation: self.generation,
            })
    }
}

/// Serve one request. Gives the job back if it is to serve another one: it is in its pool again then.
async fn serve(
    shared: &Shared,
    model: &Model,
    mut job: JobProcess,
    mut waiting: Box<Waiting>,
    again: Again<'_>,
) -> Option<(JobProcess, Place)> {
    let start = Instant::now();
    // The limits that the job's slot was made with: those in force may be others by now.
    waiting.limits = waiting.lower.apply(model.limits);
    let queued = start - waiting.since;
    let books = shared.statistics.model(&model.name);
    waiting.account.begin(Worker::job(&mut job, model.mode));
    if waiting.unread == 0 {
        let _ = waiting.events.try_send(Event::Started);
    }
    // Its place is kept from the beginning: behind a burst of segments there might be none, and the last event must
    // neither wait for the client nor be lost.
    let finished = waiting.events.clone().try_reserve_owned();
    let was_used = job.is_used();
    let id = again.id;
    let ended = run(shared, &mut job, &waiting).await;
    if let Some(what) = &ended.untouched
        && (was_used || waiting.unread < MAX_UNREAD)
        && !waiting.events.is_closed()
    {
        let name = &model.name;
        let pid = job.pid();
        tracing::warn!(
            target: events::SPARE_DIED,
            model = name,
            pid,
            "model {name}: a spare is of no use any more, its request goes to another one: {what}{}",
            last_words(&mut job)
        );
        books.count(Lifecycle::SparesDied);
        waiting.unread += 1;
        shared.give_back(waiting);
        job.dismiss(EXIT_GRACE).await;
        return None;
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
    waiting.account.finish(&report);
    let outcome = report.outcome.clone();
    // In its pool before its client can know: who asks again at once gets the same job, which is warm.
    let place = match ended.is_sound {
        true => again.offer(shared, model, &job, report.usage.anonymous),
        false => None,
    };
    // The answer first; whatever the job leaves behind is cleared away afterwards.
    if let Ok(finished) = finished {
        finished.send(Event::Finished(Box::new(report)));
    }
    let over = ended.killed.unwrap_or_else(Instant::now);
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
    if let Some(mut place) = place {
        match job.settle() {
            Ok(()) => return Some((job, place)),
            Err(error) => {
                shared.withdraw(id, key(&job));
                place.next.close();
                if let Ok(waiting) = place.next.try_recv() {
                    shared.give_back(waiting);
                }
                let name = &model.name;
                tracing::error!(
                    model = name,
                    slot,
                    "model {name}: a job cannot serve again: {error}"
                );
            }
        }
    }
    job.dismiss(EXIT_GRACE).await;
    books.observe(Latency::Exit, over.elapsed());
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
    None
}

/// What the job wrote to stderr, for the log.
pub(in crate::dispatch) fn last_words(job: &mut JobProcess) -> String {
    let raw = job.slot().take_stderr();
    String::from_utf8_lossy(&raw)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(MAX_LOG.0)
        .map(|line| format!(": {}", clean(line)))
        .collect()
}

/// A child's words for the log: cut, and without control characters.
pub(in crate::dispatch) fn clean(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(MAX_LOG.1).collect()
}
