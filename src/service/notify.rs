//! Messages to systemd (sd_notify(3)): readiness, status line, watchdog, stop, reload.

use std::{io, time::Duration};

use sd_notify::NotifyState;

use crate::dispatch::Counts;

/// Tell systemd; without systemd it goes nowhere.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// Clients may come.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read anew; [`ready`] ends that.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// No new requests; `within` this time it will be over.
pub(super) fn stopping(within: Duration) {
    let within = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(within),
    ]);
}

/// The line that `systemctl status` shows.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The live numbers as a status line.
pub(super) fn numbers(counts: Counts) {
    let Counts {
        running,
        queued,
        spares,
        finished,
    } = counts;
    status(&format!(
        "{running} running, {queued} waiting, {spares} spares ready, {finished} requests served"
    ));
}

/// How often the watchdog wants to hear from us: half of what it allows, as sd_watchdog_enabled(3) advises.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Still here.
pub(super) fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}
