//! Jobs forked as they are needed: ahead of their request, or for it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    renewal::{Look, Renewal},
    server::ServerEnd,
    zygote::Zygote,
};
use crate::{
    config::Model,
    dispatch::{
        serving::lifecycle,
        state::{
            backoff::FIRST_PAUSE,
            need::{Need, make_room},
            pool_id::PoolId,
            reservation::Reservation,
            shared::Shared,
            upcoming::Upcoming,
        },
        statistics::kinds::{Latency, Lifecycle},
    },
    events,
    isolation::ProcessError,
    job::wire::JobProcess,
};

/// Jobs that a zygote is asked for at once: while it forks one, the others need not wait for the
/// service's turn.
const MAX_ASKED: usize = 4;

/// Fork jobs as they are needed, until something ends that.
pub async fn fork_jobs(
    shared: &Arc<Shared>,
    id: PoolId,
    model: Arc<Model>,
    zygote: &mut Zygote,
) -> ServerEnd {
    let wake = shared.wake(id);
    let mut renewal = Renewal::new(shared, &model.name);
    let mut forks = Forks {
        shared,
        id,
        model,
        zygote,
        asked: VecDeque::new(),
    };
    loop {
        match renewal.look(id, &forks.model) {
            Look::GoOn => {}
            Look::Settings(settings) => {
                shared.adopt(id, &settings);
                forks.model = settings;
            }
            Look::End(end) => {
                forks.drain().await;
                return end;
            }
        }
        let due = match forks.ask_for_needed().await {
            Ok(Next::Look) => continue,
            Ok(Next::Wait(due)) => due,
            Err(reason) => return ServerEnd::Lost(reason.to_string()),
        };
        let answer = tokio::select! {
            biased;
            answer = forks.next() => answer,
            () = wake.notified() => continue,
            () = until(due) => continue,
        };
        match answer {
            Ok((job, order)) => {
                renewal.forks += 1;
                forks.spawn(job, order);
            }
            Err(ForkFailure::Job(reason)) => forks.cannot_fork(&reason).await,
            Err(ForkFailure::Zygote(reason)) => return ServerEnd::Lost(reason.to_string()),
        }
    }
}

/// The next step after a look at the model's needs.
enum Next {
    /// Look again at once.
    Look,
    /// Wait until something changes, or until then.
    Wait(Option<Instant>),
}

/// A failed fork, by its consequences.
enum ForkFailure {
    /// Only this one job is affected; the reason.
    Job(String),
    /// The zygote is of no use any more.
    Zygote(ProcessError),
}

impl From<ProcessError> for ForkFailure {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Fork(reason) => Self::Job(reason),
            error => Self::Zygote(error),
        }
    }
}

/// A job that its zygote was asked for, and what is kept for it.
struct ForkOrder {
    memory: Reservation,
    upcoming: Upcoming,
    /// Whether a request waits for it.
    urgent: bool,
}

