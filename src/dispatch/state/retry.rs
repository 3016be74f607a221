//! When a refused client may come again: when the requests that wait now will probably be done.

use std::time::Duration;

use super::{schedule::Schedule, turns::Full};
use crate::{dispatch::request::client::Client, request::Refusal};

/// Longest estimate, in seconds; no client is told to wait longer.
const LONGEST: f64 = 1e6;

/// The refusal of a request of `client`, for which the queue has no room.
pub fn refusal(schedule: &Schedule, full: Full, client: &Client, max_running: usize) -> Refusal {
    match full {
        Full::Client => Refusal::UserLimit {
            retry_after: after(schedule, Some(client), max_running),
        },
        Full::Queue => Refusal::QueueFull {
            retry_after: after(schedule, None, max_running),
        },
    }
}

/// How long it will take to serve the requests that wait now, all of them or those of one client.
/// Each counts with its model's recent time of service; one time of service more stands for the
/// requests that run already.
pub fn after(schedule: &Schedule, whose: Option<&Client>, max_running: usize) -> Duration {
    let backlog: f64 = schedule
        .queue
        .backlog(whose)
        .map(|(model, count)| {
            let pool = schedule.pools.get(&model);
            let time = pool.and_then(|pool| pool.service_time);
            time.unwrap_or(schedule.service_time).as_secs_f64() * count as f64
        })
        .sum();
    let at_once = at_once(schedule, whose, max_running);
    let seconds = backlog / at_once + schedule.service_time.as_secs_f64();
    Duration::from_secs_f64(seconds.min(LONGEST))
}

/// How many requests will run at once on average: all of `max_running`, or a client's part of it.
fn at_once(schedule: &Schedule, whose: Option<&Client>, max_running: usize) -> f64 {
    let Some(client) = whose else {
        return max_running as f64;
    };
    let clients: Vec<_> = schedule.queue.clients().collect();
    let part = max_running as f64 / clients.len().max(1) as f64;
    let own = clients.iter().find(|counts| counts.client == *client);
    match own.map_or(0, |counts| counts.share.max_running) {
        0 => part,
        cap => part.min(cap as f64),
    }
}
