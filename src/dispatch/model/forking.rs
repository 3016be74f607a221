//! Jobs forked as they are needed: ahead of their request, or for it.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep_until;

use crate::{
    config::Model,
    dispatch::{
        PoolId, Shared,
        budget::Reservation,
        keeper::{End, FIRST_PAUSE},
        lifecycle,
        pool::Need,
        renewal::{Look, Renewal},
        statistics::{Latency, Lifecycle, Zygote},
    },
    events,
    isolation::{JobProcess, ProcessError},
};

/// Fork jobs as they are needed, until something ends that.
pub(super) async fn fork_jobs(
    shared: &Arc<Shared>,
    id: PoolId,
    mut model: Arc<Model>,
    zygote: &mut Zygote,
) -> End {
    let wake = shared.wake(id);
    let mut renewal = Renewal::new(shared);
    loop {
        match renewal.look(id, &model) {
            Look::GoOn => {}
            Look::Settings(settings) => {
                shared.adopt(id, &settings);
                model = settings;
            }
            Look::End(end) => return end,
        }
        let max_running = shared.config().jobs.max_running;
        let need = shared.state().need(id, max_running);
        let urgent = match need {
            Need::Job => true,
            Need::Spare => false,
            Need::Later(_) | Need::Nothing => {
                let later = async {
                    match need {
                        Need::Later(instant) => sleep_until(instant.into()).await,
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = wake.notified() => {}
                    () = later => {}
                    reason = zygote.ended() => return End::Lost(reason.to_string()),
                }
                continue;
            }
        };
        match fork(shared, id, &model, zygote, urgent).await {
            Ok(Some(forked)) => {
                renewal.forks += 1;
                if urgent {
                    shared
                        .statistics
                        .model(&model.name)
                        .count(Lifecycle::ForksOnDemand);
                }
                tokio::spawn(raise(shared.clone(), id, model.clone(), forked));
            }
            // No memory or no slot is left; whoever gives some back wakes us.
            Ok(None) => {
                if urgent {
                    shared.state().make_room(id);
                }
                tokio::select! {
                    () = wake.notified() => {}
                    reason = zygote.ended() => return End::Lost(reason.to_string()),
                }
            }
            Err(Trouble::Job(reason)) => {
                let name = &model.name;
                tracing::error!(
                    target: events::FORK_FAILED,
                    model = name,
                    "model {name}: no job can be forked: {reason}"
                );
                shared.stumbled(id);
                // Whoever waits would have us try again at once.
                tokio::time::sleep(FIRST_PAUSE).await;
            }
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

/// A job that was forked a moment ago.
struct Forked {
    job: JobProcess,
    memory: Reservation,
    generation: u64,
}

async fn fork(
    shared: &Arc<Shared>,
    id: PoolId,
    model: &Model,
    zygote: &mut Zygote,
    urgent: bool,
) -> Result<Option<Forked>, Trouble> {
    let bytes = model.limits.memory.bytes();
    let Some(memory) = Reservation::take(shared, id, bytes, urgent) else {
        return Ok(None);
    };
    let slot = shared
        .slots
        .take(&model.limits, model.engine.profile().has_program())
        .map_err(|error| Trouble::Job(error.to_string()))?;
    let Some(slot) = slot else {
        return Ok(None);
    };
    let generation = shared.coming(id, 1);
    match zygote.fork(slot, !urgent).await {
        Ok(job) => Ok(Some(Forked {
            job,
            memory,
            generation,
        })),
        Err(error) => {
            shared.coming(id, -1);
            Err(match error {
                ProcessError::Fork(reason) => Trouble::Job(reason),
                error => Trouble::Zygote(error),
            })
        }
    }
}

/// See a forked job through until it is ready, then let it wait for its request.
async fn raise(shared: Arc<Shared>, id: PoolId, model: Arc<Model>, forked: Forked) {
    let Forked {
        mut job,
        memory,
        generation,
    } = forked;
    let load_timeout = shared.config().zygote.load_timeout;
    let ready = lifecycle::ready(&mut job, model.engine.preload(), load_timeout).await;
    let now = shared.coming(id, -1);
    let books = shared.statistics.model(&model.name);
    match ready {
        Ok(()) if generation == now => {
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
