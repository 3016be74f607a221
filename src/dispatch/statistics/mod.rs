//! What the service has done and is doing, counted model by model.

mod account;
mod histogram;
mod kinds;
mod ledger;
mod open;
mod record;
#[cfg(test)]
mod tests;
mod zygotes;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub(super) use self::{
    account::Account,
    ledger::Ledger,
    open::{Open, Progress, Worker},
    zygotes::{Zygote, ZygoteEntry},
};
pub use self::{
    histogram::Histogram,
    kinds::{Each, Latency, Lifecycle},
    open::Stage,
};
use crate::request::{Code, Refusal};

/// All books.
#[derive(Debug)]
pub(super) struct Statistics {
    start: Instant,
    /// All models together, those included that are gone: it never goes back.
    total: Arc<Mutex<Ledger>>,
    /// Requests that were turned away before they had said which model they want.
    refused: Mutex<Each<Code, u64>>,
    models: Mutex<BTreeMap<String, Arc<Books>>>,
    open: Arc<Mutex<BTreeMap<u64, Arc<Open>>>>,
}

/// The books of one model. Whatever is entered here is entered in the total as well.
#[derive(Debug)]
pub(super) struct Books {
    model: String,
    own: Mutex<Ledger>,
    total: Arc<Mutex<Ledger>>,
    /// Requests of all models that were accepted and have not ended, by their numbers.
    open: Arc<Mutex<BTreeMap<u64, Arc<Open>>>>,
    zygotes: Mutex<Vec<Arc<ZygoteEntry>>>,
}

/// Nothing can panic while it holds one of these locks, so a poisoned one is sound as well.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Statistics {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            total: Arc::default(),
            refused: Mutex::new(Each::among(Code::refuses)),
            models: Mutex::default(),
            open: Arc::default(),
        }
    }

    /// The books of the model with this name, opened when they are first asked for.
    pub(super) fn model(&self, name: &str) -> Arc<Books> {
        let mut models = lock(&self.models);
        if let Some(books) = models.get(name) {
            return books.clone();
        }
        let books = Arc::new(Books {
            model: name.into(),
            own: Mutex::default(),
            total: self.total.clone(),
            open: self.open.clone(),
            zygotes: Mutex::default(),
        });
        models.insert(name.into(), books.clone());
        books
    }

    /// Close the books of models that are gone. What they did stays in the total, and what they still do comes to it.
    pub(super) fn keep_only<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) {
        lock(&self.models).retain(|name, _| names.clone().any(|kept| kept == name));
    }

    /// A request was turned away before it had said which model it wants.
    pub(super) fn refuse(&self, request_id: &str, uid: Option<u32>, refusal: &Refusal) {
        if refusal.code().refuses() {
            lock(&self.refused).count(refusal.code());
            lock(&self.total).refused.count(refusal.code());
            record::refused(request_id, uid, None, refusal);
        }
    }

    /// The requests that were turned away before they had said which model they want.
    pub(super) fn refused(&self) -> Each<Code, u64> {
        lock(&self.refused).clone()
    }

    /// Time since the start.
    pub(super) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// All models together.
    pub(super) fn total(&self) -> Ledger {
        lock(&self.total).clone()
    }

    /// The requests that were accepted and have not ended, the oldest first.
    pub(super) fn open(&self) -> Vec<Arc<Open>> {
        lock(&self.open).values().cloned().collect()
    }
}

impl Books {
    /// A request was turned away at once.
    pub(super) fn refuse(&self, request_id: &str, uid: Option<u32>, refusal: &Refusal) {
        if refusal.code().refuses() {
            self.enter(|ledger| ledger.refused.count(refusal.code()));
            record::refused(request_id, uid, Some(&self.model), refusal);
        }
    }

    /// Something happened to one of the model's processes.
    pub(super) fn count(&self, what: Lifecycle) {
        self.enter(|ledger| ledger.lifecycle.count(what));
    }

    /// Something took so long.
    pub(super) fn observe(&self, what: Latency, time: Duration) {
        self.enter(|ledger| ledger.latency.change(what, |times| times.observe(time)));
    }

    /// The numbers of this model.
    pub(super) fn ledger(&self) -> Ledger {
        lock(&self.own).clone()
    }

    fn enter(&self, what: impl Fn(&mut Ledger)) {
        what(&mut lock(&self.own));
        what(&mut lock(&self.total));
    }
}
