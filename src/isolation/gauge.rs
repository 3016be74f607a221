//! What a living job uses, read when somebody asks: by its cgroup, or from `/proc` where there is none.

use std::time::Duration;

use super::{cgroup::LeafReader, footprint::Footprint};

/// Reads what one job uses, for as long as it lives. Costs nothing until it is asked.
#[derive(Clone, Debug)]
pub struct Gauge {
    pid: i32,
    leaf: Option<LeafGauge>,
}

/// The cgroup of a job, and what was used there before it.
#[derive(Clone, Debug)]
pub(super) struct LeafGauge {
    pub(super) leaf: LeafReader,
    /// CPU time.
    pub(super) before: Duration,
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
    pub(super) fn new(pid: i32, leaf: Option<LeafGauge>) -> Self {
        Self { pid, leaf }
    }

    /// What the job uses; `None` once it is gone.
    pub fn read(&self) -> Option<Reading> {
        match &self.leaf {
            Some(LeafGauge { leaf, before }) => {
                let now = leaf.read().ok()?;
                Some(Reading {
                    memory: now.memory,
                    peak: now.peak,
                    limit: now.limit,
                    cpu: now.cpu.saturating_sub(*before),
                })
            }
            None => {
                let now = Footprint::of(self.pid)?;
                Some(Reading {
                    memory: now.resident,
                    peak: now.peak,
                    limit: None,
                    cpu: now.cpu,
                })
            }
        }
    }
}
