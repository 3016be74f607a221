//! Accepted requests that have not ended, as statistics see them.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::lock::lock;
use crate::{
    config::Mode,
    dispatch::request::client::Client,
    isolation::{Gauge, Reading},
};

/// A request that was accepted and has not ended, as statistics see it.
#[derive(Debug)]
pub struct OpenRequest {
    pub(super) id: u64,
    request_id: String,
    pub(super) label: Option<String>,
    client: Client,
    model: String,
    pub(super) phase: Mutex<Phase>,
    pub(super) progress: JobProgress,
}

/// How far a request has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// It is not accepted yet.
    Asked,
    Queued {
        since: Instant,
        /// Whether a job had it already, and died before it had read it.
        again: bool,
    },
    Running {
        since: Instant,
        worker: Worker,
    },
    Ended,
}

/// The job or thread that works on a request.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its process id; the service's own in mode `thread`.
    pub pid: i32,
    /// The job's slot; `None` in mode `thread`.
    pub slot: Option<usize>,
    /// The mode of its model.
    pub(super) mode: Mode,
    gauge: Option<Gauge>,
}

/// The last report of a job about its progress, which statistics can read while it runs.
#[derive(Debug, Default)]
pub struct JobProgress {
    audio_micros: AtomicU64,
    heard_micros: AtomicU64,
    /// 0 if it is unknown.
    total_micros: AtomicU64,
    ending: AtomicBool,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStage {
    /// It has its request and has read no audio yet.
    Assigned,
    /// It has read audio.
    Transcribing,
    /// It said its last word, or was killed.
    Ending,
}

/// A running request at this moment.
#[derive(Debug)]
pub struct RunningJob {
    pub worker: Worker,
    pub age: Duration,
    pub stage: JobStage,
    /// Audio read so far.
    pub audio: Duration,
    /// Audio that the engine is done with.
    pub heard: Duration,
    /// Length of the whole recording, if it is known.
    pub total: Option<Duration>,
}

impl Worker {
    /// The job `pid` of a model in this mode, in its slot.
    pub fn job(pid: i32, slot: usize, mode: Mode, gauge: Gauge) -> Self {
        Self {
            pid,
            slot: Some(slot),
            mode,
            gauge: Some(gauge),
        }
    }

    /// A thread of the service.
    pub fn thread() -> Self {
        Self {
            pid: std::process::id().cast_signed(),
            slot: None,
            mode: Mode::Thread,
            gauge: None,
        }
    }

    /// The resources that it uses at this moment; `None` if unknown.
    pub fn read(&self) -> Option<Reading> {
        self.gauge.as_ref()?.read()
    }
}

impl JobProgress {
    /// The job has read this much `audio`.
    pub fn read(&self, audio: Duration) {
        self.audio_micros.store(micros(audio), Ordering::Relaxed);
    }

    /// The engine is done with this much `audio`, of so much in `total`.
    pub fn heard(&self, audio: Duration, total: Option<Duration>) {
        let total = total.unwrap_or_default();
        self.heard_micros.store(micros(audio), Ordering::Relaxed);
        self.total_micros.store(micros(total), Ordering::Relaxed);
    }

    /// Nothing more will come from the job.
    pub fn ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.read(Duration::ZERO);
        self.heard(Duration::ZERO, None);
        self.ending.store(false, Ordering::Relaxed);
    }

    fn audio(&self) -> Duration {
        Duration::from_micros(self.audio_micros.load(Ordering::Relaxed))
    }

    fn done(&self) -> Duration {
        Duration::from_micros(self.heard_micros.load(Ordering::Relaxed))
    }

    fn total(&self) -> Option<Duration> {
        let total = Duration::from_micros(self.total_micros.load(Ordering::Relaxed));
        (!total.is_zero()).then_some(total)
    }

    fn stage(&self) -> JobStage {
        if self.ending.load(Ordering::Relaxed) {
            JobStage::Ending
        } else if self.audio().is_zero() {
            JobStage::Assigned
        } else {
            JobStage::Transcribing
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl OpenRequest {
    /// A request that is to wait now.
    pub(super) fn new(id: u64, request_id: &str, client: Client, model: &str) -> Self {
        Self {
            id,
            request_id: request_id.into(),
            label: None,
            client,
            model: model.into(),
            phase: Mutex::new(Phase::Asked),
            progress: JobProgress::default(),
        }
    }

    /// Number of the request.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name under which the client knows it.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The client from which it comes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Name of its model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Its job, if it has one.
    pub fn job(&self) -> Option<RunningJob> {
        match &*lock(&self.phase) {
            Phase::Running { since, worker } => Some(RunningJob {
                worker: worker.clone(),
                age: since.elapsed(),
                stage: self.progress.stage(),
                audio: self.progress.audio(),
                heard: self.progress.done(),
                total: self.progress.total(),
            }),
            _ => None,
        }
    }

    /// How long it has waited for a job by now, if it waits.
    pub fn waits_for(&self) -> Option<Duration> {
        match &*lock(&self.phase) {
            Phase::Queued { since, .. } => Some(since.elapsed()),
            _ => None,
        }
    }

    /// The name that the client gave the request before it had its answer, if it is `asker`'s.
    pub fn label(&self, asker: &Client) -> Option<&str> {
        self.label.as_deref().filter(|_| self.client == *asker)
    }
}
