//! A client's hold on its request: events come out of it, dropping it cancels.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    dispatch::{Shared, state::turns::Queued},
    isolation::Usage,
    request::{Figures, Outcome, Refusal},
    transcript::Segment,
};

/// What happens to a request, in this order: `Started`, any number of `Segment`, `Finished`; or only `Refused`.
#[derive(Debug)]
pub enum Event {
    /// A job has taken the request.
    Started,
    /// A piece of the transcript is final.
    Segment(Segment),
    /// The last event: how it ended.
    Finished(Box<Report>),
    /// The last event: the request never ran.
    Refused(Refusal),
}

/// All that is known of a finished request.
#[derive(Clone, Debug)]
pub struct Report {
    /// What became of it.
    pub outcome: Outcome,
    /// What its job used.
    pub usage: Usage,
    /// What its job told of itself; empty unless it answered.
    pub figures: Figures,
    /// Process id of its job; the service's own in mode `thread`.
    pub pid: i32,
    /// How long it waited for a job.
    pub queued: Duration,
    /// From the hand-over to the job's last word.
    pub wall: Duration,
}

/// A queued or running request.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    id: u64,
    events: mpsc::Receiver<Event>,
    /// When the patience in the queue ends; `None` once the request has left it.
    patience: Option<(Instant, Duration)>,
}

impl Ticket {
    pub(in crate::dispatch) fn new(
        shared: Arc<Shared>,
        id: u64,
        events: mpsc::Receiver<Event>,
        patience: Duration,
    ) -> Self {
        Self {
            shared,
            id,
            events,
            patience: Some((Instant::now() + patience, patience)),
        }
    }

    /// The next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some((until, patience)) = self.patience {
            match tokio::time::timeout_at(until.into(), self.events.recv()).await {
                Ok(event) => {
                    self.patience = None;
                    return event;
                }
                Err(_) => {
                    self.patience = None;
                    let max_running = self.shared.max_running();
                    let mut state = self.shared.state();
                    if let Some(waiting) = state.queue.take(self.id) {
                        let refusal = Refusal::QueueTimeout {
                            waited: patience,
                            retry_after: state.retry_after(Some(waiting.client()), max_running),
                        };
                        waiting.account.refuse(&refusal);
                        return Some(Event::Refused(refusal));
                    }
                }
            }
        }
        self.events.recv().await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // If it still waits, it leaves the queue; if it runs, its job's task sees the closed channel.
        self.shared.state().queue.take(self.id);
    }
}
