//! The books of one request: accepted once, ended once, in exactly one way, whatever happens to it.

use std::{sync::Arc, time::Instant};

use super::{
    Books,
    kinds::Latency,
    lock,
    open::{Open, Phase, Progress, Worker},
    record,
};
use crate::{
    dispatch::state::ticket::Report,
    request::{Code, Refusal},
};

/// One request's books. It is accepted when it first waits in the queue. Dropped before it has ended it counts as
/// cancelled if it still waits, for then its client let go of it; else as ended by the end of the service.
#[derive(Debug)]
pub(in crate::dispatch) struct Account {
    /// `None` for a self-test, which is in nobody's books.
    books: Option<Arc<Books>>,
    open: Arc<Open>,
}

impl Account {
    /// That of a request which is to wait now.
    pub(in crate::dispatch) fn new(
        books: &Arc<Books>,
        id: u64,
        request_id: &str,
        uid: Option<u32>,
    ) -> Self {
        let open = Open::new(id, request_id, uid, &books.model);
        Self {
            books: Some(books.clone()),
            open: Arc::new(open),
        }
    }

    /// That of a self-test or canary, which counts nowhere.
    pub(in crate::dispatch) fn of_self_test() -> Self {
        let open = Open::new(0, "", None, "");
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
        let code = report.outcome.code();
        let Some(Phase::Running { worker, .. }) = self.settle(code) else {
            return;
        };
        let figures = &report.figures;
        books.enter(|ledger| {
            ledger.cpu += report.usage.cpu;
            ledger.peak = ledger.peak.max(report.usage.peak);
        });
        if code == Code::Ok {
            books.enter(|ledger| ledger.audio += figures.audio);
            books.observe(Latency::Decode, figures.decode);
            books.observe(Latency::Transcribe, figures.transcribe);
            let work = figures.decode + figures.transcribe;
            books.observe(Latency::HandOver, report.wall.saturating_sub(work));
        }
        record::served(&self.open, report, &worker);
    }

    /// It will not get a job.
    pub(in crate::dispatch) fn refuse(&self, refusal: &Refusal) {
        // A queue that is full drives nobody out, and no model that had requests is unknown.
        let code = match refusal {
            Refusal::QueueFull { .. } | Refusal::UserLimit { .. } => Code::QueueTimeout,
            Refusal::UnknownModel => Code::EngineUnavailable,
            refusal => refusal.code(),
        };
        self.give_up(code, &refusal.to_string());
    }

    /// It ends without an answer of a job's.
    fn give_up(&self, code: Code, reason: &str) {
        if let Some(Phase::Queued { since, .. } | Phase::Running { since, .. }) = self.settle(code)
        {
            record::unserved(&self.open, code, since.elapsed(), reason);
        }
    }

    /// It ends, unless it has ended already or was never accepted. Gives what it was in until now.
    fn settle(&self, code: Code) -> Option<Phase> {
        let books = self.books.as_ref()?;
        let mut phase = lock(&self.open.phase);
        if matches!(*phase, Phase::Asked | Phase::Ended) {
            return None;
        }
        books.enter(|ledger| ledger.ended.count(code));
        lock(&books.open).remove(&self.open.id);
        Some(std::mem::replace(&mut *phase, Phase::Ended))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let running = matches!(*lock(&self.open.phase), Phase::Running { .. });
        match running {
            true => self.give_up(Code::ShuttingDown, "the service is shutting down"),
            false => self.give_up(Code::Cancelled, "its client went away"),
        }
    }
}
