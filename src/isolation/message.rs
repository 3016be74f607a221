//! Every message between supervisor, zygote and job; what a child says is hostile until checked.

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{channel::Message, sandbox::confinement::Confinement};
use crate::{config::EngineSettings, transcript::Segment};

/// Supervisor to zygote.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToZygote {
    /// Load this model. The first message, sent once. Descriptor: the engine's secret, if it has one that is in no file.
    Load(Load),
    /// Fork a job. Descriptors: the job's end of its channel, its stderr, and, where jobs have cgroups,
    /// the directory of the leaf in which it is to be born.
    Fork {
        /// The scratch directory of the job's program, if it has one.
        scratch: Option<PathBuf>,
        /// Whether no request waits for it.
        ahead: bool,
    },
}

/// What a zygote must know to load its model.
#[derive(Debug, Serialize, Deserialize)]
pub struct Load {
    /// Name of the model, for the process's own name.
    pub model: String,
    /// The engine and its files.
    pub engine: EngineSettings,
    /// In a zygote the folder of all scratch directories, in a job its own one; only for engines that run a program.
    pub scratch: Option<PathBuf>,
    /// The engine's secret, where it is in no file; on its way a descriptor beside the message.
    #[serde(skip)]
    pub secret: Option<OwnedFd>,
}

/// Zygote to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromZygote {
    /// The model is loaded; jobs can be forked.
    Loaded(Confinement),
    /// The model cannot be loaded; the zygote exits.
    LoadFailed(String),
    /// A job was forked. Descriptor: its pidfd.
    Forked {
        /// Its process id, for logs and statistics only.
        pid: i32,
    },
    /// No job could be forked; the zygote goes on.
    ForkFailed(String),
}

/// Supervisor to job.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToJob {
    /// Transcribe this. Descriptor: the recording, readable only. The next one comes, if any does, after the last word
    /// about this one.
    Transcribe(JobRequest),
}

/// One request as the job sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Number of the request; every answer to it bears the same.
    pub id: u64,
    /// ISO 639-1 code of the spoken language, where the client gave one.
    pub language: Option<String>,
    /// Text that leads up to the recording, or shows how to write; only for models that can be given one.
    pub prompt: Option<String>,
    /// Words to be expected; only for models that can be told.
    pub keywords: Vec<String>,
    /// How freely to choose among likely words, 0 to 1; only for models that do.
    pub temperature: Option<f32>,
    /// Write in English what is said; only for models that can.
    pub translate: bool,
    /// Extension of the upload's file name: a hint for the decoder, no more.
    pub extension: Option<String>,
    /// Media type of the upload: likewise.
    pub media_type: Option<String>,
    /// The only channel to listen to, counted from 0; `None` mixes all.
    pub channel: Option<u16>,
    /// The service's own question whether the model works: no reason to trouble anybody elsewhere.
    pub self_test: bool,
    /// Leave out what is no speech, if the engine does not do so itself.
    pub vad: bool,
    /// Longest recording that is transcribed.
    pub max_audio: Duration,
    /// What a test asks of the engine `fault`; `None` for every other engine.
    pub fault: Option<String>,
}

/// Job to supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromJob {
    /// Sandboxed, warm, and waiting for a request.
    Ready,
    /// The model cannot be loaded into this job; why. The only message: the job is of no use.
    LoadFailed(String),
    /// A job that has served before has this request now: nothing that it said until here was about it. Not said to
    /// the first request of a job, before which there was nothing to say.
    Taken {
        /// The request.
        id: u64,
    },
    /// So much of the recording has been decoded; never less than before.
    Progress {
        /// The request that this answers.
        id: u64,
        /// Audio decoded so far.
        audio: Duration,
    },
    /// A piece of the transcript, final.
    Segment {
        /// The request that this answers.
        id: u64,
        /// The piece; not before the one before it.
        segment: Segment,
    },
    /// The recording is transcribed. The last message about this request.
    Done {
        /// The request that this answers.
        id: u64,
        /// What the job measured of itself.
        figures: Figures,
    },
    /// The request cannot be answered. The last message about this request.
    Failed {
        /// The request that this answers.
        id: u64,
        /// Why.
        failure: Failure,
    },
    /// The job asked the kernel for something that its policy forbids, and is ending. The last message.
    Violation {
        /// Number of the system call, `u32::MAX` if it is unknown.
        call: u32,
    },
}

/// What a job tells of its own work. Times are the job's word; limits are never judged by them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Length of the decoded recording.
    pub audio: Duration,
    /// Wall-clock time spent on decoding and resampling.
    pub decode: Duration,
    /// Wall-clock time spent on finding the speech and in the engine.
    pub transcribe: Duration,
    /// ISO 639 code of the language that was heard, where the engine found that out.
    pub language: Option<String>,
    /// What the client should know though the request succeeded, in whole sentences.
    pub warnings: Vec<String>,
}

/// An orderly failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// What is wrong and what to do, in one sentence for the client.
    pub message: String,
}

/// Whose fault an orderly failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The recording cannot be read.
    InvalidAudio,
    /// Likewise, and its decoder gave up in the middle of its work: the job is of no use to anybody else.
    BrokenDecoder,
    /// The recording is longer than the model's `limits.max_audio`.
    AudioTooLong,
    /// The engine gave up.
    Engine,
    /// The job's program broke the protocol.
    Misbehaved,
    /// The service that the engine asks refused: the key, or what was asked of it.
    UpstreamRefused,
    /// That service has too much to do.
    UpstreamBusy,
    /// That service failed, or cannot be reached.
    UpstreamFailed,
    /// That service did not answer in time.
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
    // A job has nothing to give but words: a descriptor from it is a violation of the protocol.
    const MAX_DESCRIPTORS: usize = 0;
}
