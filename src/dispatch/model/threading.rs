//! Requests served by the engine's thread (mode `thread`), one after the other.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    renewal::{Look, Renewal},
    server::ServerEnd,
    thread::{EngineThread, GONE},
};
use crate::{
    config::Model,
    dispatch::{
        request::events::{Report, RequestEvent},
        state::{
            accepted::Accepted,
            idle::{IdleHandle, NextRequest},
            pool_id::PoolId,
            shared::Shared,
        },
        statistics::open::Worker,
    },
    isolation::Usage,
    request::{Figures, Outcome},
};

/// Serve requests of model `id` until something ends that.
pub async fn serve(
    shared: &Arc<Shared>,
    id: PoolId,
    mut model: Arc<Model>,
    thread: &EngineThread,
) -> ServerEnd {
    let mut renewal = Renewal::new(shared, &model.name);
    loop {
        let (handle, next) = IdleHandle::new(0);
        shared.offer_fresh(id, handle);
        shared.pump();
        match wait(shared, id, &mut model, &mut renewal, next).await {
            Ok(Some(request)) => {
                if !transcribe(shared, &model, thread, request).await {
                    return ServerEnd::Lost(GONE.into());
                }
            }
            // Memory pressure or other settings have let the handle go.
            Ok(None) => {}
            Err(end) => return end,
        }
    }
}

/// Wait for the next request, and adopt other settings meanwhile.
async fn wait(
    shared: &Arc<Shared>,
    id: PoolId,
    model: &mut Arc<Model>,
    renewal: &mut Renewal,
    mut next: NextRequest,
) -> Result<Option<Box<Accepted>>, ServerEnd> {
    let wake = shared.wake(id);
    loop {
        match renewal.look(id, model) {
            Look::GoOn => {}
            Look::Settings(settings) => {
                *model = settings;
                shared.adopt(id, model);
            }
            Look::End(end) => {
                shared.schedule().withdraw(id, 0);
                next.close();
                if let Ok(request) = next.try_recv() {
                    shared.give_back(request);
                }
                return Err(end);
            }
        }
        tokio::select! {
            biased;
            request = &mut next => return Ok(request.ok()),
            () = wake.notified() => {}
        }
    }
}

/// Serve one request; whether the thread is still there.
async fn transcribe(
    shared: &Arc<Shared>,
    model: &Model,
    thread: &EngineThread,
    request: Box<Accepted>,
) -> bool {
    let start = Instant::now();
    request.account.begin(Worker::thread());
    let request: Arc<Accepted> = request.into();
    let _ = request.events.send(RequestEvent::Started).await;
    let result = tokio::select! {
        biased;
        result = thread.transcribe(request.clone(), model) => match result {
            Some(result) => Some(result),
            None => return false,
        },
        // Only the end of the process can end the engine's work. It comes as soon as all clients
        // are answered.
        () = shared.aborted() => None,
    };
    let (outcome, figures) = match result {
        None => (Outcome::Stopped, Figures::default()),
        Some(_) if request.events.is_closed() => (Outcome::Cancelled, Figures::default()),
        Some(Ok(figures)) => (Outcome::Ok, figures),
        Some(Err(failure)) => (Outcome::Failed(failure), Figures::default()),
    };
    let report = Report {
        outcome: outcome.clone(),
        usage: Usage::default(),
        figures,
        pid: std::process::id().cast_signed(),
        queued: start - request.since,
        wall: start.elapsed(),
    };
    request.account.finish(&report);
    let last_event = RequestEvent::Finished(Box::new(report));
    let _ = request.events.send(last_event).await;
    shared.finished(&request, &outcome, start.elapsed());
    true
}
