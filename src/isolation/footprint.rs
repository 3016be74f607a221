//! What a process takes, as `/proc` shows it.

use std::{fs::File, time::Duration};

use procfs::{
    FromRead,
    process::{Process, Stat},
};

use super::kernel_file;

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
    /// Page faults.
    pub page_faults: u64,
}

impl Footprint {
    /// That of process `pid`; `None` if it is gone, or hidden from us (`ProtectProc=invisible`).
    pub fn of(pid: i32) -> Option<Self> {
        View::of(pid)?.read()
    }

    /// That of this process.
    pub fn own() -> Option<Self> {
        View::open("self")?.read()
    }
}

/// Both files of `/proc` that tell the footprint of one process, opened once: each look takes two system calls then
/// instead of a dozen. It stays bound to that process, whoever gets its number later.
#[derive(Debug)]
pub struct View {
    status: File,
    stat: File,
}

impl View {
    /// Of process `pid`; `None` if it is gone, or hidden from us.
    pub fn of(pid: i32) -> Option<Self> {
        Self::open(&pid.to_string())
    }

    fn open(process: &str) -> Option<Self> {
        let open = |name| File::open(format!("/proc/{process}/{name}")).ok();
        Some(Self {
            status: open("status")?,
            stat: open("stat")?,
        })
    }

    /// What the process takes at this moment; `None` if it is reaped.
    pub fn read(&self) -> Option<Footprint> {
        let stat = read(&self.stat, |text| Stat::from_read(text.as_bytes()).ok())?;
        let seconds_times_ticks = Duration::from_secs(stat.utime + stat.stime);
        let cpu = seconds_times_ticks / u32::try_from(procfs::ticks_per_second()).ok()?;
        read(&self.status, |status| {
            Some(Footprint {
                resident: bytes(status, "VmRSS:")?,
                peak: bytes(status, "VmHWM:")?,
                anonymous: bytes(status, "RssAnon:")?,
                cpu,
                threads: field(status, "Threads:")?,
                page_faults: stat.minflt + stat.majflt,
            })
        })
    }

    /// What of its memory is no file's, in bytes; `None` if it is reaped.
    pub fn anonymous(&self) -> Option<u64> {
        read(&self.status, |status| bytes(status, "RssAnon:"))
    }
}

fn read<T>(file: &File, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    kernel_file::read(file, |text| parse(str::from_utf8(text).ok()?)).ok()?
}

/// A number of a status. The library makes a table of all sixty lines first, which takes longer than all else that the
/// service does for an answer.
fn field(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// A size of a status, which has them in KiB. A process that has ended has none any more.
fn bytes(status: &str, name: &str) -> Option<u64> {
    Some(field(status, name).unwrap_or(0) << 10)
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
