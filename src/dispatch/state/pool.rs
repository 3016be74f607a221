//! One model as the scheduler knows it: its health, its idle jobs, and its settings.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{
    backoff::Backoff,
    breaker::{Breaker, Change, Shut},
    idle::IdleHandle,
};
use crate::{
    config::{Mode, Model},
    dispatch::{
        request::client::Client,
        statistics::{books::Books, kinds::Lifecycle},
    },
    events,
    request::{Code, Outcome, Refusal},
};

/// When a client may come again if the model is starting, or fails for a reason that nobody can
/// foresee the end of.
const RETRY_LATER: Duration = Duration::from_secs(10);

/// Whether a model can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its zygote is being started for the first time, or again after it died.
    Starting,
    /// Its last self-test succeeded.
    Ready,
    /// It could not be started, or does not work any more; the reason.
    Failed(String),
    /// Its jobs crashed again and again, so it gets no requests for a while; the reason.
    Tripped(String),
}

/// Settings whose replacement could not be started: the old ones stay in force.
#[derive(Debug)]
pub struct Rejected {
    pub settings: Arc<Model>,
    pub reason: String,
}

/// One model, with everything that the scheduler knows of it.
#[derive(Debug)]
pub struct Pool {
    pub name: String,
    pub books: Arc<Books>,
    /// The settings that it serves with.
    pub model: Arc<Model>,
    /// The settings that the configuration has for it. They differ from those in force while a
    /// replacement loads. `None` once it was removed; requests that wait for it are still served.
    pub wanted: Option<Arc<Model>>,
    pub rejected: Option<Rejected>,
    pub health: Health,
    /// Why the last canary failed, if it did.
    pub unwell: Option<String>,
    /// One client's requests crash its jobs, and nobody's has succeeded since: the service itself
    /// shall try it.
    pub suspect: bool,
    /// Rings when the service shall try it now, or after the pause of the breaker.
    pub doubt: Arc<Notify>,
    /// A fresh zygote is asked for.
    pub renew: bool,
    pub breaker: Breaker,
    /// Jobs that wait for a request. The one used last is taken first: its caches are warm.
    pub idle: Vec<IdleHandle>,
    /// Jobs that were asked for and are not ready yet.
    pub upcoming: usize,
    /// Requests that have a job.
    pub running: usize,
    /// Limits of its living jobs, in bytes.
    pub committed: u64,
    /// Raised when settings or zygote are replaced: jobs of an earlier generation take no more
    /// requests.
    pub generation: u64,
    /// From when on spares are forked up to their maximum. `None`: only up to their minimum.
    pub refill: Option<Instant>,
    /// When a spare was last given a request, unless one has been answered since.
    pub handed_over: Option<Instant>,
    /// Jobs in a row that were of no use.
    trouble: Backoff,
    /// Until when no spare is forked because of them.
    pub calm_until: Instant,
    /// When a request last succeeded.
    pub proven: Instant,
    /// Recent mean time of service, once a request has ended.
    pub service_time: Option<Duration>,
    /// Wakes the model's keeper.
    pub wake: Arc<Notify>,
}

impl Pool {
    /// A model that is about to be started.
    pub fn new(model: Arc<Model>, breaker: Breaker, books: Arc<Books>) -> Self {
        let now = Instant::now();
        Self {
            name: model.name.clone(),
            books,
            wanted: Some(model.clone()),
            model,
            rejected: None,
            health: Health::Starting,
            unwell: None,
            suspect: false,
            doubt: Arc::new(Notify::new()),
            renew: false,
            breaker,
            idle: Vec::new(),
            upcoming: 0,
            running: 0,
            committed: 0,
            generation: 0,
            refill: Some(now),
            handed_over: None,
            trouble: Backoff::default(),
            calm_until: now,
            proven: now,
            service_time: None,
            wake: Arc::new(Notify::new()),
        }
    }

    /// How it does, as clients see it.
    pub fn health(&self, now: Instant) -> Health {
        if self.health == Health::Ready {
            if self.breaker.is_open(now).is_some() {
                return Health::Tripped(self.tripped());
            }
            if let Some(reason) = &self.unwell {
                return Health::Failed(reason.clone());
            }
        }
        self.health.clone()
    }

    fn tripped(&self) -> String {
        "its jobs crashed again and again; it is tried again after a pause".into()
    }

