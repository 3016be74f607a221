//! Jobs forked as they are needed: ahead of their request, or for it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::sleep_until;

use crate::{
    config::Model,
    dispatch::{
        PoolId, Shared,
        model::keeper::{End, FIRST_PAUSE},
        model::renewal::{Look, Renewal},
        serving::lifecycle,
        state::budget::Reservation,
        state::pool::Need,
        statistics::{Latency, Lifecycle, Zygote},
    },
    events,
    isolation::ProcessError,
    job::wire::JobProcess,
};

/// Jobs that a zygote is asked for at once: while it forks one, the others need not wait for our turn.
const MAX_ASKED: usize = 4;

/// Fork jobs as they are needed, until something ends that.
pub(super) async fn fork_jobs(
    shared: &Arc<Shared>,
    id: PoolId,
    mut model: Arc<Model>,
    zygote: &mut Zygote,
) -> End {
    let wake = shared.wake(id);
    let mut renewal = Renewal::new(shared);
    let mut asked = VecDeque::new();
    loop {
        match renewal.look(id, &model) {
            Look::GoOn => {}
            Look::Settings(settings) => {
                shared.adopt(id, &settings);
                model = settings;
            }
            Look::End(end) => {
                // Jobs that nobody took over would never be awaited.
                while !asked.is_empty() {
                    match forked(zygote, &mut asked).await {
                        Ok((job, order)) => {
                            tokio::spawn(raise(shared.clone(), id, model.clone(), job, order));
                        }
                        Err(Trouble::Job(_)) => {}
                        Err(Trouble::Zygote(_)) => break,
                    }
                }
                return end;
            }
        }
        let max_running = shared.config().jobs.max_running;
        let need = shared.state().need(id, max_running);
        let due = match need {
            Need::Job | Need::Spare if asked.len() < MAX_ASKED => {
                let urgent = need == Need::Job;
                match order(shared, id, &model, zygote, urgent).await {
                    Ok(Some(order)) => {
                        asked.push_back(order);
                        continue;
                    }
                    // No memory or no slot is left; whoever gives some back wakes us.
                    Ok(None) if urgent => shared.state().make_room(id),
                    Ok(None) => {}
                    Err(Trouble::Job(reason)) => {
                        cannot_fork(shared, id, &model, &reason).await;
                        continue;
                    }
                    Err(Trouble::Zygote(reason)) => return End::Lost(reason.to_string()),
                }
                None
            }
            Need::Later(instant) => Some(instant),
            Need::Job | Need::Spare | Need::Nothing => None,
        };
        let later = async {
            match due {
                Some(instant) => sleep_until(instant.into()).await,
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            () = wake.notified() => continue,
            () = later => continue,
            answer = forked(zygote, &mut asked) => answer,
        };
        match answer {
            Ok((job, order)) => {
                renewal.forks += 1;
                tokio::spawn(raise(shared.clone(), id, model.clone(), job, order));
            }
            Err(Trouble::Job(reason)) => cannot_fork(shared, id, &model, &reason).await,
            Err(Trouble::Zygote(reason)) => return End::Lost(reason.to_string()),
        }
    }
}

/// Whom a failed fork concerns.
enum Trouble {
    /// Only this one job.
    Job(String),
    /// The zygote is of no use any more.
    Zygote(ProcessError),
}

/// A job that its zygote was asked for, and what is kept for it.
struct Order {
    memory: Reservation,
    coming: Coming,
    /// Whether a request waits for it.
    urgent: bool,
}

/// One job more that is not ready yet, as long as this is there.
struct Coming {
    shared: Arc<Shared>,
    id: PoolId,
    /// Of the model's settings at the beginning.
    generation: u64,
}

impl Coming {
    fn new(shared: &Arc<Shared>, id: PoolId) -> Self {
        shared.coming(id, 1);
        Self {
            generation: shared.generation(id),
            shared: shared.clone(),
            id,
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.shared.coming(self.id, -1);
    }
}

async fn order(
    shared: &Arc<Shared>,
    id: PoolId,
    model: &Model,
    zygote: &mut Zygote,
    urgent: bool,
) -> Result<Option<Order>, Trouble> {
    let bytes = model.limits.memory.bytes();
    let Some(memory) = Reservation::take(shared, id, bytes, urgent) else {
        return Ok(None);
    };
    let slot = shared
        .slots
        .take(
            model.limits.of_cgroup(),
            model.engine.needs().profile.has_program(),
        )
        .map_err(|error| Trouble::Job(error.to_string()))?;
    let Some(slot) = slot else {
        return Ok(None);
    };
    let order = Order {
        memory,
        coming: Coming::new(shared, id),
        urgent,
    };
    let begun = zygote.begin_fork(slot, !urgent).await;
    begun.map_err(whose)?;
    Ok(Some(order))
}

fn whose(error: ProcessError) -> Trouble {
    match error {
        ProcessError::Fork(reason) => Trouble::Job(reason),
        error => Trouble::Zygote(error),
    }
}

/// The next of the jobs that were asked for, or the zygote's end. Cancel-safe.
async fn forked(
    zygote: &mut Zygote,
    asked: &mut VecDeque<Order>,
) -> Result<(JobProcess, Order), Trouble> {
    if asked.is_empty() {
        return Err(Trouble::Zygote(zygote.ended().await));
    }
    let forked = zygote.forked().await;
    let order = asked.pop_front();
    match (forked.map_err(whose)?, order) {
        (job, Some(order)) => Ok((job, order)),
        // Not possible: it was asked for as many as there are orders.
        (_, None) => Err(Trouble::Job("nobody asked for it".into())),
    }
}

/// No job came of it: whoever waits would have us try again at once.
async fn cannot_fork(shared: &Shared, id: PoolId, model: &Model, reason: &str) {
    let name = &model.name;
    tracing::error!(
        target: events::FORK_FAILED,
        model = name,
        "model {name}: no job can be forked: {reason}"
    );
    shared.stumbled(id);
    tokio::time::sleep(FIRST_PAUSE).await;
}

/// See a forked job through until it is ready, then let it wait for its request.
async fn raise(
    shared: Arc<Shared>,
    id: PoolId,
    model: Arc<Model>,
    mut job: JobProcess,
    order: Order,
) {
    let Order {
        memory,
        coming,
        urgent,
    } = order;
    let books = shared.statistics.model(&model.name);
    if urgent {
        books.count(Lifecycle::ForksOnDemand);
    }
    let load_timeout = shared.config().zygote.load_timeout;
    let ready = lifecycle::ready(&mut job, model.engine.needs().preload, load_timeout).await;
    let is_current = coming.generation == shared.generation(id);
    drop(coming);
    match ready {
        Ok(()) if is_current => {
            books.observe(Latency::Start, job.age());
            lifecycle::spare(&shared, id, model, job).await;
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
            // Not at once: whatever keeps jobs from becoming ready would keep us busy for ever.
            shared.stumbled(id);
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }
    drop(memory);
    shared.pump();
}
