//! The books of one request: accepted once, ended once, in exactly one way, whatever happens to it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Books,
    kinds::{Ending, Latency, Refused},
    lock, record,
};
use crate::{
    config::Mode,
    dispatch::ticket::{Refusal, Report},
    isolation::{Gauge, JobProcess, Outcome, Reading},
};

/// One request's books. It is accepted when it first waits in the queue. Dropped before it has ended it counts as
/// cancelled if it still waits, for then its client let go of it; else as ended by the end of the service.
#[derive(Debug)]
pub(in crate::dispatch) struct Account {
    /// `None` for a self-test, which is in nobody's books.
    books: Option<Arc<Books>>,
    open: Arc<Open>,
}

/// A request that was accepted and has not ended, as others see it.
#[derive(Debug)]
pub(in crate::dispatch) struct Open {
    id: u64,
    request_id: String,
    uid: Option<u32>,
    model: String,
    phase: Mutex<Phase>,
    progress: Progress,
}

#[derive(Debug)]
enum Phase {
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

    fn reset(&self) {
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

impl Account {
    /// That of a request which is to wait now.
    pub(in crate::dispatch) fn new(
        books: &Arc<Books>,
        id: u64,
        request_id: &str,
        uid: Option<u32>,
    ) -> Self {
        let open = Open {
            id,
            request_id: request_id.into(),
            uid,
            model: books.model.clone(),
            phase: Mutex::new(Phase::Asked),
            progress: Progress::default(),
        };
        Self {
            books: Some(books.clone()),
            open: Arc::new(open),
        }
    }

    /// That of a self-test or canary, which counts nowhere.
    pub(in crate::dispatch) fn of_self_test() -> Self {
        let open = Open {
            id: 0,
            request_id: String::new(),
            uid: None,
            model: String::new(),
            phase: Mutex::new(Phase::Asked),
            progress: Progress::default(),
        };
        Self {
            books: None,
            open: Arc::new(open),
        }
    }

    /// What the job tells of its work.
    pub(in crate::dispatch) fn progress(&self) -> &Progress {
        &self.open.progress
    }

    /// It waits for a job: it is accepted, or was given back by one that died before it had read it.
    pub(in crate::dispatch) fn waits(&self) {
        let Some(books) = &self.books else { return };
        let mut phase = lock(&self.open.phase);
        let (since, again) = match &*phase {
            Phase::Asked => (Instant::now(), false),
            Phase::Running { since, .. } => (*since, true),
            // A spare that was to have it was dead already, and nobody has noticed.
            Phase::Queued { .. } | Phase::Ended => return,
        };
        *phase = Phase::Queued { since, again };
        if !again {
            books.enter(|ledger| ledger.accepted += 1);
            lock(&books.open).insert(self.open.id, self.open.clone());
        }
    }

    /// A job has it.
    pub(in crate::dispatch) fn begin(&self, worker: Worker) {
        let Some(books) = &self.books else { return };
        self.waits();
        let mut phase = lock(&self.open.phase);
        if let Phase::Queued { since, again } = *phase {
            let now = Instant::now();
            if !again {
                books.observe(Latency::Queue, now - since);
            }
            self.open.progress.reset();
            *phase = Phase::Running { since: now, worker };
        }
    }

    /// Its job is done with it.
    pub(in crate::dispatch) fn finish(&self, report: &Report) {
        let Some(books) = &self.books else { return };
        let ending = Ending::of(&report.outcome);
        let Some(Phase::Running { worker, .. }) = self.settle(ending) else {
            return;
        };
        let figures = &report.figures;
        books.enter(|ledger| {
            ledger.cpu += report.usage.cpu;
            ledger.peak = ledger.peak.max(report.usage.peak);
        });
        if ending == Ending::Ok {
            books.enter(|ledger| ledger.audio += figures.audio);
            books.observe(Latency::Decode, figures.decode);
            books.observe(Latency::Transcribe, figures.transcribe);
            let work = figures.decode + figures.transcribe;
            books.observe(Latency::HandOver, report.wall.saturating_sub(work));
        }
        record::served(&self.open, ending, report, &worker);
    }

    /// It will not get a job.
    pub(in crate::dispatch) fn refuse(&self, refusal: &Refusal) {
        self.give_up(Ending::of_refusal(refusal), &refusal.to_string());
    }

    /// It ends without an answer of a job's.
    fn give_up(&self, ending: Ending, reason: &str) {
        if let Some(Phase::Queued { since, .. } | Phase::Running { since, .. }) =
            self.settle(ending)
        {
            record::unserved(&self.open, ending, since.elapsed(), reason);
        }
    }

    /// It ends, unless it has ended already or was never accepted. Gives what it was in until now.
    fn settle(&self, ending: Ending) -> Option<Phase> {
        let books = self.books.as_ref()?;
        let mut phase = lock(&self.open.phase);
        if matches!(*phase, Phase::Asked | Phase::Ended) {
            return None;
        }
        books.enter(|ledger| ledger.ended.count(ending));
        lock(&books.open).remove(&self.open.id);
        Some(std::mem::replace(&mut *phase, Phase::Ended))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let running = matches!(*lock(&self.open.phase), Phase::Running { .. });
        match running {
            true => self.give_up(Ending::ShuttingDown, "the service is shutting down"),
            false => self.give_up(Ending::Cancelled, "its client went away"),
        }
    }
}

impl Open {
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

impl Ending {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::InvalidAudio(_) => Self::InvalidAudio,
            Outcome::AudioTooLong(_) => Self::AudioTooLong,
            Outcome::EngineFailed(_) => Self::EngineFailed,
            Outcome::UpstreamRefused(_) => Self::UpstreamRefused,
            Outcome::UpstreamBusy(_) => Self::UpstreamBusy,
            Outcome::UpstreamFailed(_) => Self::UpstreamFailed,
            Outcome::MemoryLimit { .. } => Self::MemoryLimitExceeded,
            Outcome::Crashed(_) => Self::WorkerCrashed,
            Outcome::Misbehaved(_) | Outcome::Violation { .. } => Self::WorkerMisbehaved,
            Outcome::UpstreamSilent(_) | Outcome::Timeout { .. } => Self::Timeout,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Stopped => Self::ShuttingDown,
        }
    }

    /// Of a request that was accepted first.
    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal {
            // A queue that is full drives nobody out; its waiting time does.
            Refusal::QueueTimeout { .. }
            | Refusal::QueueFull { .. }
            | Refusal::UserLimit { .. } => Self::QueueTimeout,
            Refusal::EngineUnavailable { .. } | Refusal::UnknownModel => Self::EngineUnavailable,
            Refusal::ShuttingDown => Self::ShuttingDown,
        }
    }
}

impl Refused {
    /// `None` for what is no refusal of a model's request: there is no such model, or the request was accepted first.
    pub(super) fn of(refusal: &Refusal) -> Option<Self> {
        match refusal {
            Refusal::QueueFull { .. } => Some(Self::QueueFull),
            Refusal::UserLimit { .. } => Some(Self::UserLimit),
            Refusal::EngineUnavailable { .. } => Some(Self::EngineUnavailable),
            Refusal::ShuttingDown => Some(Self::ShuttingDown),
            Refusal::UnknownModel | Refusal::QueueTimeout { .. } => None,
        }
    }
}
