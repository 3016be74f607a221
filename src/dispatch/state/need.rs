//! The next need of a model: a job for a request that waits, a spare, or nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::{pool::Pool, pool_id::PoolId, schedule::Schedule};
use crate::{config::Mode, units::Lifetime};

/// If another spare remains, wait for the answer, at most this long, before forking a replacement:
/// the fork would compete with the job for its CPU. If several requests run at once, spares serve
/// the next ones better.
const ANSWER_FIRST: Duration = Duration::from_millis(2);

/// The need of a model at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A job for a request that waits.
    Job,
    /// A job ahead of its request.
    Spare,
    /// Nothing until this instant.
    Later(Instant),
    /// Nothing until something changes.
    Nothing,
}

impl Need {
    /// The need of model `id` at this moment, if `max_running` requests may run at once.
    pub fn of(schedule: &mut Schedule, id: PoolId, max_running: usize) -> Self {
        let now = Instant::now();
        let room = max_running.saturating_sub(schedule.running);
        let demand = schedule.queue.waiting_for(id).min(room);
        if demand == 0 {
            schedule.budget.forget(id);
        }
        let (pressure_until, closing) = (schedule.pressure_until, schedule.closing);
        let Some(pool) = schedule.pools.get_mut(&id) else {
            return Self::Nothing;
        };
        let have = pool.idle.len() + pool.upcoming;
        let spares = pool.model.spares;
        if have < demand {
            return Self::Job;
        }
        if spares.ttl == Lifetime::Zero || pool.wanted.is_none() || closing {
            return Self::Nothing;
        }
        if have >= spares.max {
            pool.refill = None;
            return Self::Nothing;
        }
        match spare_is_due(pool, have, now) {
            None => Self::Nothing,
            Some(due) => match due.max(pool.calm_until).max(pressure_until) {
                due if due <= now => Self::Spare,
                due => Self::Later(due),
            },
        }
    }
}

/// From when on the next spare is wanted, for a model that has `have` and may have more; `None`:
/// not before something changes.
fn spare_is_due(pool: &Pool, have: usize, now: Instant) -> Option<Instant> {
    let spares = pool.model.spares;
    let below = have < spares.min;
    // Jobs of mode `hybrid` come back when they have answered.
    let returning = match pool.model.mode {
        Mode::Hybrid => pool.running,
        _ => 0,
    };
    match (pool.refill, pool.handed_over) {
        (_, Some(since)) if below && have > 0 && pool.running < 2 => Some(since + ANSWER_FIRST),
        _ if below => Some(now),
        (Some(due), _) if have + returning < spares.max => Some(due),
        _ => None,
    }
}

/// Let one idle job go of a model that has more of them than requests, because a request for model
/// `id` lacks memory.
pub fn make_room(schedule: &mut Schedule, id: PoolId) {
    let queue = &schedule.queue;
    let others = schedule.pools.iter_mut().filter(|(other, _)| **other != id);
    for (other, pool) in others {
        if pool.idle.len() > queue.waiting_for(*other) {
            // The one that has waited longest: its caches are cold.
            pool.idle.remove(0);
            pool.count_dropped(1);
            pool.refill = None;
            return;
        }
    }
}
