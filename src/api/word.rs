//! Events of a request in the form that every protocol passes on to its client.

use super::error::ApiError;
use crate::{
    dispatch::{Report, RequestEvent, Ticket},
    request::Refusal,
    transcript::{Hypothesis, Segment},
};

/// An event of a request.
#[derive(Debug)]
pub(super) enum Word {
    /// A final segment of the transcript.
    Segment(Segment),
    /// Words that are not final yet.
    Hypothesis(Hypothesis),
    /// The request has ended. The last event.
    Finished(Box<Report>),
    /// The request never ran. The last event.
    Refused(ApiError),
}

/// Wait for the next event of a request for `model`. Cancel-safe.
pub(super) async fn next(ticket: &mut Ticket, model: &str) -> Word {
    loop {
        if let Some(word) = next_or_start(ticket, model).await {
            return word;
        }
    }
}

/// Wait for the next event of a request for `model`. `None` means that a job has taken it.
/// Cancel-safe.
pub(super) async fn next_or_start(ticket: &mut Ticket, model: &str) -> Option<Word> {
    Some(match ticket.next().await {
        Some(RequestEvent::Started | RequestEvent::Channels(_)) => return None,
        Some(RequestEvent::Segment(segment)) => Word::Segment(segment),
        Some(RequestEvent::Hypothesis(hypothesis)) => Word::Hypothesis(hypothesis),
        Some(RequestEvent::Finished(report)) => Word::Finished(report),
        Some(RequestEvent::Refused(refusal)) => Word::Refused(ApiError::refused(&refusal, model)),
        // The scheduler dropped the request without an event, so it is shutting down.
        None => Word::Refused(ApiError::refused(&Refusal::ShuttingDown, model)),
    })
}
