//! The books of one request: it is accepted once, and it ends once, in exactly one way.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    books::Books,
    kinds::Latency,
    lock::lock,
    open::{JobProgress, OpenRequest, Phase, Worker},
    record,
};
use crate::{
    dispatch::request::{client::Client, events::Report},
    request::{Code, Refusal},
};

/// One request's books. The request is accepted when it first waits in the queue. If this is
/// dropped before the request has ended, the request ends now. If it still waits, its client let go
/// of it, and it counts as cancelled. Otherwise the end of the service has ended it.
#[derive(Debug)]
pub struct Account {
    /// `None` for a self-test, which does not count.
    books: Option<Arc<Books>>,
    open: Arc<OpenRequest>,
}

impl Account {
    /// The account of a request that is to wait now.
    pub fn new(books: &Arc<Books>, id: u64, request_id: &str, client: Client) -> Self {
        let open = OpenRequest::new(id, request_id, client, &books.model);
        Self {
            books: Some(books.clone()),
            open: Arc::new(open),
        }
    }

    /// The same, with the name that the client gave the request.
    pub fn labelled(mut self, label: Option<String>) -> Self {
        if let Some(open) = Arc::get_mut(&mut self.open) {
            open.label = label;
        }
        self
    }

    /// The account of a self-test or canary, which does not count.
    pub fn of_self_test() -> Self {
        let open = OpenRequest::new(0, "", Client::Service, "");
        Self {
            books: None,
            open: Arc::new(open),
        }
    }

    /// The place for the job's reports about its progress.
    pub fn progress(&self) -> &JobProgress {
        &self.open.progress
    }

    /// The request waits for a job: either it is accepted now, or its job died before it had read
    /// the request.
    pub fn waits(&self) {
        let Some(books) = &self.books else { return };
        let mut phase = lock(&self.open.phase);
        let (since, again) = match &*phase {
            Phase::Asked => (Instant::now(), false),
            Phase::Running { since, .. } => (*since, true),
            // The spare that was to get it was dead already: it has waited all the time.
            Phase::Queued { .. } | Phase::Ended => return,
        };
        *phase = Phase::Queued { since, again };
        if !again {
            books.enter(|ledger| ledger.accepted += 1);
            lock(&books.open).insert(self.open.id, self.open.clone());
        }
    }

    /// A job has got the request.
    pub fn begin(&self, worker: Worker) {
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

    /// The job is done with the request.
    pub fn finish(&self, report: &Report) {
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

    /// The request will not get a job.
    pub fn refuse(&self, refusal: &Refusal) {
        // A full queue does not end requests in it, and the model of a request in it was known.
        let code = match refusal {
            Refusal::QueueFull { .. } | Refusal::UserLimit { .. } => Code::QueueTimeout,
            Refusal::UnknownModel => Code::EngineUnavailable,
            refusal => refusal.code(),
        };
        self.give_up(code, &refusal.to_string());
    }

    /// The request ends without the answer of a job.
    fn give_up(&self, code: Code, reason: &str) {
        if let Some(Phase::Queued { since, .. } | Phase::Running { since, .. }) = self.settle(code)
        {
            record::unserved(&self.open, code, since.elapsed(), reason);
        }
    }

    /// The request ends, unless it has ended already or was never accepted. Gives the phase that it
    /// was in until now.
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
        if running {
            self.give_up(Code::ShuttingDown, "the service is shutting down");
        } else {
            self.give_up(Code::Cancelled, "its client went away");
        }
    }
}
