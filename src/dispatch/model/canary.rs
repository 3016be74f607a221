//! The service's own request, now and then: only work shows whether a model still works.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    config::Share,
    dispatch::{
        request::events::RequestEvent,
        state::{accepted::Accepted, pool::Health, pool_id::PoolId, shared::Shared},
        statistics::kinds::Lifecycle,
    },
    events,
    request::Outcome,
};

/// The longest time between two looks whether a canary is due.
const LOOK: Duration = Duration::from_secs(30);

/// The shortest time between two such looks.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);

/// Send a canary through model `id` whenever it was idle for `health.interval`, and at once if only
/// that can tell whether the model or a client's requests are to blame, until the model is removed.
pub async fn watch(shared: Arc<Shared>, id: PoolId) {
    let mut configured = shared.config.subscribe();
    let doubt = {
        let schedule = shared.schedule();
        let pool = schedule.pools.get(&id);
        pool.map(|pool| pool.doubt.clone()).unwrap_or_default()
    };
    loop {
        let interval = configured.borrow_and_update().health.interval;
        let pause = match due_in(&shared, id, interval) {
            None => return,
            Some(Duration::ZERO) => {
                if let Some(result) = send(&shared, id).await {
                    judge(&shared, id, result);
                }
                pause_after(&shared, id, interval)
            }
            Some(pause) => pause,
        };
        tokio::select! {
            biased;
            () = sleep(pause.clamp(SHORTEST_LOOK, LOOK)) => {}
            () = doubt.notified() => {}
            _ = configured.changed() => {}
        }
    }
}

/// How long to wait after a canary of model `id`: at most until the pause of its breaker is over.
fn pause_after(shared: &Shared, id: PoolId, interval: Duration) -> Duration {
    let schedule = shared.schedule();
    let pool = schedule.pools.get(&id);
    let is_open = pool.and_then(|pool| pool.breaker.is_open(Instant::now()));
    let wait = is_open.filter(|wait| !wait.is_zero());
    wait.map_or(interval / 10, |wait| wait.min(interval / 10))
}

/// How long until model `id` has to prove itself; `None` once it was removed, or the service is to
/// stop.
fn due_in(shared: &Shared, id: PoolId, interval: Duration) -> Option<Duration> {
    let schedule = shared.schedule();
    if schedule.closing {
        return None;
    }
    let pool = schedule.pools.get(&id)?;
    if interval.is_zero() {
        return Some(LOOK);
    }
    // A failed model is started again and proves itself by that. A busy one proves itself all the
    // time.
    let is_idle = pool.health == Health::Ready && pool.running == 0 && pool.wanted.is_some();
    if !is_idle {
        return Some(interval / 10);
    }
    // If it is closed for everybody, perhaps nobody comes to try it again.
    if let Some(wait) = pool.breaker.is_open(Instant::now()) {
        return Some(wait);
    }
    if pool.suspect {
        return Some(Duration::ZERO);
    }
    Some(interval.saturating_sub(pool.proven.elapsed()))
}

/// One transcription as a client's would be, queue and all; `None` if the service has no place for
/// it now.
async fn send(shared: &Arc<Shared>, id: PoolId) -> Option<Result<(), String>> {
    let patience = shared.config().jobs.queue_timeout;
    let limits = shared.schedule().pools.get(&id)?.model.limits;
    let (mut request, events) = match Accepted::self_test(id, limits) {
        Ok(request) => request,
        Err(reason) => return Some(Err(reason)),
    };
    let number = {
        let mut schedule = shared.schedule();
        let number = schedule.next_request_id();
        request.id = number;
        let now = Instant::now();
        request.since = now;
        request.request_id = "canary".into();
        let pushed = schedule.enqueue(Box::new(request), Share::default(), now);
        pushed.ok()?;
        number
    };
    shared.pump();
    let most = patience + limits.deadline;
    let result = timeout(most, answer(events)).await;
    // If it still waits, nobody else will take it out.
    shared.schedule().queue.take(number);
    Some(result.unwrap_or_else(|_| Err(format!("it was not answered within {most:?}"))))
}

/// How a canary's request ended.
async fn answer(mut events: mpsc::Receiver<RequestEvent>) -> Result<(), String> {
    loop {
        match events.recv().await {
            Some(
                RequestEvent::Started
                | RequestEvent::Channels(_)
                | RequestEvent::Segment(_)
                | RequestEvent::Hypothesis(_),
            ) => {}
            Some(RequestEvent::Finished(report)) => {
                return match report.outcome {
                    Outcome::Ok => Ok(()),
                    outcome => Err(outcome.to_string()),
                };
            }
            Some(RequestEvent::Refused(refusal)) => return Err(refusal.to_string()),
            None => return Err("it was dropped".into()),
        }
    }
}

/// Enter a canary's result into the model's health.
fn judge(shared: &Shared, id: PoolId, result: Result<(), String>) {
    let mut schedule = shared.schedule();
    let Some(pool) = schedule.pools.get_mut(&id) else {
        return;
    };
    pool.suspect = false;
    let name = &pool.name;
    let was_well = pool.unwell.is_none();
    match result {
        Ok(()) => {
            pool.books.count(Lifecycle::CanariesOk);
            tracing::debug!(model = name, "model {name}: its canary sings");
            pool.unwell = None;
        }
        Err(reason) => {
            pool.books.count(Lifecycle::CanariesFailed);
            tracing::error!(
                target: events::CANARY_FAILED,
                model = name,
                "model {name}: its canary failed, a fresh zygote is started: {reason}"
            );
            pool.unwell = Some(format!("its last canary failed: {reason}"));
            pool.renew = true;
            // The next one is due when the fresh zygote has had its time.
            pool.proven = Instant::now();
            pool.wake.notify_one();
        }
    }
    if was_well != pool.unwell.is_none() {
        drop(schedule);
        shared.health.send_replace(());
    }
}
