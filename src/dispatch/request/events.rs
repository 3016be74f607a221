//! The events that a client gets about its request, and the report that the last one carries.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::{
    isolation::Usage,
    request::{Figures, Outcome, Refusal},
    transcript::{Hypothesis, Segment},
};

/// Events that can wait for a client before its job has to wait. Segments come every few seconds
/// at most, and hypotheses ten times a second.
const CAPACITY: usize = 16;

/// The events of a request, in this order: `Started`, perhaps `Channels`, any number of `Segment`
/// and `Hypothesis`, `Finished`; or only `Refused`.
#[derive(Debug)]
pub enum RequestEvent {
    /// A job has taken the request.
    Started,
    /// Each of these channels has a speaker of its own. The job hears only the first one: a request
    /// for each of the others is up to the client.
    Channels(Vec<u16>),
    /// A piece of the transcript is final.
    Segment(Segment),
    /// Words that are not final yet. The next segment begins with those that are committed.
    Hypothesis(Hypothesis),
    /// The last event: the request ended like this.
    Finished(Box<Report>),
    /// The last event: the request never ran.
    Refused(Refusal),
}

/// All that is known of a finished request.
#[derive(Clone, Debug)]
pub struct Report {
    /// How the request ended.
    pub outcome: Outcome,
    /// Resources that its job used.
    pub usage: Usage,
    /// Figures that its job told of itself; empty unless the job answered.
    pub figures: Figures,
    /// Process id of its job; the service's own in mode `thread`.
    pub pid: i32,
    /// Time that it waited for a job.
    pub queued: Duration,
    /// Time from the hand-over to the job's last word.
    pub wall: Duration,
}

/// The two ends of the channel through which one request's events reach its client.
pub fn channel() -> (mpsc::Sender<RequestEvent>, mpsc::Receiver<RequestEvent>) {
    mpsc::channel(CAPACITY)
}
