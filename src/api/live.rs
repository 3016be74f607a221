//! Passes a recording to its job while it arrives, through a pipe; the service itself keeps at most
//! one piece.

use std::{io, os::fd::OwnedFd, sync::Arc};

use bytes::{Buf, Bytes};
use tokio::net::unix::pipe::{self, Sender};

use crate::{
    api::{
        error::ApiError,
        word::{self, Word},
    },
    dispatch::{Dispatcher, Feed, Submission, Ticket},
};

/// A recording and the job that hears it. Dropping this kills the job.
#[derive(Debug)]
pub(super) struct Live {
    model: String,
    ticket: Ticket,
    feed: Arc<Feed>,
    /// `None` if no more samples come, or the job does not read any more.
    sender: Option<Sender>,
    /// Bytes for which the pipe has no room yet.
    pending: Bytes,
    is_complete: bool,
    is_answered: bool,
}

/// The next step of a live recording.
#[derive(Debug)]
pub(super) enum Step {
    /// The job took all pending bytes.
    Fed,
    /// A job has taken the request.
    Begun,
    /// The job sent an event.
    Said(Word),
}

impl Live {
    /// Queue `request`, and return the live recording. The job reads the other end of its pipe.
    ///
    /// # Errors
    /// No pipe can be made, or the request is refused.
    pub(super) fn begin(
        dispatcher: &Dispatcher,
        request: impl FnOnce(OwnedFd) -> Submission,
    ) -> Result<Self, ApiError> {
        let ends = || -> io::Result<_> {
            let (sender, receiver) = pipe::pipe()?;
            // Blocking, because the job waits for samples.
            Ok((sender, receiver.into_blocking_fd()?))
        };
        let (sender, end) = ends().map_err(|error| ApiError::storage(&error))?;
        let request = request(end);
        let model = request.model.clone();
        let feed = Arc::<Feed>::default();
        let ticket = dispatcher.submit_live(request, Arc::clone(&feed));
        Ok(Self {
            ticket: ticket.map_err(|refusal| ApiError::refused(&refusal, &model))?,
            model,
            feed,
            sender: Some(sender),
            pending: Bytes::new(),
            is_complete: false,
            is_answered: false,
        })
    }

    /// True if the pipe has taken all bytes.
    pub(super) fn has_room(&self) -> bool {
        self.pending.is_empty()
    }

    /// True if the job has finished successfully.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Record whether we wait for the client: then the job is not at fault if it does nothing.
    pub(super) fn waits(&self, waits: bool) {
        if waits {
            self.feed.waits();
        } else {
            self.feed.arrived();
        }
    }

    /// Add the next samples. Call this only if there is room.
    pub(super) fn take(&mut self, samples: Bytes) {
        if self.sender.is_some() {
            self.pending = samples;
        }
    }

    /// No more samples come.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
        self.feed.arrived();
        self.settle();
    }

    /// Wait until the job takes bytes or, if `hears`, sends an event. Cancel-safe.
    pub(super) async fn step(&mut self, hears: bool) -> Step {
        let Self {
            model,
            ticket,
            feed,
            sender,
            pending,
            is_answered,
            ..
        } = self;
        let step = tokio::select! {
            biased;
            word = word::next_or_start(ticket, model), if hears && !*is_answered => {
                word.map_or(Step::Begun, Step::Said)
            }
            () = pour(sender, pending, feed), if !pending.is_empty() => Step::Fed,
            else => std::future::pending().await,
        };
        self.settle();
        step
    }

    /// The job has answered, perhaps before it has read everything.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
        self.sender = None;
        self.pending.clear();
    }

    fn settle(&mut self) {
        if self.is_complete && self.pending.is_empty() {
            self.sender = None;
        }
    }
}

/// Write `pending` to the job until all is written or the job stops reading. In the latter case its
/// last event tells why.
async fn pour(sender: &mut Option<Sender>, pending: &mut Bytes, feed: &Feed) {
    while let Some(pipe) = sender
        && !pending.is_empty()
    {
        let written = match pipe.writable().await {
            Ok(()) => pipe.try_write(pending),
            Err(error) => Err(error),
        };
        match written {
            Ok(length) => {
                feed.give(length);
                pending.advance(length);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => *sender = None,
        }
    }
    pending.clear();
}