    fn unavailable(&self, reason: String, retry_after: Duration) -> Refusal {
        Refusal::EngineUnavailable {
            model: self.name.clone(),
            reason,
            retry_after,
        }
    }

    /// The refusal of all requests if the model could not be started.
    pub fn refusal_if_failed(&self) -> Option<Refusal> {
        match &self.health {
            Health::Failed(reason) => Some(self.unavailable(reason.clone(), RETRY_LATER)),
            _ => None,
        }
    }

    /// Take a request of `client` into account that comes now.
    ///
    /// # Errors
    /// The model takes none of it now.
    pub fn admit(&mut self, now: Instant, client: &Client) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal_if_failed() {
            return Err(refusal);
        }
        match self.breaker.admit(now, client) {
            Ok(()) => Ok(()),
            Err(Shut::ToAll(wait)) => Err(self.unavailable(self.tripped(), wait)),
            Err(Shut::ToClient(wait)) => {
                let reason = "its jobs crashed again and again on your requests; \
                              one of them is tried again after a pause";
                Err(self.unavailable(reason.into(), wait))
            }
        }
    }

    /// A request of `client` has ended. Gives a change of the breaker, if it is one.
    pub fn request_ended(
        &mut self,
        now: Instant,
        client: &Client,
        outcome: &Outcome,
    ) -> Option<Change> {
        let crash = matches!(outcome.code(), Code::WorkerCrashed | Code::WorkerMisbehaved);
        if *outcome == Outcome::Ok {
            self.proven = now;
            self.unwell = None;
            self.suspect = false;
            self.trouble.reset();
        }
        let change = self.breaker.ended(now, client, crash);
        self.suspect |= change == Some(Change::OpenedForClient);
        if self.suspect && self.running == 0 || change == Some(Change::Opened) {
            self.doubt.notify_one();
        }
        if let Some(change) = change {
            self.tell(change, client);
        }
        change
    }

    /// Tell the journal of a change of the breaker.
    fn tell(&self, change: Change, client: &Client) {
        let name = &self.name;
        let whose = match client {
            Client::User(uid) => format!("user {uid}"),
            Client::Key(name) => format!("the key {name}"),
            Client::Network | Client::Service => "a client over TCP".into(),
        };
        match change {
            Change::Opened => {
                tracing::error!(
                    target: events::BREAKER_OPENED,
                    model = name,
                    "model {name}: its jobs crash again and again; \
                     its requests are refused for a while"
                );
                self.books.count(Lifecycle::BreakerTrips);
            }
            Change::Closed => tracing::info!(
                target: events::BREAKER_CLOSED,
                model = name,
                "model {name}: a request succeeded; it serves again"
            ),
            Change::OpenedForClient => tracing::warn!(
                target: events::CLIENT_PAUSED,
                model = name,
                uid = client.uid(),
                key = client.key(),
                "model {name}: its jobs crash again and again on requests of {whose}; \
                 only those are refused for a while"
            ),
            Change::ClosedForClient => tracing::info!(
                model = name,
                uid = client.uid(),
                key = client.key(),
                "model {name}: a request of {whose} succeeded; it is served again"
            ),
        }
    }

    /// Fork the next spare after a pause, longer each time: a job was of no use.
    pub fn delay_spares(&mut self, longest: Duration) {
        self.calm_until = Instant::now() + self.trouble.failed(longest);
    }

    /// Let all idle jobs go; each ends as soon as its task sees that its handle is gone.
    pub fn drop_spares(&mut self) {
        self.refill = None;
        self.count_dropped(self.idle.len());
        self.idle.clear();
    }

    /// Count idle jobs that are let go. A thread was not forked, so it does not count.
    pub fn count_dropped(&self, spares: usize) {
        if self.model.mode != Mode::Thread {
            for _ in 0..spares {
                self.books.count(Lifecycle::SparesDropped);
            }
        }
    }

    /// Serve with `model` from now on; jobs of the settings before take no more requests.
    pub fn adopt(&mut self, model: Arc<Model>) {
        self.model = model;
        self.generation += 1;
        self.drop_spares();
        self.refill = Some(Instant::now());
        self.rejected = None;
        self.renew = false;
    }

    /// Whether these very settings could not be brought into force.
    pub fn has_rejected(&self, settings: &Arc<Model>) -> bool {
        let rejected = self.rejected.as_ref();
        rejected.is_some_and(|rejected| Arc::ptr_eq(&rejected.settings, settings))
    }
}
