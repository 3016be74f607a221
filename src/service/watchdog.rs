//! Pings for systemd's watchdog, as long as the scheduler gets on.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::notify;
use crate::{dispatch::Dispatcher, events};

/// Shortest standstill of the scheduler that counts: a zygote that does not answer is given up after ten seconds, and
/// that is no standstill.
const PATIENCE: Duration = Duration::from_secs(12);

/// Pings within the watchdog's time: one that was withheld for a passing reason, or comes late, shall not be the end.
const PINGS: u32 = 3;

/// systemd's watchdog, if it watches us.
pub(super) struct Watchdog {
    pings: Option<Interval>,
    patience: Duration,
    /// Whether pings are withheld.
    silent: bool,
}

impl Watchdog {
    /// As the environment says (`WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub(super) fn from_environment() -> Self {
        let limit = notify::watchdog_limit();
        let pings = limit.map(|limit| {
            let mut pings = interval(limit / PINGS);
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        });
        Self {
            pings,
            patience: limit.map_or(PATIENCE, |limit| (limit / 2).max(PATIENCE)),
            silent: false,
        }
    }

    /// Returns when the next ping is due; never without a watchdog.
    pub(super) async fn due(&mut self) {
        match &mut self.pings {
            Some(pings) => drop(pings.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Tell systemd that the service gets on; if it does not, be silent, and be started again.
    pub(super) fn ping(&mut self, dispatcher: &Dispatcher) {
        match dispatcher.stalled(self.patience) {
            None => {
                self.silent = false;
                notify::watchdog();
            }
            Some(reason) if !self.silent => {
                self.silent = true;
                tracing::error!(
                    target: events::STALLED,
                    "the watchdog is not told that the service gets on: {reason}"
                );
            }
            Some(_) => {}
        }
    }
}
