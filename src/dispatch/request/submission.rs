//! A request as the API hands it to the dispatcher.

use std::{io, os::fd::OwnedFd, time::Duration};

use crate::{
    config::{Limits, Share},
    dispatch::request::client::Client,
    request::{Ask, Speakers},
    units::ByteSize,
};

/// One request with its recording, ready to be queued.
#[derive(Debug)]
pub struct Submission {
    /// Name or alias of the model; it must exist.
    pub model: String,
    /// The order for the job and its engine.
    pub ask: Ask,
    /// Limits that the client set below those of the model.
    pub own_limits: OwnLimits,
    /// The recording, readable from its start.
    pub recording: OwnedFd,
    /// How long the recording took to arrive; `None` if it is still coming.
    pub upload: Option<Duration>,
    /// The name under which the client knows the request, for the log.
    pub request_id: String,
    /// The name that the client itself gave the request, to find it in the statistics.
    pub label: Option<String>,
    /// The client from which it comes.
    pub client: Client,
    /// How much this client may have at once.
    pub share: Share,
    /// It is for another channel of a recording of which a job already hears one. The bounds of the
    /// queue do not hold for it: the request as a whole was taken.
    pub follows: bool,
}

impl Submission {
    /// The same request for one channel of the recording, to be heard beside the others.
    ///
    /// # Errors
    /// The recording cannot be given to one more job: descriptors are short.
    pub fn for_channel(&self, channel: u16) -> io::Result<Self> {
        Ok(Self {
            model: self.model.clone(),
            ask: Ask {
                channel: Some(channel),
                speakers: Some(Speakers::Channel),
                ..self.ask.clone()
            },
            own_limits: self.own_limits,
            recording: self.recording.try_clone()?,
            upload: None,
            request_id: self.request_id.clone(),
            label: None,
            client: self.client.clone(),
            share: self.share,
            follows: true,
        })
    }
}

/// Limits that a client sets for its own request. They can only lower the configured ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnLimits {
    /// Memory of the job.
    pub memory: Option<ByteSize>,
    /// Wall-clock time, however much time the recording's length would earn.
    pub deadline: Option<Duration>,
}

impl OwnLimits {
    /// The limits of a job that serves this request, if its model has `limits`. The deadline is
    /// not among them: it depends on the audio that was read.
    pub fn lower(self, mut limits: Limits) -> Limits {
        if let Some(memory) = self.memory {
            limits.memory = limits.memory.min(memory);
        }
        limits
    }
}
