//! The books: past and present work of the service, counted model by model.

pub mod account;
pub mod books;
pub mod histogram;
pub mod kinds;
pub mod ledger;
mod lock;
pub mod open;
mod record;
#[cfg(test)]
mod tests;
pub mod zygote_record;
pub mod zygotes;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use self::{
    books::{Books, OpenRequests},
    kinds::Each,
    ledger::Ledger,
    lock::lock,
    open::OpenRequest,
};
use crate::{
    dispatch::request::client::Client,
    request::{Code, Refusal},
};

/// The books of all models, and their total.
#[derive(Debug)]
pub struct Statistics {
    start: Instant,
    /// All models together, with those that are gone: it never goes back.
    total: Arc<Mutex<Ledger>>,
    /// Requests that were turned away before they had said which model they want.
    refused: Mutex<Each<Code, u64>>,
    models: Mutex<BTreeMap<String, Arc<Books>>>,
    open: OpenRequests,
}

impl Statistics {
    /// Empty books of a service that starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            total: Arc::default(),
            refused: Mutex::new(Each::among(Code::refuses)),
            models: Mutex::default(),
            open: Arc::default(),
        }
    }

    /// The books of the model with this name, opened when they are first asked for.
    pub fn model(&self, name: &str) -> Arc<Books> {
        let mut models = lock(&self.models);
        if let Some(books) = models.get(name) {
            return books.clone();
        }
        let books = Books::new(name, self.total.clone(), self.open.clone());
        let books = Arc::new(books);
        models.insert(name.into(), books.clone());
        books
    }

    /// Close the books of all other models. Their past work stays in the total, and work that they
    /// still do is added to it.
    pub fn keep_only<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) {
        lock(&self.models).retain(|name, _| names.clone().any(|kept| kept == name));
    }

    /// A request was turned away before it had said which model it wants.
    pub fn refuse(&self, request_id: &str, client: &Client, refusal: &Refusal) {
        if refusal.code().refuses() {
            lock(&self.refused).count(refusal.code());
            lock(&self.total).refused.count(refusal.code());
            record::refused(request_id, client, None, refusal);
        }
    }

    /// The requests that were turned away before they had said which model they want.
    pub fn refused(&self) -> Each<Code, u64> {
        lock(&self.refused).clone()
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// The numbers of all models together.
    pub fn total(&self) -> Ledger {
        lock(&self.total).clone()
    }

    /// The requests that were accepted and have not ended, the oldest first.
    pub fn open(&self) -> Vec<Arc<OpenRequest>> {
        lock(&self.open).values().cloned().collect()
    }
}
