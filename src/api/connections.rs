//! How many connections are served at once, and the bound of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connections of all listeners. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections {
    room: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

/// Room for one connection that may come.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
    open: Arc<AtomicUsize>,
}

/// One connection that is served, until this is dropped.
#[derive(Debug)]
pub(super) struct Served(Room);

impl Connections {
    /// At most `max` at once.
    pub fn new(max: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(max)),
            open: Arc::default(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Wait until there is room for one more.
    pub(super) async fn room(&self) -> Option<Room> {
        Some(Room {
            _permit: self.room.clone().acquire_owned().await.ok()?,
            open: self.open.clone(),
        })
    }
}

impl Room {
    /// The connection has come.
    pub(super) fn taken(self) -> Served {
        self.open.fetch_add(1, Ordering::Relaxed);
        Served(self)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
