//! One zygote that a model has at this moment, as others see it.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::isolation::cgroup::LeafReader;

/// One zygote, as others see it.
#[derive(Debug)]
pub struct ZygoteEntry {
    pid: i32,
    forks: AtomicU64,
    start: Instant,
    leaf: Option<LeafReader>,
    lacks: OnceLock<String>,
}

impl ZygoteEntry {
    /// The zygote `pid`, started now, in the cgroup that `leaf` reads.
    pub(super) fn new(pid: i32, leaf: Option<LeafReader>) -> Self {
        Self {
            pid,
            forks: AtomicU64::new(0),
            start: Instant::now(),
            leaf,
            lacks: OnceLock::new(),
        }
    }

    /// It has forked one more job.
    pub(super) fn count_fork(&self) {
        self.forks.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel cannot forbid it `what` by Landlock.
    pub(super) fn set_lacking(&self, what: &str) {
        let _ = self.lacks.set(what.into());
    }

    /// The zygote's process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Jobs that it has forked.
    pub fn forks(&self) -> u64 {
        self.forks.load(Ordering::Relaxed)
    }

    /// Time since it was started.
    pub fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// Things that the kernel cannot forbid it by Landlock; `None` if it can forbid all.
    pub fn lacking(&self) -> Option<&str> {
        self.lacks.get().map(String::as_str)
    }

    /// Memory that its cgroup counts, in bytes: its own, and those parts of its model's files that
    /// were read for it first.
    pub fn memory(&self) -> Option<u64> {
        Some(self.leaf.as_ref()?.read().ok()?.memory)
    }
}
