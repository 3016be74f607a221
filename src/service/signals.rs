//! The signals that control the service.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives all of these signals, from its creation on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Wait for the next signal.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    /// Wait until the service is told to stop; other signals are ignored.
    pub(super) async fn end(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}

/// The request that a signal makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM or SIGINT: end the service.
    Stop,
    /// SIGHUP: reload the configuration.
    Reload,
}
