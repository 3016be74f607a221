//! Whether the scheduler gets on, for the watchdog.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    pool::{Health, Pool},
    schedule::Schedule,
};
use crate::isolation::Preload;

/// The reason to call the scheduler stalled, if nothing has moved for `after` though something
/// could: requests wait for a model that is ready, and one more may run.
pub fn reason(
    schedule: &Schedule,
    after: Duration,
    now: Instant,
    max_running: usize,
) -> Option<String> {
    let idle = now.saturating_duration_since(schedule.progress);
    if idle < after || schedule.running >= max_running {
        return None;
    }
    // Memory that others hold is a good reason to wait while they run.
    if schedule.budget.is_short() && schedule.running > 0 {
        return None;
    }
    let waits = |id| schedule.queue.waiting_for(id) > 0;
    // A job that loads its model itself may take the time of loading, which has its own bound.
    let loads =
        |pool: &Pool| pool.upcoming > 0 && pool.model.engine.needs().preload == Preload::AfterFork;
    let mut pools = schedule.pools.iter();
    let (_, pool) =
        pools.find(|(id, pool)| pool.health == Health::Ready && waits(**id) && !loads(pool))?;
    Some(format!(
        "requests for the model {} wait, it is ready, and nothing has moved for {:.1} s",
        pool.name,
        idle.as_secs_f64()
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{Model, Share},
        dispatch::state::schedule::tests::{ID, one_waits},
        engine::{EngineSettings, exec::ExecSettings},
    };

    const AFTER: Duration = Duration::from_secs(10);

    /// One model, ready, for which one request waits, and nothing has moved for a minute.
    fn wedged() -> (Schedule, Instant) {
        let progress = Instant::now();
        (one_waits(progress), progress + Duration::from_secs(60))
    }

    #[test]
    fn a_request_that_nobody_takes_is_a_standstill() {
        let (schedule, now) = wedged();
        let reason = reason(&schedule, AFTER, now, 4).unwrap();
        assert!(
            reason.contains("default") && reason.contains("60.0 s"),
            "{reason}"
        );
        assert_eq!(
            super::reason(&schedule, Duration::from_secs(61), now, 4),
            None
        );
    }

    #[test]
    fn a_request_that_comes_after_a_pause_is_no_standstill() {
        let (mut schedule, now) = wedged();
        let waits = schedule.queue.take_everything().remove(0);
        schedule.enqueue(waits, Share::default(), now).unwrap();
        assert_eq!(reason(&schedule, AFTER, now, 4), None);
        // Requests that give up one after the other are one.
        let later = now + 2 * AFTER;
        let waits = schedule.queue.take_everything().remove(0);
        schedule.in_vain = true;
        schedule.enqueue(waits, Share::default(), later).unwrap();
        assert!(reason(&schedule, AFTER, later, 4).is_some());
    }

    #[test]
    fn waiting_for_a_reason_is_no_standstill() {
        let (mut schedule, now) = wedged();
        schedule.running = 4;
        assert_eq!(
            reason(&schedule, AFTER, now, 4),
            None,
            "all places are taken"
        );
        assert!(reason(&schedule, AFTER, now, 5).is_some());
        schedule.running = 0;
        schedule.pools.get_mut(&ID).unwrap().health = Health::Starting;
        assert_eq!(
            reason(&schedule, AFTER, now, 4),
            None,
            "the model is loading"
        );
        let (mut schedule, now) = wedged();
        let pool = schedule.pools.get_mut(&ID).unwrap();
        let mut model = Model::clone(&pool.model);
        pool.upcoming = 1;
        assert!(
            reason(&schedule, AFTER, now, 4).is_some(),
            "a fork takes no time"
        );
        model.engine = EngineSettings::Exec(ExecSettings::default());
        schedule.pools.get_mut(&ID).unwrap().model = Arc::new(model);
        assert_eq!(
            reason(&schedule, AFTER, now, 4),
            None,
            "a job is loading it"
        );
        let (mut schedule, now) = wedged();
        schedule.queue.take_everything();
        assert_eq!(reason(&schedule, AFTER, now, 4), None, "nobody waits");
    }
}
