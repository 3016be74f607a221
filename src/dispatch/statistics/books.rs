//! The books of one model. Each entry goes to the total of all models as well.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    kinds::{Latency, Lifecycle},
    ledger::Ledger,
    lock::lock,
    open::OpenRequest,
    record,
    zygotes::ZygoteEntry,
};
use crate::{dispatch::request::client::Client, request::Refusal};

/// Requests of all models that were accepted and have not ended, by their numbers.
pub(super) type OpenRequests = Arc<Mutex<BTreeMap<u64, Arc<OpenRequest>>>>;

/// The books of one model.
#[derive(Debug)]
pub struct Books {
    pub(super) model: String,
    own: Mutex<Ledger>,
    total: Arc<Mutex<Ledger>>,
    pub(super) open: OpenRequests,
    pub(super) zygotes: Mutex<Vec<Arc<ZygoteEntry>>>,
}

impl Books {
    /// Empty books of the model with this name, with the total and the requests of all models.
    pub(super) fn new(model: &str, total: Arc<Mutex<Ledger>>, open: OpenRequests) -> Self {
        Self {
            model: model.into(),
            own: Mutex::default(),
            total,
            open,
            zygotes: Mutex::default(),
        }
    }

    /// A request was turned away at once.
    pub fn refuse(&self, request_id: &str, client: &Client, refusal: &Refusal) {
        if refusal.code().refuses() {
            self.enter(|ledger| ledger.refused.count(refusal.code()));
            record::refused(request_id, client, Some(&self.model), refusal);
        }
    }

    /// Something happened to one of the model's processes.
    pub fn count(&self, what: Lifecycle) {
        self.enter(|ledger| ledger.lifecycle.count(what));
    }

    /// Something took this `time`.
    pub fn observe(&self, what: Latency, time: Duration) {
        self.enter(|ledger| ledger.latency.change(what, |times| times.observe(time)));
    }

    /// The numbers of this model.
    pub fn ledger(&self) -> Ledger {
        lock(&self.own).clone()
    }

    /// The zygotes that the model has now.
    pub fn zygotes(&self) -> Vec<Arc<ZygoteEntry>> {
        lock(&self.zygotes).clone()
    }

    /// Enter something here and in the total.
    pub(super) fn enter(&self, what: impl Fn(&mut Ledger)) {
        what(&mut lock(&self.own));
        what(&mut lock(&self.total));
    }
}
