//! One accepted request, from the queue to its end: it waits for a job, or has one.

use std::{os::fd::OwnedFd, sync::Arc};

use tokio::{sync::mpsc, time::Instant};

use crate::{
    config::Limits,
    dispatch::{
        request::{
            client::Client,
            events::{self, RequestEvent},
            feed::Feed,
            submission::OwnLimits,
        },
        state::{
            pool_id::PoolId,
            turns::{Queued, Turns},
        },
        statistics::account::Account,
    },
    isolation::sealed,
    job,
    request::{Ask, Refusal},
};

/// A request as it moves between the queue, idle jobs and tasks. It is large, so it is boxed.
pub type BoxedRequest = Box<Accepted>;

/// All requests that wait.
pub type Queue = Turns<BoxedRequest>;

/// One request that was accepted and has not ended.
#[derive(Debug)]
pub struct Accepted {
    pub id: u64,
    /// Its entry in the statistics.
    pub account: Account,
    pub model: PoolId,
    pub ask: Ask,
    /// Limits of its job: the model's, or those to which the client lowered them.
    pub limits: Limits,
    pub own_limits: OwnLimits,
    pub recording: OwnedFd,
    /// How far the recording has come, if it is still being uploaded.
    pub feed: Option<Arc<Feed>>,
    pub request_id: String,
    /// The client from which it comes; the service itself for a self-test.
    pub client: Client,
    pub events: mpsc::Sender<RequestEvent>,
    /// When it was accepted.
    pub since: Instant,
    /// How many jobs died with it before they had read it.
    pub unread: u32,
}

impl Accepted {
    /// The request of a self-test of `model`, and the end at which its events come out.
    ///
    /// # Errors
    /// Its recording cannot be made: memory or descriptors are short.
    pub fn self_test(
        model: PoolId,
        limits: Limits,
    ) -> Result<(Self, mpsc::Receiver<RequestEvent>), String> {
        let (ask, wav) = job::self_test();
        let (events, receiver) = events::channel();
        let recording = sealed::file(c"self-test", &wav).map_err(|error| error.to_string())?;
        let request = Self {
            id: 0,
            account: Account::of_self_test(),
            model,
            ask,
            limits,
            own_limits: OwnLimits::default(),
            recording: recording.into(),
            feed: None,
            request_id: "self-test".into(),
            client: Client::Service,
            events,
            since: Instant::now(),
            unread: 0,
        };
        Ok((request, receiver))
    }

    /// Tell the client that nothing will come. Never waits: nothing was sent to it before.
    pub fn refuse(self, refusal: Refusal) {
        self.account.refuse(&refusal);
        let _ = self.events.try_send(RequestEvent::Refused(refusal));
    }
}

impl Queued for Accepted {
    type Model = PoolId;

    fn id(&self) -> u64 {
        self.id
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn model(&self) -> PoolId {
        self.model
    }

    fn enters(&self) {
        self.account.waits();
    }
}
