//! One request that waits for a job.

use std::{os::fd::OwnedFd, time::Instant};

use tokio::sync::mpsc;

use super::{
    Lower, PoolId,
    statistics::Account,
    ticket::{Event, Refusal},
    turns::{Client, Queued, Turns},
};
use crate::{config::Limits, isolation::JobRequest};

/// All that wait.
pub(super) type Queue = Turns<Box<Waiting>>;

/// One request that has no job yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    /// Its place in the statistics.
    pub(super) account: Account,
    pub(super) model: PoolId,
    pub(super) job: JobRequest,
    /// What its job may use: the model's limits, or what the client lowered them to.
    pub(super) limits: Limits,
    /// What the client lowered.
    pub(super) lower: Lower,
    pub(super) recording: OwnedFd,
    pub(super) request_id: String,
    pub(super) uid: Option<u32>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) since: Instant,
    /// How many jobs died with it before they had read it.
    pub(super) unread: u32,
    /// A request of the service's own.
    pub(super) canary: bool,
}

impl Waiting {
    /// Tell the client that nothing will come. Never waits: nothing was sent to it before.
    pub(super) fn refuse(self, refusal: Refusal) {
        self.account.refuse(&refusal);
        let _ = self.events.try_send(Event::Refused(refusal));
    }
}

impl Queued for Waiting {
    type Model = PoolId;

    fn id(&self) -> u64 {
        self.id
    }

    fn client(&self) -> Client {
        match self.canary {
            true => Client::Service,
            false => Client::of(self.uid),
        }
    }

    fn model(&self) -> PoolId {
        self.model
    }

    fn enters(&self) {
        self.account.waits();
    }
}
