//! Processes as /proc shows them.

use std::collections::HashSet;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procfs::process::{FDTarget, Process, all_processes};

use super::{LONG, wait_until};

/// One process; its start time tells it from a later one with the same number.
#[derive(Clone, Debug)]
pub struct Seen {
    pub pid: i32,
    pub name: String,
    /// CPU time so far, in seconds.
    pub cpu: f64,
    start: u64,
    group: i32,
    zombie: bool,
}

impl Seen {
    fn read(process: &Process) -> Option<Seen> {
        let stat = process.stat().ok()?;
        Some(Seen {
            pid: stat.pid,
            cpu: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            start: stat.starttime,
            group: stat.pgrp,
            zombie: stat.state == 'Z',
            name: stat.comm,
        })
    }

    pub fn is_zygote(&self) -> bool {
        self.name.starts_with("zyg:")
    }

    pub fn is_job(&self) -> bool {
        self.name == "job"
    }

    /// Whether it still runs: not even as a zombie that nobody has reaped does it count.
    pub fn lives(&self) -> bool {
        self.now().is_some_and(|now| !now.zombie)
    }

    /// Waits for its end; the CPU time in seconds that it was seen to take until then.
    #[track_caller]
    pub fn computes_until_gone(&self) -> f64 {
        let mut last = self.cpu;
        wait_until("the process is gone", LONG, || {
            if let Some(now) = self.now() {
                last = last.max(now.cpu);
            }
            !self.lives()
        });
        last - self.cpu
    }

    /// The same process at this moment, unless it is gone for good.
    pub fn now(&self) -> Option<Seen> {
        let now = Seen::read(&Process::new(self.pid).ok()?)?;
        (now.start == self.start).then_some(now)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }
}

/// Whether `pid` runs.
pub fn lives(pid: i32) -> bool {
    let seen = Process::new(pid).ok().and_then(|p| Seen::read(&p));
    seen.is_some_and(|seen| !seen.zombie)
}

/// All children of `parent`, those included that have ended and were not reaped; none if it is
/// gone.
pub fn children(parent: i32) -> Vec<Seen> {
    let ids = || {
        let process = Process::new(parent).ok()?;
        process.task_main_thread().ok()?.children().ok()
    };
    let pids = ids().unwrap_or_default();
    pids.into_iter()
        .filter_map(|pid| Seen::read(&Process::new(pid.cast_signed()).ok()?))
        .collect()
}

/// All running processes of the process group.
pub fn group(group: i32) -> Vec<Seen> {
    let all = all_processes().unwrap();
    all.filter_map(|process| Seen::read(&process.ok()?))
        .filter(|seen| seen.group == group && !seen.zombie)
        .collect()
}

/// Memory that `pid` shares with nobody's file, in bytes: its heap and stacks.
pub fn private_memory(pid: i32) -> u64 {
    let status = Process::new(pid).unwrap().status().unwrap();
    status.rssanon.unwrap() << 10
}

/// Have the kernel count the most memory of `pid` from now on.
pub fn forget_peak(pid: i32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// The most that [`private_memory`] has been since [`forget_peak`].
pub fn peak_private_memory(pid: i32) -> u64 {
    let status = Process::new(pid).unwrap().status().unwrap();
    (status.vmhwm.unwrap() - status.rssfile.unwrap() - status.rssshmem.unwrap()) << 10
}

/// The most memory that `pid` has ever had, in bytes.
pub fn peak_memory(pid: i32) -> u64 {
    let status = Process::new(pid).unwrap().status().unwrap();
    status.vmhwm.unwrap() << 10
}

/// A process's own memory, and its share of all that it uses, in MiB.
pub fn memory(seen: &Seen) -> (f64, f64) {
    let rollup = Process::new(seen.pid).unwrap().smaps_rollup().unwrap();
    let map = &rollup.memory_map_rollup.0[0].extension.map;
    let mib = |name: &str| map[name] as f64 / f64::from(1 << 20);
    (mib("Private_Dirty") + mib("Private_Clean"), mib("Pss"))
}

/// Number of open descriptors of `pid`, those aside that belong to the slots of its jobs (pipes and
/// cgroups): slots are made when they are first needed, and kept.
pub fn descriptors(pid: i32) -> usize {
    let of_slot = |target: &FDTarget| match target {
        FDTarget::Pipe(_) => true,
        FDTarget::Path(path) => path.starts_with("/sys/fs/cgroup"),
        _ => false,
    };
    let open = Process::new(pid).unwrap().fd().unwrap();
    open.filter(|fd| fd.as_ref().is_ok_and(|fd| !of_slot(&fd.target)))
        .count()
}

/// Process ids, for comparisons.
pub fn pids<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> HashSet<i32> {
    seen.into_iter().map(|seen| seen.pid).collect()
}
