//! One request that waits for a job.

use std::{os::fd::OwnedFd, sync::Arc, time::Instant};

use tokio::sync::mpsc;

use crate::dispatch::{
    Feed, Lower, PoolId,
    state::ticket::Event,
    state::turns::{Client, Queued, Turns},
    statistics::Account,
};
use crate::{
    config::Limits,
    request::{Ask, Refusal},
};

/// All that wait.
pub(in crate::dispatch) type Queue = Turns<Box<Waiting>>;

/// One request that has no job yet.
#[derive(Debug)]
pub(in crate::dispatch) struct Waiting {
    pub(in crate::dispatch) id: u64,
    /// Its place in the statistics.
    pub(in crate::dispatch) account: Account,
    pub(in crate::dispatch) model: PoolId,
    pub(in crate::dispatch) ask: Ask,
    /// What its job may use: the model's limits, or what the client lowered them to.
    pub(in crate::dispatch) limits: Limits,
    /// What the client lowered.
    pub(in crate::dispatch) lower: Lower,
    pub(in crate::dispatch) recording: OwnedFd,
    /// How the recording comes, if it is still coming.
    pub(in crate::dispatch) feed: Option<Arc<Feed>>,
    pub(in crate::dispatch) request_id: String,
    pub(in crate::dispatch) uid: Option<u32>,
    pub(in crate::dispatch) events: mpsc::Sender<Event>,
    pub(in crate::dispatch) since: Instant,
    /// How many jobs died with it before they had read it.
    pub(in crate::dispatch) unread: u32,
    /// A request of the service's own.
    pub(in crate::dispatch) canary: bool,
}

impl Waiting {
    /// Tell the client that nothing will come. Never waits: nothing was sent to it before.
    pub(in crate::dispatch) fn refuse(self, refusal: Refusal) {
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
