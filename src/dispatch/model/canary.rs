//! A request of the service's own, now and then: whether a model still works shows only when it works.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::dispatch::{
    Event, Health, PoolId, Shared, model::zygote::self_test_request, statistics::Lifecycle,
};
use crate::{config::Share, events, request::Outcome};

/// How often it is looked whether a canary is due, at least.
const LOOK: Duration = Duration::from_secs(30);

/// Send a canary through model `id` whenever it was idle for `health.interval`, until the model is removed.
pub(in crate::dispatch) async fn watch(shared: Arc<Shared>, id: PoolId) {
    let mut configured = shared.config.subscribe();
    loop {
        let interval = configured.borrow_and_update().health.interval;
        let pause = match due_in(&shared, id, interval) {
            None => return,
            Some(Duration::ZERO) => {
                if let Some(result) = send(&shared, id).await {
                    judge(&shared, id, result);
                }
                interval / 10
            }
            Some(pause) => pause,
        };
        tokio::select! {
            () = tokio::time::sleep(pause.clamp(Duration::from_millis(10), LOOK)) => {}
            _ = configured.changed() => {}
        }
    }
}

/// How long until model `id` has to prove itself; `None` once it was removed, or the service is to stop.
fn due_in(shared: &Shared, id: PoolId, interval: Duration) -> Option<Duration> {
    let state = shared.state();
    if state.closing {
        return None;
    }
    let pool = state.pools.get(&id)?;
    // A failed one is started again and proves itself by that; a busy one does so all the time.
    let sits = pool.health == Health::Ready && pool.running == 0 && pool.wanted.is_some();
    if interval.is_zero() {
        return Some(LOOK);
    }
    if !sits {
        return Some(interval / 10);
    }
    Some(interval.saturating_sub(pool.proven.elapsed()))
}

/// One transcription as a client's would be, queue and all; `None` if the service has no place for it now.
async fn send(shared: &Arc<Shared>, id: PoolId) -> Option<Result<(), String>> {
    let (limits, patience) = {
        let state = shared.state();
        let patience = shared.config.borrow().jobs.queue_timeout;
        (state.pools.get(&id)?.model.limits, patience)
    };
    let (mut waiting, mut events) = match self_test_request(id, limits) {
        Ok(request) => request,
        Err(reason) => return Some(Err(reason)),
    };
    let number = {
        let mut state = shared.state();
        waiting.id = state.next_id;
        waiting.since = Instant::now();
        waiting.request_id = "canary".into();
        state.next_id += 1;
        let number = waiting.id;
        state.queue.push(Box::new(waiting), Share::default()).ok()?;
        number
    };
    shared.pump();
    let answer = async {
        loop {
            match events.recv().await {
                Some(Event::Started | Event::Segment(_)) => {}
                Some(Event::Finished(report)) => break report.outcome.into_result(),
                Some(Event::Refused(refusal)) => break Err(refusal.to_string()),
                None => break Err("it was dropped".into()),
            }
        }
    };
    let most = patience + limits.deadline;
    let result = tokio::time::timeout(most, answer).await;
    // If it still waits: nobody else will take it out.
    shared.state().queue.take(number);
    Some(result.unwrap_or_else(|_| Err(format!("it was not answered within {most:?}"))))
}

fn judge(shared: &Shared, id: PoolId, result: Result<(), String>) {
    let mut state = shared.state();
    let Some(pool) = state.pools.get_mut(&id) else {
        return;
    };
    let name = &pool.name;
    let was_well = pool.unwell.is_none();
    pool.books.count(match result {
        Ok(()) => Lifecycle::CanariesOk,
        Err(_) => Lifecycle::CanariesFailed,
    });
    match result {
        Ok(()) => {
            tracing::debug!(model = name, "model {name}: its canary sings");
            pool.unwell = None;
        }
        Err(reason) => {
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
        drop(state);
        shared.health.send_replace(());
    }
}

impl Outcome {
    fn into_result(self) -> Result<(), String> {
        match self {
            Self::Ok => Ok(()),
            outcome => Err(outcome.to_string()),
        }
    }
}
