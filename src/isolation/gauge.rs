//! Use of a running job, read on demand: from its cgroup, or from `/proc` if it has none.

use std::time::Duration;

use super::{cgroup::LeafReader, footprint::Footprint};

/// Reads the use of one job for its request while the job lives. Costs nothing until it is read.
#[derive(Clone, Debug)]
pub struct Gauge {
    pid: i32,
    leaf: Option<LeafReader>,
    /// CPU time used before the request, by this job or in its cgroup.
    before: Duration,
}

/// Current use of a job. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Memory charged to the cgroup, page cache included. Without a cgroup: resident memory, pages
    /// shared with the zygote included.
    pub memory: u64,
    /// Highest `memory` so far.
    pub peak: u64,
    /// Memory limit of its cgroup; `None` without one.
    pub limit: Option<u64>,
    /// CPU time used for the request.
    pub cpu: Duration,
}

impl Gauge {
    pub(super) fn new(pid: i32, leaf: Option<LeafReader>, before: Duration) -> Self {
        Self { pid, leaf, before }
    }

    /// Read the current use; `None` once the job is gone.
    pub fn read(&self) -> Option<Reading> {
        let mut reading = match &self.leaf {
            Some(leaf) => {
                let now = leaf.read().ok()?;
                Reading {
                    memory: now.memory,
                    peak: now.peak,
                    limit: now.limit,
                    cpu: now.cpu,
                }
            }
            None => {
                let now = Footprint::of(self.pid)?;
                Reading {
                    memory: now.resident,
                    peak: now.peak,
                    limit: None,
                    cpu: now.cpu,
                }
            }
        };
        reading.cpu = reading.cpu.saturating_sub(self.before);
        Some(reading)
    }
}
