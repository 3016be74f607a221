//! How long processes have waited for a CPU, which tells a busy host from a process that hangs.

use std::{fs::File, io::BufReader, path::Path, time::Duration};

use procfs::{
    CpuPressure, FromBufRead, ProcResult,
    process::{ProcState, Process, Task, all_processes},
};

/// Waits for a CPU, up to one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Time spent waiting since the processes began. Without a cgroup the waits of all threads are
    /// added up, and a wait counts only when it is over.
    pub total: Duration,
    /// True if a wait goes on that `total` lacks. A thread that runs right now looks the same.
    pub goes_on: bool,
}

impl Delay {
    /// The waits of all processes in the cgroup at `leaf`: the time in which at least one of them
    /// waited. `None` if the kernel does not count that (`psi=0`).
    pub fn of_leaf(leaf: &Path) -> Option<Self> {
        let file = File::open(leaf.join("cpu.pressure")).ok()?;
        let pressure = CpuPressure::from_buf_read(BufReader::new(file)).ok()?;
        Some(Self {
            total: Duration::from_micros(pressure.some.total),
            goes_on: false,
        })
    }

    /// The waits of process `pid`; `None` if it is gone or hidden from us
    /// (`ProtectProc=invisible`).
    pub fn of_process(pid: i32) -> Option<Self> {
        let tasks = Process::new(pid).ok()?.tasks().ok()?;
        let mut all = Self::default();
        for task in tasks.filter_map(Result::ok) {
            // A thread that has just ended waits no longer.
            let (waited, runs) = of_task(&task).unwrap_or_default();
            all.total += waited;
            all.goes_on |= runs;
        }
        Some(all)
    }

    /// The waits of all processes in the group that process `pid` leads.
    pub fn of_group(pid: i32) -> Option<Self> {
        let mut all = Self::default();
        for process in all_processes().ok()?.filter_map(Result::ok) {
            if process.stat().is_ok_and(|stat| stat.pgrp == pid)
                && let Some(delay) = Self::of_process(process.pid)
            {
                all.total += delay.total;
                all.goes_on |= delay.goes_on;
            }
        }
        Some(all)
    }
}

/// How long a thread has waited, and whether it wants to run now.
fn of_task(task: &Task) -> ProcResult<(Duration, bool)> {
    let waited = Duration::from_nanos(task.schedstat()?.run_delay);
    Ok((waited, task.stat()?.state()? == ProcState::Running))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        process::{Child, Command, Stdio},
        time::Instant,
    };

    use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

    use super::*;

    /// Ends the process when the test ends.
    struct Busy(Child);

    impl Busy {
        fn start(script: &str) -> Self {
            let mut command = Command::new("sh");
            command
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            Self(command.spawn().unwrap())
        }

        /// Waits for its first byte.
        fn speaks(&mut self) {
            self.0
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut [0])
                .unwrap();
        }

        fn pid(&self) -> i32 {
            self.0.id().cast_signed()
        }

        /// Keeps it on the first CPU that this process may use.
        fn pinned(self) -> Self {
            let own = sched_getaffinity(None).unwrap();
            let first = (0..CpuSet::MAX_CPU).find(|cpu| own.is_set(*cpu));
            let mut one = CpuSet::new();
            one.set(first.unwrap());
            sched_setaffinity(Pid::from_raw(self.pid()), &one).unwrap();
            self
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn waiting_for_a_cpu_is_told_from_sleeping() {
        const SPIN: &str = "while :; do :; done";
        let [one, _other] = [SPIN, SPIN].map(|script| Busy::start(script).pinned());
        let start = Instant::now();
        // Two that share a CPU wait half of the time, or longer if others want it, too.
        while Delay::of_process(one.pid()).unwrap().total < Duration::from_millis(200) {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(Delay::of_process(one.pid()).unwrap().goes_on);

        // A shell that has spoken has read all it needs from the disk, so it sleeps once, for good.
        let mut sleeper = Busy::start("echo; read line");
        sleeper.speaks();
        let asleep = || Delay::of_process(sleeper.pid()).unwrap();
        while asleep().goes_on {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = asleep();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(asleep(), before);
        assert_eq!(Delay::of_process(i32::MAX), None);
    }
}
