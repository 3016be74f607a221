//! What a process takes, as `/proc` shows it.

use std::time::Duration;

use procfs::process::{Process, Status};

/// Memory, time and threads of one process. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory, pages shared with other processes included.
    pub resident: u64,
    /// The most of it so far.
    pub peak: u64,
    /// What of it is no file's: heap and stacks.
    pub anonymous: u64,
    /// CPU time of all threads, user and system.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
}

impl Footprint {
    /// That of process `pid`; `None` if it is gone, or hidden from us (`ProtectProc=invisible`).
    pub fn of(pid: i32) -> Option<Self> {
        Self::read(&Process::new(pid).ok()?)
    }

    /// That of this process.
    pub fn own() -> Option<Self> {
        Self::read(&Process::myself().ok()?)
    }

    fn read(process: &Process) -> Option<Self> {
        let status = process.status().ok()?;
        let stat = process.stat().ok()?;
        let bytes = |kibibytes: fn(&Status) -> Option<u64>| kibibytes(&status).unwrap_or(0) << 10;
        let seconds_times_ticks = Duration::from_secs(stat.utime + stat.stime);
        Some(Self {
            resident: bytes(|status| status.vmrss),
            peak: bytes(|status| status.vmhwm),
            anonymous: bytes(|status| status.rssanon),
            cpu: seconds_times_ticks / u32::try_from(procfs::ticks_per_second()).ok()?,
            threads: status.threads,
        })
    }
}

/// Memory of process `pid` where a page that is shared counts by its share, in bytes; `None` if the kernel does not
/// tell us.
pub fn proportional(pid: i32) -> Option<u64> {
    let maps = Process::new(pid).ok()?.smaps_rollup().ok()?;
    let mut memory = maps.memory_map_rollup.0.into_iter();
    memory.find_map(|map| map.extension.map.get("Pss").copied())
}

/// Number of open descriptors of this process.
pub fn descriptors() -> Option<usize> {
    Process::myself().ok()?.fd_count().ok()
}