/// Never returns without an instant.
async fn until(due: Option<Instant>) {
    match due {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// The forks of one zygote.
struct Forks<'a> {
    shared: &'a Arc<Shared>,
    id: PoolId,
    model: Arc<Model>,
    zygote: &'a mut Zygote,
    /// Jobs that it was asked for and has not made yet, the oldest first.
    asked: VecDeque<ForkOrder>,
}

impl Forks<'_> {
    /// Ask for one more job if the model needs one.
    async fn ask_for_needed(&mut self) -> Result<Next, ProcessError> {
        let max_running = self.shared.max_running();
        let need = Need::of(&mut self.shared.schedule(), self.id, max_running);
        match need {
            Need::Job | Need::Spare if self.asked.len() < MAX_ASKED => {
                self.ask(need == Need::Job).await
            }
            Need::Later(instant) => Ok(Next::Wait(Some(instant))),
            Need::Job | Need::Spare | Need::Nothing => Ok(Next::Wait(None)),
        }
    }

    /// Ask for a job; it is `urgent` if a request waits for it.
    async fn ask(&mut self, urgent: bool) -> Result<Next, ProcessError> {
        match self.order(urgent).await {
            Ok(Some(order)) => {
                self.asked.push_back(order);
                Ok(Next::Look)
            }
            // No memory or no slot is left. When one is given back, the keeper is woken.
            Ok(None) => {
                if urgent {
                    make_room(&mut self.shared.schedule(), self.id);
                }
                Ok(Next::Wait(None))
            }
            Err(ForkFailure::Job(reason)) => {
                self.cannot_fork(&reason).await;
                Ok(Next::Look)
            }
            Err(ForkFailure::Zygote(reason)) => Err(reason),
        }
    }

    /// Reserve memory and a slot for a job, and ask the zygote for it. `None`: they cannot be had.
    async fn order(&mut self, urgent: bool) -> Result<Option<ForkOrder>, ForkFailure> {
        let bytes = self.model.limits.memory.bytes();
        let Some(memory) = Reservation::take(self.shared, self.id, bytes, urgent) else {
            return Ok(None);
        };
        let limits = self.model.limits.of_cgroup();
        let slot = self.shared.slots.take(limits, self.model.company());
        let Some(slot) = slot.map_err(|error| ForkFailure::Job(error.to_string()))? else {
            return Ok(None);
        };
        let order = ForkOrder {
            memory,
            upcoming: Upcoming::of(self.shared, self.id),
            urgent,
        };
        self.zygote.begin_fork(slot, !urgent).await?;
        Ok(Some(order))
    }

    /// The next of the jobs that were asked for, or the zygote's end. Cancel-safe.
    async fn next(&mut self) -> Result<(JobProcess, ForkOrder), ForkFailure> {
        if self.asked.is_empty() {
            return Err(ForkFailure::Zygote(self.zygote.ended().await));
        }
        let forked = self.zygote.forked().await;
        let order = self.asked.pop_front();
        match (forked?, order) {
            (job, Some(order)) => Ok((job, order)),
            // Not possible: the zygote was asked for as many jobs as there are orders.
            (_, None) => Err(ForkFailure::Job("nobody asked for it".into())),
        }
    }

    /// Take over the jobs that were asked for: otherwise nobody would ever reap them.
    async fn drain(&mut self) {
        while !self.asked.is_empty() {
            match self.next().await {
                Ok((job, order)) => self.spawn(job, order),
                Err(ForkFailure::Job(_)) => {}
                Err(ForkFailure::Zygote(_)) => return,
            }
        }
    }

    /// Let a forked job live on a task of its own.
    fn spawn(&self, job: JobProcess, order: ForkOrder) {
        let (shared, model) = (self.shared.clone(), self.model.clone());
        tokio::spawn(raise(shared, self.id, model, job, order));
    }

    /// The job cannot be forked. Pause, for a request that waits would ask for another one at once.
    async fn cannot_fork(&self, reason: &str) {
        let name = &self.model.name;
        tracing::error!(
            target: events::FORK_FAILED,
            model = name,
            "model {name}: no job can be forked: {reason}"
        );
        pause(self.shared, self.id).await;
    }
}

/// Pause after a job that was of no use, and fork no spares for a while. The causes that keep jobs
/// from becoming ready would otherwise keep the service busy.
async fn pause(shared: &Shared, id: PoolId) {
    shared.delay_spares(id);
    sleep(FIRST_PAUSE).await;
}

/// See a forked job through until it is ready, then let it wait for its request.
async fn raise(
    shared: Arc<Shared>,
    id: PoolId,
    model: Arc<Model>,
    mut job: JobProcess,
    order: ForkOrder,
) {
    let ForkOrder {
        memory,
        upcoming,
        urgent,
    } = order;
    let books = shared.statistics.model(&model.name);
    if urgent {
        books.count(Lifecycle::ForksOnDemand);
    }
    let load_timeout = shared.config().zygote.load_timeout;
    let ready = lifecycle::ready(&mut job, model.engine.needs().preload, load_timeout).await;
    let is_current = upcoming.is_current();
    drop(upcoming);
    match ready {
        Ok(()) if is_current => {
            books.observe(Latency::Start, job.age());
            lifecycle::live(&shared, id, model, job).await;
        }
        // Its settings or its zygote were replaced meanwhile.
        Ok(()) => {
            books.count(Lifecycle::SparesDropped);
            job.dismiss(Duration::ZERO).await;
        }
        Err(reason) => {
            let name = &model.name;
            tracing::error!(
                target: events::SPARE_DIED,
                model = name,
                "model {name}: {reason}"
            );
            books.count(Lifecycle::SparesDied);
            job.kill();
            job.dismiss(Duration::ZERO).await;
            pause(&shared, id).await;
        }
    }
    drop(memory);
    shared.pump();
}
