//! A client's handle on its request: events come out of it, and dropping it cancels the request.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{retry, shared::Shared};
use crate::{dispatch::request::events::RequestEvent, request::Refusal};

/// A queued or running request.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    id: u64,
    events: mpsc::Receiver<RequestEvent>,
    /// How long it may wait; `None` once it has left the queue.
    patience: Option<QueueLimit>,
}

/// How long a request may wait for a job.
#[derive(Debug)]
struct QueueLimit {
    time: Duration,
    until: Instant,
}

impl Ticket {
    /// The handle on the request `id`, which may wait for `patience`.
    pub(in crate::dispatch) fn new(
        shared: Arc<Shared>,
        id: u64,
        events: mpsc::Receiver<RequestEvent>,
        patience: Duration,
    ) -> Self {
        Self {
            shared,
            id,
            events,
            patience: Some(QueueLimit {
                time: patience,
                until: Instant::now() + patience,
            }),
        }
    }

    /// The next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<RequestEvent> {
        if let Some(QueueLimit { time, until }) = self.patience {
            let first = timeout_at(until, self.events.recv()).await;
            self.patience = None;
            match first {
                Ok(event) => return event,
                Err(_) => {
                    if let Some(refusal) = self.leave_queue(time) {
                        return Some(RequestEvent::Refused(refusal));
                    }
                }
            }
        }
        self.events.recv().await
    }

    /// As [`Self::next`], however long the request waits. Its patience counts anew afterwards.
    pub async fn next_in_time(&mut self) -> Option<RequestEvent> {
        self.be_patient();
        let event = self.events.recv().await;
        self.patience = None;
        event
    }

    /// If the request still waits, its patience counts from now on.
    pub fn be_patient(&mut self) {
        if let Some(QueueLimit { time, until }) = &mut self.patience {
            *until = Instant::now() + *time;
        }
    }

    /// Take the request out of the queue after it has `waited` in vain; `None` if it has a job.
    fn leave_queue(&self, waited: Duration) -> Option<Refusal> {
        let max_running = self.shared.max_running();
        let mut schedule = self.shared.schedule();
        let request = schedule.queue.take(self.id)?;
        schedule.in_vain = true;
        let client = &request.client;
        let refusal = Refusal::QueueTimeout {
            waited,
            retry_after: retry::after(&schedule, Some(client), max_running),
        };
        request.account.refuse(&refusal);
        Some(refusal)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // If it still waits, it leaves the queue. If it runs, the task of its job sees the closed
        // channel.
        self.shared.schedule().queue.take(self.id);
    }
}
