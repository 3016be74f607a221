//! Abilities of this kernel, found out by trying, never by its version number.

use std::fmt;

use serde::Serialize;

use super::{
    cgroup::{CgroupError, Tree},
    clone::birth,
    exit::How,
};

/// Result of the probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Release of the running kernel, only for readers of the log.
    pub kernel: String,
    /// True if jobs get their own cgroups with a memory limit.
    pub cgroup: bool,
    /// True if `memory.peak` can be reset. If not, a slot's directory is made again for each job.
    pub resets_memory_peak: bool,
    /// True if this kernel kills every process that is born in a cgroup whose `cgroup.kill` was
    /// written before. This does no harm: such a directory is never used again.
    pub cgroup_kill_poisons: bool,
}

impl Probe {
    /// Try everything in `tree`. Takes a few milliseconds.
    ///
    /// # Errors
    /// A process cannot be started in a fresh cgroup below ours.
    pub fn run(tree: Option<&Tree>) -> Result<Self, CgroupError> {
        let kernel = release();
        let Some(tree) = tree else {
            return Ok(Self {
                kernel,
                cgroup: false,
                resets_memory_peak: false,
                cgroup_kill_poisons: false,
            });
        };
        let mut leaf = tree.leaf("job-probe")?;
        let born = |leaf: &super::cgroup::Leaf| {
            birth(leaf.directory()).map_err(|source| CgroupError::File {
                action: "make a process in",
                path: tree.path().join("job-probe"),
                source,
            })
        };
        born(&leaf)?;
        let resets_memory_peak = leaf.resets_peak();
        leaf.kill_all()?;
        let cgroup_kill_poisons = born(&leaf)?.how != How::Status(0);
        leaf.remove()?;
        Ok(Self {
            kernel,
            cgroup: true,
            resets_memory_peak,
            cgroup_kill_poisons,
        })
    }
}

/// Asks the kernel itself, because `ProcSubset=pid` hides `/proc/sys`.
fn release() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |yes: bool| if yes { "yes" } else { "no" };
        write!(
            f,
            "kernel {}; cgroup v2 with memory limits: {}; memory.peak can be reset: {}; cgroup.kill poisons: {}",
            self.kernel,
            word(self.cgroup),
            word(self.resets_memory_peak),
            word(self.cgroup_kill_poisons)
        )
    }
}
