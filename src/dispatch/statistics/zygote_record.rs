//! One zygote's record in its model's books: opened when it is started, closed when it is gone.

use std::sync::Arc;

use super::{books::Books, kinds::Lifecycle, lock::lock, zygotes::ZygoteEntry};
use crate::isolation::cgroup::LeafReader;

/// Keeps a zygote in its model's books until it is dropped. The end then counts as one of three: as
/// failed if the zygote was never ready, as lost if it ended or stopped answering, or else as
/// recycled because nobody needs it any more.
#[derive(Debug)]
pub struct ZygoteRecord {
    books: Arc<Books>,
    entry: Arc<ZygoteEntry>,
    /// The end that counts when this is dropped.
    end: Lifecycle,
}

impl ZygoteRecord {
    /// The record of the zygote `pid`, which was started a moment ago, in the cgroup that `leaf`
    /// reads.
    pub fn open(books: Arc<Books>, pid: i32, leaf: Option<LeafReader>) -> Self {
        books.count(Lifecycle::ZygotesStarted);
        let entry = Arc::new(ZygoteEntry::new(pid, leaf));
        lock(&books.zygotes).push(entry.clone());
        Self {
            books,
            entry,
            end: Lifecycle::ZygotesFailed,
        }
    }

    /// The kernel cannot forbid the zygote `what` by Landlock.
    pub fn set_lacking(&self, what: &str) {
        self.entry.set_lacking(what);
    }

    /// The zygote has passed its self-test.
    pub fn set_ready(&mut self) {
        self.end = Lifecycle::ZygotesRecycled;
    }

    /// The zygote has forked a job.
    pub fn count_fork(&self) {
        self.entry.count_fork();
        self.books.count(Lifecycle::JobsForked);
    }

    /// The zygote ended, or does not answer any more.
    pub fn set_lost(&mut self) {
        if self.end == Lifecycle::ZygotesRecycled {
            self.end = Lifecycle::ZygotesLost;
        }
    }
}

impl Drop for ZygoteRecord {
    fn drop(&mut self) {
        lock(&self.books.zygotes).retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        self.books.count(self.end);
    }
}
