//! The messages between supervisor and zygote.

use std::{os::fd::OwnedFd, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{channel::Message, needs::StandbyProgram, sandbox::confinement::Confinement};

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
    /// The engine and its settings, encoded. Only the zygote's work can decode them.
    pub settings: Vec<u8>,
    /// Only for engines that run a program. In a zygote: the folder of all scratch directories. In
    /// a job: its own one.
    pub scratch: Option<PathBuf>,
    /// A program that each job can start for its request, if there is one.
    pub standby: Option<StandbyProgram>,
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

impl Message for ToZygote {
    const MAX_DESCRIPTORS: usize = 3;
}
impl Message for FromZygote {
    const MAX_DESCRIPTORS: usize = 1;
}
