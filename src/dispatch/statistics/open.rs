//! Requests that are under way, as others see them.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::lock;
use crate::{
    config::Mode,
    isolation::{Gauge, Reading},
    job::wire::JobProcess,
};

/// A request that was accepted and has not ended, as others see it.
#[derive(Debug)]
pub(in crate::dispatch) struct Open {
    pub(super) id: u64,
    request_id: String,
    uid: Option<u32>,
    model: String,
    pub(super) phase: Mutex<Phase>,
    pub(super) progress: Progress,
}

/// Where it is on its way.
#[derive(Debug)]
pub(super) enum Phase {
    /// Not accepted yet.
    Asked,
    Queued {
        since: Instant,
        /// A job that had it died before it had read it.
        again: bool,
    },
    Running {
        since: Instant,
        worker: Worker,
    },
    Ended,
}

/// What works on a request.
#[derive(Clone, Debug)]
pub(in crate::dispatch) struct Worker {
    /// Its process id; the service's own in mode `thread`.
    pub(in crate::dispatch) pid: i32,
    /// Where the job runs; `None` in mode `thread`.
    pub(in crate::dispatch) slot: Option<usize>,
    /// What it is.
    pub(super) mode: Mode,
    gauge: Option<Gauge>,
}

/// What a job was last heard of, written while it runs and read by whoever wants to know.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Progress {
    audio_micros: AtomicU64,
    ending: AtomicBool,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It has its request and has read no audio yet.
    Assigned,
    /// It has read audio.
    Transcribing,
    /// It said its last word, or was killed.
    Ending,
}

/// A running request at this moment.
#[derive(Debug)]
pub(in crate::dispatch) struct RunningJob {
    pub(in crate::dispatch) worker: Worker,
    pub(in crate::dispatch) age: Duration,
    pub(in crate::dispatch) stage: Stage,
    /// Audio read so far.
    pub(in crate::dispatch) audio: Duration,
}

impl Worker {
    /// A job of a model in this mode.
    pub(in crate::dispatch) fn job(job: &mut JobProcess, mode: Mode) -> Self {
        Self {
            pid: job.pid(),
            slot: Some(job.slot().index()),
            mode,
            gauge: Some(job.gauge()),
        }
    }

    /// A thread of the service.
    pub(in crate::dispatch) fn thread() -> Self {
        Self {
            pid: std::process::id().cast_signed(),
            slot: None,
            mode: Mode::Thread,
            gauge: None,
        }
    }

    /// What it uses at this moment.
    pub(in crate::dispatch) fn read(&self) -> Option<Reading> {
        self.gauge.as_ref()?.read()
    }
}

impl Progress {
    /// So much audio was read.
    pub(in crate::dispatch) fn heard(&self, audio: Duration) {
        let micros = u64::try_from(audio.as_micros()).unwrap_or(u64::MAX);
        self.audio_micros.store(micros, Ordering::Relaxed);
    }

    /// Nothing more will come from the job.
    pub(in crate::dispatch) fn ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.audio_micros.store(0, Ordering::Relaxed);
        self.ending.store(false, Ordering::Relaxed);
    }

    fn audio(&self) -> Duration {
        Duration::from_micros(self.audio_micros.load(Ordering::Relaxed))
    }

    fn stage(&self) -> Stage {
        if self.ending.load(Ordering::Relaxed) {
            Stage::Ending
        } else if self.audio().is_zero() {
            Stage::Assigned
        } else {
            Stage::Transcribing
        }
    }
}

impl Open {
    /// One that is to wait now.
    pub(super) fn new(id: u64, request_id: &str, uid: Option<u32>, model: &str) -> Self {
        Self {
            id,
            request_id: request_id.into(),
            uid,
            model: model.into(),
            phase: Mutex::new(Phase::Asked),
            progress: Progress::default(),
        }
    }

    /// Number of the request.
    pub(in crate::dispatch) fn id(&self) -> u64 {
        self.id
    }

    /// The name under which the client knows it.
    pub(in crate::dispatch) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Whose it is.
    pub(in crate::dispatch) fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// Name of its model.
    pub(in crate::dispatch) fn model(&self) -> &str {
        &self.model
    }

    /// Its job, if it has one.
    pub(in crate::dispatch) fn job(&self) -> Option<RunningJob> {
        match &*lock(&self.phase) {
            Phase::Running { since, worker } => Some(RunningJob {
                worker: worker.clone(),
                age: since.elapsed(),
                stage: self.progress.stage(),
                audio: self.progress.audio(),
            }),
            _ => None,
        }
    }
}
