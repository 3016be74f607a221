//! All messages between supervisor, zygote and job. A child's messages are hostile until checked.

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{channel::Message, sandbox::confinement::Confinement};
use crate::{config::EngineSettings, transcript::Segment};

/// Messages from supervisor to zygote.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToZygote {
    /// Load this model. The first message, sent once. Descriptor: the engine's secret, if it has
    /// one that is not in a file.
    Load(Load),
    /// Fork a job. Descriptors: the job's end of its channel, its stderr, and, if jobs have
    /// cgroups, the directory of the leaf in which the job is born.
    Fork {
        /// Scratch directory of the job's program, if it has one.
        scratch: Option<PathBuf>,
        /// True if no request waits for the job.
        ahead: bool,
    },
}

/// Everything that a zygote needs to load its model.
#[derive(Debug, Serialize, Deserialize)]
pub struct Load {
    /// Name of the model, used as the name of the process.
    pub model: String,
    /// The engine's settings, with the paths of its files.
    pub engine: EngineSettings,
    /// Only for engines that run a program. In a zygote: the folder of all scratch directories. In
    /// a job: its own one.
    pub scratch: Option<PathBuf>,
    /// The engine's secret, if it is not in a file. It travels as a descriptor next to the message.
    #[serde(skip)]
    pub secret: Option<OwnedFd>,
}

/// Messages from zygote to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromZygote {
    /// The model is loaded, and jobs can be forked.
    Loaded(Confinement),
    /// The model cannot be loaded, and the zygote exits.
    LoadFailed(String),
    /// A job was forked. Descriptor: its pidfd.
    Forked {
        /// Process id of the job, only for logs and statistics.
        pid: i32,
    },
    /// The job could not be forked; the zygote continues.
    ForkFailed(String),
}

/// Messages from supervisor to job.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToJob {
    /// Transcribe this recording. Descriptor: the recording, read-only. If there is a next request,
    /// it comes after the last message about this one.
    Transcribe(JobRequest),
}

/// One request as the job sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Number of the request. Every answer to it carries the same number.
    pub id: u64,
    /// ISO 639-1 code of the spoken language, if the client gave one.
    pub language: Option<String>,
    /// Text that precedes the recording or shows how to write it; only for models that accept one.
    pub prompt: Option<String>,
    /// Words to expect; only for models that accept them.
    pub keywords: Vec<String>,
    /// Sampling temperature, 0 to 1: how freely to choose among likely words. Only for models that
    /// sample.
    pub temperature: Option<f32>,
    /// Translate the speech into English; only for models that can.
    pub translate: bool,
    /// Extension of the upload's file name. It is only a hint for the decoder.
    pub extension: Option<String>,
    /// Media type of the upload. It is only a hint for the decoder.
    pub media_type: Option<String>,
    /// Number of the only channel to transcribe, from 0; `None` mixes all.
    pub channel: Option<u16>,
    /// True for the service's own test of the model, for which no remote service needs to be asked.
    pub self_test: bool,
    /// Leave out parts without speech, if the engine does not do so itself.
    pub vad: bool,
    /// Longest recording that is transcribed.
    pub max_audio: Duration,
    /// The fault that a test requests from the engine `fault`; `None` for all other engines.
    pub fault: Option<String>,
}

/// Messages from job to supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromJob {
    /// The job is sandboxed, warm, and waits for a request.
    Ready,
    /// The model cannot be loaded into this job; holds the reason. The only message: the job cannot
    /// be used.
    LoadFailed(String),
    /// A job that has served before now has this request: none of its earlier messages was about
    /// it. A job does not send this for its first request, before which it has sent only `Ready`.
    Taken {
        /// Number of the request.
        id: u64,
    },
    /// Progress of decoding; never less than before.
    Progress {
        /// Number of the request that this answers.
        id: u64,
        /// Audio decoded so far.
        audio: Duration,
    },
    /// A final part of the transcript.
    Segment {
        /// Number of the request that this answers.
        id: u64,
        /// The segment; it does not begin before the previous one.
        segment: Segment,
    },
    /// The recording is transcribed. The last message about this request.
    Done {
        /// Number of the request that this answers.
        id: u64,
        /// The job's own measurements.
        figures: Figures,
    },
    /// The request failed. The last message about this request.
    Failed {
        /// Number of the request that this answers.
        id: u64,
        /// Kind of the failure, and its message.
        failure: Failure,
    },
    /// The job made a system call that its policy forbids, and is ending. The last message.
    Violation {
        /// Number of the system call; `u32::MAX` if it is unknown.
        call: u32,
    },
}

/// Measurements that a job makes of its own work. The times are only the job's claim; limits are
/// never judged by them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Length of the decoded recording.
    pub audio: Duration,
    /// Wall-clock time spent on decoding and resampling.
    pub decode: Duration,
    /// Wall-clock time spent on finding the speech and in the engine.
    pub transcribe: Duration,
    /// ISO 639 code of the detected language, if the engine detects it.
    pub language: Option<String>,
    /// Warnings for the client although the request succeeded, in whole sentences.
    pub warnings: Vec<String>,
}

/// A failure that the job itself reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The side that caused it.
    pub kind: FailureKind,
    /// One sentence for the client: the problem and its remedy.
    pub message: String,
}

/// The side that caused a reported failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The recording cannot be read.
    InvalidAudio,
    /// The recording cannot be read, and its decoder panicked: the job cannot serve another
    /// request.
    BrokenDecoder,
    /// The recording is longer than the model's `limits.max_audio`.
    AudioTooLong,
    /// The engine failed.
    Engine,
    /// The job's program broke the protocol.
    Misbehaved,
    /// The engine's remote service refused: the key, or the request.
    UpstreamRefused,
    /// The engine's remote service is overloaded.
    UpstreamBusy,
    /// The engine's remote service failed or cannot be reached.
    UpstreamFailed,
    /// The engine's remote service did not answer in time.
    UpstreamSilent,
}

impl Message for ToZygote {
    const MAX_DESCRIPTORS: usize = 3;
}
impl Message for FromZygote {
    const MAX_DESCRIPTORS: usize = 1;
}
impl Message for ToJob {
    const MAX_DESCRIPTORS: usize = 1;
}
impl Message for FromJob {
    // A job sends only words: a descriptor from it violates the protocol.
    const MAX_DESCRIPTORS: usize = 0;
}
