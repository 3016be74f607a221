//! A submitted request on its way into the queue: everything that can refuse it at once.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    accepted::Accepted,
    retry,
    shared::{Shared, Stop},
    ticket::Ticket,
};
use crate::{
    config::{Config, Model},
    dispatch::{
        request::{events, feed::Feed, submission::Submission},
        statistics::{account::Account, books::Books, kinds::Latency},
    },
    request::Refusal,
};

/// Queue a request. `feed` is there if its recording is a pipe through which it still comes.
///
/// # Errors
/// The request is refused at once, and counts as refused.
pub fn admit(
    shared: &Arc<Shared>,
    submission: Submission,
    feed: Option<Arc<Feed>>,
) -> Result<Ticket, Refusal> {
    let config = shared.config();
    let model = config.model(&submission.model);
    let model = model.ok_or(Refusal::UnknownModel)?;
    let books = shared.statistics.model(&model.name);
    let (request_id, client) = (submission.request_id.clone(), submission.client.clone());
    let admitted = queue(shared, &config, model, submission, feed, &books);
    admitted.inspect_err(|refusal| books.refuse(&request_id, &client, refusal))
}

fn queue(
    shared: &Arc<Shared>,
    config: &Config,
    model: &Model,
    submission: Submission,
    feed: Option<Arc<Feed>>,
    books: &Arc<Books>,
) -> Result<Ticket, Refusal> {
    if *shared.stop.borrow() == Stop::Now {
        return Err(Refusal::ShuttingDown);
    }
    let (events, receiver) = events::channel();
    let mut schedule = shared.schedule();
    let now = Instant::now();
    let named = schedule.pool_named(&model.name);
    let (pool_id, pool) = named.ok_or(Refusal::UnknownModel)?;
    pool.admit(now, &submission.client)?;
    let id = schedule.next_request_id();
    let client = submission.client;
    let request = Box::new(Accepted {
        id,
        account: Account::new(books, id, &submission.request_id, client.clone())
            .labelled(submission.label),
        model: pool_id,
        ask: submission.ask,
        limits: model.limits,
        own_limits: submission.own_limits,
        recording: submission.recording,
        feed,
        request_id: submission.request_id,
        client: client.clone(),
        events,
        since: now,
        unread: 0,
    });
    if submission.follows {
        schedule.queue.push_anyway(request, submission.share);
    } else if let Err(full) = schedule.enqueue(request, submission.share, now) {
        let max_running = config.jobs.max_running;
        return Err(retry::refusal(&schedule, full, &client, max_running));
    }
    drop(schedule);
    if let Some(upload) = submission.upload {
        books.observe(Latency::Upload, upload);
    }
    shared.pump();
    let patience = config.jobs.queue_timeout;
    Ok(Ticket::new(shared.clone(), id, receiver, patience))
}
