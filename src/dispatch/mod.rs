//! The scheduler: it queues requests, keeps jobs ready for them, and follows each job to its end.

mod model;
mod request;
mod serving;
#[cfg(test)]
mod simulation;
pub mod snapshot;
mod state;
mod statistics;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

#[cfg(any(test, fuzzing))]
pub(crate) use self::serving::talk::fuzzing;
use self::{
    model::reload,
    snapshot::{Connected, Snapshot},
    state::{
        admission::admit,
        shared::{Shared, Stop},
        stall,
    },
};
pub use self::{
    request::{
        client::Client,
        events::{Report, RequestEvent},
        feed::Feed,
        submission::{OwnLimits, Submission},
    },
    state::{pool::Health, schedule::Counts, ticket::Ticket},
    statistics::{
        histogram::Histogram,
        kinds::{Each, Latency, Lifecycle},
        open::JobStage,
    },
};
use crate::{
    config::{Config, Share},
    isolation::{Probe, cgroup::Tree},
    request::Refusal,
};

/// How long no spares are kept after the system told that memory is scarce.
const PRESSURE_PAUSE: Duration = Duration::from_secs(10);

/// The service's scheduler. Its clones share one state.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

impl Dispatcher {
    /// Start to keep every model of `config` ready. Must be called on the thread that runs the
    /// service for its whole life, inside its runtime: zygotes die with the thread that made them.
    pub fn start(config: Arc<Config>, tree: Option<Arc<Tree>>, probe: Probe) -> Self {
        let shared = Arc::new(Shared::new(config.clone(), tree, probe));
        reload::reconfigure(&shared, config);
        Self { shared }
    }

    /// Whether a request of this client would be taken now, whatever its model. Counts nothing.
    pub fn has_room(&self, client: &Client, share: Share) -> bool {
        self.shared.room(client, share).is_ok()
    }

    /// As [`Self::has_room`], before the body of a request is read.
    ///
    /// # Errors
    /// It would not, and counts as refused.
    pub fn announce(&self, request_id: &str, client: &Client, share: Share) -> Result<(), Refusal> {
        let room = self.shared.room(client, share);
        let statistics = &self.shared.statistics;
        room.inspect_err(|refusal| statistics.refuse(request_id, client, refusal))
    }

    /// Queue a request. It runs when it is its turn; dropping the ticket cancels it.
    ///
    /// # Errors
    /// It is refused at once.
    pub fn submit(&self, request: Submission) -> Result<Ticket, Refusal> {
        admit(&self.shared, request, None)
    }

    /// As [`Self::submit`], for a recording that is a pipe and still comes: the job runs meanwhile.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn submit_live(&self, request: Submission, feed: Arc<Feed>) -> Result<Ticket, Refusal> {
        admit(&self.shared, request, Some(feed))
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }

    /// Serve by `config` from now on.
    ///
    /// Settings that take no new zygote are in force at once. A model whose engine, files or mode
    /// changed goes on as before until a replacement has passed its self-test. A removed model
    /// takes no new requests; those that wait for it are still served.
    ///
    /// Must be called on the thread that runs the service, as [`Self::start`].
    pub fn reconfigure(&self, config: Arc<Config>) {
        reload::reconfigure(&self.shared, config);
    }

    /// Whether every model serves by its configured settings, or could not be brought to.
    /// [`Self::health_changes`] tells when to look again.
    pub fn is_settled(&self) -> bool {
        self.shared.schedule().is_settled()
    }

    /// The models whose new settings could not be brought into force, and why. The old ones serve.
    pub fn rejected(&self) -> Vec<(String, String)> {
        self.shared.schedule().rejected()
    }

    /// How every model does, in the order of the configuration.
    pub fn health(&self) -> Vec<(String, Health)> {
        let config = self.config();
        let names = config.models.iter().map(|model| model.name.as_str());
        self.shared.schedule().health_of(names, Instant::now())
    }

    /// Tells every change of [`Self::health`].
    pub fn health_changes(&self) -> watch::Receiver<()> {
        self.shared.health.subscribe()
    }

    /// Numbers for the status line, at this moment.
    pub fn counts(&self) -> Counts {
        self.shared.schedule().counts()
    }

    /// All statistics as the client `asker` may see them; `connected` clients are there. Reads
    /// a few files for each process.
    pub fn snapshot(&self, connected: Connected, asker: &Client) -> Snapshot {
        Snapshot::take(&self.shared, connected, asker)
    }

    /// The kernel's features, found by trying them.
    pub fn probe(&self) -> &Probe {
        &self.shared.probe
    }

    /// Whether each job is confined by a cgroup of its own.
    pub fn is_confined(&self) -> bool {
        self.shared.is_confined()
    }

    /// The service is to stop. Accepted requests are served; nothing is kept ready for others.
    pub fn close(&self) {
        self.shared.schedule().closing = true;
        self.shared.stop.send_replace(Stop::Draining);
    }

    /// Returns when [`Self::abort`] was called.
    pub async fn aborted(&self) {
        self.shared.aborted().await;
    }

    /// End everything: all clients are told that the service is shutting down.
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Memory is scarce: let all spares go, and keep none for a while.
    pub fn relieve(&self) {
        let until = Instant::now() + PRESSURE_PAUSE;
        self.shared.schedule().relieve(until);
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        let counts = self.counts();
        counts.running == 0 && counts.queued == 0
    }

    /// Why the scheduler does not get on, if nothing has moved for `after` though something could:
    /// then the watchdog starts the service again.
    pub fn stalled(&self, after: Duration) -> Option<String> {
        let max_running = self.shared.max_running();
        stall::reason(&self.shared.schedule(), after, Instant::now(), max_running)
    }
}
