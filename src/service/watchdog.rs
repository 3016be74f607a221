//! Pings systemd's watchdog while the scheduler makes progress.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::notify;
use crate::{dispatch::Dispatcher, events};

/// Shortest standstill of the scheduler that counts. A zygote that does not answer is given up
/// after ten seconds, which must not count as a standstill.
const PATIENCE: Duration = Duration::from_secs(12);

/// Number of pings within the watchdog's time, so that one late or withheld ping does not end the
/// service.
const PINGS: u32 = 3;

/// systemd's watchdog, if it is enabled.
pub(super) struct Watchdog {
    pings: Option<Interval>,
    patience: Duration,
    /// True while pings are withheld.
    silent: bool,
}

impl Watchdog {
    /// Configured by the environment (`WATCHDOG_USEC`, `WATCHDOG_PID`).
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

    /// Wait until the next ping is due; forever without a watchdog.
    pub(super) async fn due(&mut self) {
        match &mut self.pings {
            Some(pings) => drop(pings.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Ping systemd if the service makes progress. If not, send nothing, so that systemd restarts
    /// it.
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
