//! Memory, CPU time and threads of a process, read from `/proc`.

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
    /// Highest `resident` so far.
    pub peak: u64,
    /// Resident memory that no file backs: heap and stacks.
    pub anonymous: u64,
    /// CPU time of all threads, user and system.
    pub cpu: Duration,
    /// Threads that the process has now.
    pub threads: u64,
    /// Page faults since the process began.
    pub page_faults: u64,
}

impl Footprint {
    /// Footprint of process `pid`; `None` if it is gone or hidden from us
    /// (`ProtectProc=invisible`).
    pub fn of(pid: i32) -> Option<Self> {
        View::of(pid)?.read()
    }

    /// Footprint of this process.
    pub fn own() -> Option<Self> {
        View::open("self")?.read()
    }
}

/// The two files of `/proc` that describe one process, opened once: each reading then takes two
/// system calls instead of a dozen. They stay bound to that process, even if another one gets its
/// number later.
#[derive(Debug)]
pub struct View {
    status: File,
    stat: File,
}

impl View {
    /// Open the files of process `pid`; `None` if it is gone or hidden from us.
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

    /// Read the current footprint; `None` if the process is reaped.
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

    /// Current anonymous memory in bytes; `None` if the process is reaped.
    pub fn anonymous(&self) -> Option<u64> {
        read(&self.status, |status| bytes(status, "RssAnon:"))
    }
}

fn read<T>(file: &File, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    kernel_file::read(file, |text| parse(str::from_utf8(text).ok()?)).ok()?
}

/// A number from a status file. The procfs library first builds a table of all sixty lines, which
/// would take longer than everything else that the service does for an answer.
fn field(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// A size from a status file, which gives KiB. Returns 0 for a process that has ended, which has no
/// sizes.
fn bytes(status: &str, name: &str) -> Option<u64> {
    Some(field(status, name).unwrap_or(0) << 10)
}

/// Memory of process `pid` in bytes, where each shared page counts by its share; `None` if the
/// kernel does not tell us.
pub fn proportional(pid: i32) -> Option<u64> {
    let maps = Process::new(pid).ok()?.smaps_rollup().ok()?;
    let mut memory = maps.memory_map_rollup.0.into_iter();
    memory.find_map(|map| map.extension.map.get("Pss").copied())
}

/// Number of open descriptors of this process.
pub fn descriptors() -> Option<usize> {
    Process::myself().ok()?.fd_count().ok()
}
