//! What a living job uses, read when somebody asks: by its cgroup, or from `/proc` where there is none.

use std::time::Duration;

use super::{cgroup::LeafReader, footprint::Footprint};

/// Reads what one job uses for its request, for as long as it lives. Costs nothing until it is asked.
#[derive(Clone, Debug)]
pub struct Gauge {
    pid: i32,
    leaf: Option<LeafReader>,
    /// CPU time that was used before the request, by this job or in its cgroup.
    before: Duration,
}

/// What a job uses at this moment. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Memory, page cache included; without a cgroup what is resident, pages shared with the zygote included.
    pub memory: u64,
    /// The most of it so far.
    pub peak: u64,
    /// What its cgroup allows; `None` without one.
    pub limit: Option<u64>,
    /// CPU time.
    pub cpu: Duration,
}

impl Gauge {
    pub(super) fn new(pid: i32, leaf: Option<LeafReader>, before: Duration) -> Self {
        Self { pid, leaf, before }
    }

    /// What the job uses; `None` once it is gone.
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
