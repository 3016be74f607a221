//! The end of the service: nobody new is let in, who is in is served for a while, then told that it is over.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{notify, signals::Signals, watchdog::Watchdog};
use crate::dispatch::Dispatcher;

/// How often systemd and who reads its status line hear how far it is.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// By how much the unit's TimeoutStopSec= is extended each time: enough that a busy system tells it in time.
const EXTENSION: Duration = Duration::from_secs(15);

/// What the last answers may still need when time is up: their jobs are killed and reaped first.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// End in good order: let nobody new in, give who is in `service.drain_timeout`, or until another signal comes, and tell
/// the rest that the service is shutting down.
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
