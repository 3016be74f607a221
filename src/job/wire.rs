//! The messages between the supervisor and a job. A job's messages are hostile until checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    isolation::{self, channel::Message},
    request::{Ask, Failure, Figures},
    transcript::{Hypothesis, Segment},
};

/// A zygote whose jobs speak these words.
pub type ZygoteProcess = isolation::ZygoteProcess<ToJob, FromJob>;

/// A job that speaks these words, as its supervisor holds it.
pub type JobProcess = isolation::JobProcess<ToJob, FromJob>;

/// The job's end of its channel.
pub type JobChannel = isolation::channel::Channel<FromJob, ToJob>;

/// A message from the supervisor to a job.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToJob {
    /// Transcribe this. Descriptor: the recording, readable only. The next order, if any, comes
    /// after the last message about this one.
    Transcribe(Order),
}

/// One request as its job gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Number of the request; every answer to it bears the same number.
    pub id: u64,
    /// Longest recording that is transcribed.
    pub max_audio: Duration,
    /// The client's wishes for this request.
    pub ask: Ask,
}

/// A message from a job to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromJob {
    /// The job is sandboxed and waits for a request.
    Ready,
    /// The model cannot be loaded into this job; the reason. The only message of a useless job.
    LoadFailed(String),
    /// A job that has served before now has this request: none of its earlier messages was about
    /// it. A job's first request is not announced like this, because no message came before it.
    Taken {
        /// Number of the request that was taken.
        id: u64,
    },
    /// This much of the recording has been decoded; never less than before.
    Progress {
        /// The request that this answers.
        id: u64,
        /// Audio decoded so far.
        audio: Duration,
    },
    /// Each of these channels has a speaker of its own. The job goes on with the first one, and
    /// leaves the others to other jobs. Said at most once, before any segment, and only if the
    /// order is to find the speakers.
    Channels {
        /// The request that this answers.
        id: u64,
        /// Numbers of the channels, from 0 and ascending.
        channels: Vec<u16>,
    },
    /// A piece of the transcript, final.
    Segment {
        /// The request that this answers.
        id: u64,
        /// The piece; it does not begin before the previous one.
        segment: Segment,
    },
    /// The recording is transcribed. The last message about this request.
    Done {
        /// The request that this answers.
        id: u64,
        /// The job's report about its own work.
        figures: Figures,
    },
    /// The request cannot be answered. The last message about this request.
    Failed {
        /// The request that this answers.
        id: u64,
        /// The reason, in the job's words.
        failure: Failure,
    },
    /// The job made a system call that its policy forbids, and is ending. The last message.
    Violation {
        /// Number of the system call, `u32::MAX` if it is unknown.
        call: u32,
    },
    /// The engine is done with this much of the recording. Only people want to know.
    Heard {
        /// The request that this answers.
        id: u64,
        /// Audio that the engine is done with; never less than before.
        audio: Duration,
        /// Length of the whole recording, if it is known by now.
        total: Option<Duration>,
    },
    /// Words that are not final yet. Said only if the order asks for them.
    Hypothesis {
        /// The request that this answers.
        id: u64,
        /// The text since the last segment that is new, and the rest of it.
        hypothesis: Hypothesis,
    },
}

impl Message for ToJob {
    const MAX_DESCRIPTORS: usize = 1;
}

impl Message for FromJob {
    // A job gives nothing but words: a descriptor from it violates the protocol.
    const MAX_DESCRIPTORS: usize = 0;
}
