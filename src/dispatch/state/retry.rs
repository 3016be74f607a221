//! When a refused client may come again: when what is there now will have been worked off, as far as that can be told.

use std::time::Duration;

use crate::{
    dispatch::{
        State,
        state::turns::{Client, Full},
    },
    request::Refusal,
};

/// Longest estimate, in seconds; nobody is told to wait so long.
const LONGEST: f64 = 1e6;

/// A mean over about the last eight values, and one more of them.
pub(in crate::dispatch) fn mean(before: Duration, value: Duration) -> Duration {
    (before * 7 + value) / 8
}

impl State {
    /// The refusal of a request of `client`, for which there is no room.
    pub(in crate::dispatch) fn full(
        &self,
        full: Full,
        client: Client,
        max_running: usize,
    ) -> Refusal {
        match full {
            Full::Client => Refusal::UserLimit {
                retry_after: self.retry_after(Some(client), max_running),
            },
            Full::Queue => Refusal::QueueFull {
                retry_after: self.retry_after(None, max_running),
            },
        }
    }

    /// How long it will take to work off what waits now, of `whose` requests or of all, by the models' recent times of
    /// service; and one time of service more, for what runs already.
    pub(in crate::dispatch) fn retry_after(
        &self,
        whose: Option<Client>,
        max_running: usize,
    ) -> Duration {
        let clients: Vec<_> = self.queue.clients().collect();
        let mut at_once = max_running as f64;
        if let Some(client) = whose {
            at_once /= clients.len().max(1) as f64;
            let own = clients.iter().find(|counts| counts.client == client);
            match own.map_or(0, |counts| counts.share.max_running) {
                0 => {}
                cap => at_once = at_once.min(cap as f64),
            }
        }
        let backlog: f64 = self
            .queue
            .backlog(whose)
            .map(|(model, count)| {
                let pool = self.pools.get(&model);
                let time = pool.and_then(|pool| pool.service_time);
                time.unwrap_or(self.service_time).as_secs_f64() * count as f64
            })
            .sum();
        let seconds = backlog / at_once + self.service_time.as_secs_f64();
        Duration::from_secs_f64(seconds.min(LONGEST))
    }
}
