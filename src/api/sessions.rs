//! Counts the sessions of live audio and their turns, and tells the journal of each session's end.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::time::Instant;

use crate::{
    dispatch::{Client, snapshot::SessionCounts},
    events,
    units::milliseconds,
};

/// The sessions of all listening sockets together. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    begun: AtomicU64,
    turns: AtomicU64,
}

/// One session; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    counts: Arc<Counts>,
    client: Client,
    since: Instant,
    turns: u64,
}

impl Sessions {
    /// The counts at this moment.
    pub fn counts(&self) -> SessionCounts {
        let Counts { open, begun, turns } = &*self.0;
        SessionCounts {
            open: open.load(Ordering::Relaxed),
            begun: begun.load(Ordering::Relaxed),
            turns: turns.load(Ordering::Relaxed),
        }
    }

    /// Count a session of `client`, which lasts as long as the result lives.
    pub(super) fn enter(&self, client: Client) -> Held {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Held {
            counts: self.0.clone(),
            client,
            since: Instant::now(),
            turns: 0,
        }
    }
}

impl Held {
    /// Count a turn.
    pub(super) fn turn(&mut self) {
        self.turns += 1;
        self.counts.turns.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        let held = self.since.elapsed();
        tracing::info!(
            target: events::SESSION_ENDED,
            uid = self.client.uid(),
            key = self.client.key(),
            turns = self.turns,
            held_ms = milliseconds(held),
            "session ended: {} turns in {:.1} s",
            self.turns,
            held.as_secs_f64()
        );
    }
}
