//! The end of the service: no new clients are accepted, the current ones are served for a while,
//! then the rest is refused.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{notify, signals::Signals, watchdog::Watchdog};
use crate::dispatch::Dispatcher;

/// Interval at which systemd and its status line learn of the progress.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Extension of the unit's TimeoutStopSec= each time, long enough that a busy system requests the
/// next one in time.
const EXTENSION: Duration = Duration::from_secs(15);

/// Extra time for the last answers: their jobs are killed and reaped first.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// End in good order. Accept no new clients, and give the current ones `service.drain_timeout` or
/// until another signal comes. Then answer the rest that the service is shutting down.
pub(super) async fn drain(
    dispatcher: &Dispatcher,
    stop: &watch::Sender<bool>,
    servers: &mut JoinSet<()>,
    signals: &mut Signals,
    watchdog: &mut Watchdog,
) {
    notify::stopping();
    dispatcher.close();
    stop.send_replace(true);
    let end = Instant::now() + dispatcher.config().service.drain_timeout;
    let mut tell = interval(TELL_INTERVAL);
    tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            ended = servers.join_next() => match ended {
                Some(_) => {}
                None => return,
            },
            () = signals.end() => {
                tracing::warn!("told to stop once more: the requests at hand are ended");
                break;
            }
            () = sleep_until(end) => {
                tracing::warn!("some requests did not end in time; their jobs are killed");
                break;
            }
            () = watchdog.due() => watchdog.ping(dispatcher),
            _ = tell.tick() => {
                let counts = dispatcher.counts();
                let left = end.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
                let text = format!(
                    "stopping: {} running, {} waiting, {left} s left",
                    counts.running, counts.queued
                );
                notify::still_stopping(&text, EXTENSION);
            }
        }
    }
    notify::still_stopping("stopping: the last requests are ended", EXTENSION);
    dispatcher.abort();
    let answered = async { while servers.join_next().await.is_some() {} };
    if timeout(LAST_ANSWERS, answered).await.is_err() {
        tracing::warn!("some clients did not take their last answer in time");
    }
}
