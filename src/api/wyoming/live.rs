//! A recording on its way to its job, while it comes: a pipe, and never more in the service's own memory than one piece.

use std::{io, os::fd::OwnedFd, sync::Arc};

use bytes::{Buf, Bytes};
use tokio::net::unix::pipe::{self, Sender};

use crate::{
    api::{
        error::ApiError,
        word::{self, Word},
    },
    dispatch::{Dispatcher, Feed, Request, Ticket},
};

/// One recording and the job that hears it. Dropping this kills the job.
#[derive(Debug)]
pub(super) struct Live {
    model: String,
    ticket: Ticket,
    feed: Arc<Feed>,
    /// `None`: nothing more comes, or nobody hears it any more.
    sender: Option<Sender>,
    /// What the pipe has no room for yet.
    pending: Bytes,
    is_complete: bool,
    is_answered: bool,
}

/// What happened next.
#[derive(Debug)]
pub(super) enum Step {
    /// The job took what was there.
    Fed,
    /// The job said something.
    Said(Word),
}

impl Live {
    /// Queue the job that `request` makes of the end of the pipe at which the recording comes out.
    ///
    /// # Errors
    /// There is no pipe to be had, or the request is refused.
    pub(super) fn begin(
        dispatcher: &Dispatcher,
        request: impl FnOnce(OwnedFd) -> Request,
    ) -> Result<Self, ApiError> {
        let ends = || -> io::Result<_> {
            let (sender, receiver) = pipe::pipe()?;
            // The job waits for what comes.
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

    /// Whether the pipe has taken all that was there.
    pub(super) fn has_room(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the job has said its last word, and a good one.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Whether the client is waited for: not the job's fault then if it does nothing.
    pub(super) fn waits(&self, waits: bool) {
        match waits {
            true => self.feed.waits(),
            false => self.feed.arrived(),
        }
    }

    /// The next samples, once there is room.
    pub(super) fn take(&mut self, samples: Bytes) {
        if self.sender.is_some() {
            self.pending = samples;
        }
    }

    /// Nothing more comes.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
        self.feed.arrived();
        self.settle();
    }

    /// Wait until the job takes something, or (if `hears`) says something. Nothing is lost if this is dropped before.
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
            word = word::next(ticket, model), if hears && !*is_answered => Step::Said(word),
            () = pour(sender, pending, feed), if !pending.is_empty() => Step::Fed,
            else => std::future::pending().await,
        };
        self.settle();
        step
    }

    /// The job has answered; it may have done so before it had heard everything.
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

/// Give the job what it has room for; all of it, unless it hears nothing any more, of which its last word will tell why.
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
