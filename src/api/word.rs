//! What becomes of a request, word by word, for whichever protocol tells it to the client.

use super::error::ApiError;
use crate::{
    dispatch::{Event, Refusal, Report, Ticket},
    transcript::Segment,
};

/// What there is to tell.
#[derive(Debug)]
pub(super) enum Word {
    /// A piece of the transcript is final.
    Segment(Segment),
    /// The last word: how it ended.
    Finished(Box<Report>),
    /// The last word: it never ran.
    Refused(ApiError),
}

/// The next word about a request for `model`. Nothing is lost if this is dropped before.
pub(super) async fn next(ticket: &mut Ticket, model: &str) -> Word {
    loop {
        return match ticket.next().await {
            Some(Event::Started) => continue,
            Some(Event::Segment(segment)) => Word::Segment(segment),
            Some(Event::Finished(report)) => Word::Finished(report),
            Some(Event::Refused(refusal)) => Word::Refused(ApiError::refused(&refusal, model)),
            // The scheduler let go of the request without a word: it is going down.
            None => Word::Refused(ApiError::refused(&Refusal::ShuttingDown, model)),
        };
    }
}
