//! The zygotes that a model has at this moment, and what became of the others.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Books, Lifecycle, lock};
use crate::{
    isolation::{ProcessError, Slot, cgroup::LeafReader},
    job::wire::{JobProcess, ZygoteProcess},
};

/// A zygote that is in its model's books for as long as it is there. Its end counts as one of three: it failed if it was
/// never ready, it was lost if it ended or stopped answering, and else it was dropped because nobody needs it any more.
#[derive(Debug)]
pub(in crate::dispatch) struct Zygote {
    process: ZygoteProcess,
    books: Arc<Books>,
    entry: Arc<ZygoteEntry>,
    /// What counts when it is dropped.
    fate: Lifecycle,
}

/// One zygote, as others see it.
#[derive(Debug)]
pub(in crate::dispatch) struct ZygoteEntry {
    pid: i32,
    forks: AtomicU64,
    start: Instant,
    leaf: Option<LeafReader>,
    lacks: OnceLock<String>,
}

impl Zygote {
    /// One that was started a moment ago, in the cgroup that `leaf` reads.
    pub(in crate::dispatch) fn new(
        books: Arc<Books>,
        process: ZygoteProcess,
        leaf: Option<LeafReader>,
    ) -> Self {
        books.count(Lifecycle::ZygotesStarted);
        let entry = Arc::new(ZygoteEntry {
            pid: process.pid(),
            forks: AtomicU64::new(0),
            start: Instant::now(),
            leaf,
            lacks: OnceLock::new(),
        });
        lock(&books.zygotes).push(entry.clone());
        Self {
            process,
            books,
            entry,
            fate: Lifecycle::ZygotesFailed,
        }
    }

    /// This is what the kernel cannot forbid it by Landlock.
    pub(in crate::dispatch) fn lacks(&self, what: &str) {
        let _ = self.entry.lacks.set(what.into());
    }

    /// It has passed its self-test.
    pub(in crate::dispatch) fn is_ready(&mut self) {
        self.fate = Lifecycle::ZygotesRecycled;
    }

    /// Ask for a job, as [`ZygoteProcess::begin_fork`].
    pub(in crate::dispatch) async fn begin_fork(
        &mut self,
        slot: Slot,
        ahead: bool,
    ) -> Result<(), ProcessError> {
        let begun = self.process.begin_fork(slot, ahead).await;
        begun.inspect_err(|error| self.failed(error))
    }

    /// The next job that was asked for, as [`ZygoteProcess::forked`].
    pub(in crate::dispatch) async fn forked(&mut self) -> Result<JobProcess, ProcessError> {
        let forked = self.process.forked().await;
        match &forked {
            Ok(_) => {
                self.entry.forks.fetch_add(1, Ordering::Relaxed);
                self.books.count(Lifecycle::JobsForked);
            }
            Err(error) => self.failed(error),
        }
        forked
    }

    fn failed(&mut self, error: &ProcessError) {
        if !matches!(error, ProcessError::Fork(_)) {
            self.is_lost();
        }
    }

    /// Wait until it ends, as [`ZygoteProcess::ended`].
    pub(in crate::dispatch) async fn ended(&mut self) -> ProcessError {
        let reason = self.process.ended().await;
        self.is_lost();
        reason
    }

    fn is_lost(&mut self) {
        if self.fate == Lifecycle::ZygotesRecycled {
            self.fate = Lifecycle::ZygotesLost;
        }
    }
}

impl Deref for Zygote {
    type Target = ZygoteProcess;

    fn deref(&self) -> &ZygoteProcess {
        &self.process
    }
}

impl DerefMut for Zygote {
    fn deref_mut(&mut self) -> &mut ZygoteProcess {
        &mut self.process
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        lock(&self.books.zygotes).retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        self.books.count(self.fate);
    }
}

impl ZygoteEntry {
    /// Its process id.
    pub(in crate::dispatch) fn pid(&self) -> i32 {
        self.pid
    }

    /// Jobs that it has forked.
    pub(in crate::dispatch) fn forks(&self) -> u64 {
        self.forks.load(Ordering::Relaxed)
    }

    /// Since it was started.
    pub(in crate::dispatch) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// What the kernel cannot forbid it by Landlock; `None` if there is no such thing.
    pub(in crate::dispatch) fn lacking(&self) -> Option<&str> {
        self.lacks.get().map(String::as_str)
    }

    /// Memory that its cgroup counts, in bytes: its own, and what of its model's files was read for it first.
    pub(in crate::dispatch) fn memory(&self) -> Option<u64> {
        Some(self.leaf.as_ref()?.read().ok()?.memory)
    }
}

impl Books {
    /// The zygotes that are there.
    pub(in crate::dispatch) fn zygotes(&self) -> Vec<Arc<ZygoteEntry>> {
        lock(&self.zygotes).clone()
    }
}
