//! The limits of one job: `[limits]`, and what one model overrides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    memory::{MIN_JOB_MEMORY, MemoryBudget},
    mode::Mode,
};
use crate::{
    isolation::cgroup::LeafLimits,
    problems::Problems,
    units::{ByteSize, Time, time},
};

/// The limits of one job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Private memory of the job (`memory.max` of its cgroup). Memory shared with its zygote is not
    /// counted.
    pub memory: ByteSize,
    /// Number of threads and processes (`pids.max`).
    pub pids: u32,
    /// Longest recording that is transcribed.
    #[serde(with = "time")]
    pub max_audio: Duration,
    /// Wall-clock time that every job has, in addition to the time for its audio.
    #[serde(with = "time")]
    pub deadline: Duration,
    /// Seconds of wall-clock time added for each second of audio.
    pub deadline_per_audio_second: f64,
    /// CPU time of all threads together that every job has, in addition to the time for its audio.
    #[serde(with = "time")]
    pub cpu_time: Duration,
    /// Seconds of CPU time added for each second of audio.
    pub cpu_time_per_audio_second: f64,
    /// Longest time without a message from the job and without use of the CPU.
    #[serde(with = "time")]
    pub stall: Duration,
    /// Number of CPUs that a job may keep busy (`cpu.max`); 0: all.
    pub cpus: f64,
    /// Share of the CPU relative to other jobs when it is scarce (`cpu.weight`, 1 to 10000).
    pub cpu_weight: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(512),
            pids: 32,
            max_audio: Duration::from_secs(4 * 3600),
            deadline: Duration::from_secs(30),
            deadline_per_audio_second: 4.0,
            cpu_time: Duration::from_secs(120),
            cpu_time_per_audio_second: 16.0,
            stall: Duration::from_secs(30),
            cpus: 0.0,
            cpu_weight: 100,
        }
    }
}

/// The keys of [`Limits`], each optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsOverride {
    memory: Option<ByteSize>,
    pids: Option<u32>,
    max_audio: Option<Time>,
    deadline: Option<Time>,
    deadline_per_audio_second: Option<f64>,
    cpu_time: Option<Time>,
    cpu_time_per_audio_second: Option<f64>,
    stall: Option<Time>,
    cpus: Option<f64>,
    cpu_weight: Option<u32>,
}

impl LimitsOverride {
    /// These keys in place of those of `base`.
    pub fn over(&self, base: Limits) -> Limits {
        Limits {
            memory: self.memory.unwrap_or(base.memory),
            pids: self.pids.unwrap_or(base.pids),
            max_audio: self.max_audio.map_or(base.max_audio, |t| t.0),
            deadline: self.deadline.map_or(base.deadline, |t| t.0),
            deadline_per_audio_second: self
                .deadline_per_audio_second
                .unwrap_or(base.deadline_per_audio_second),
            cpu_time: self.cpu_time.map_or(base.cpu_time, |t| t.0),
            cpu_time_per_audio_second: self
                .cpu_time_per_audio_second
                .unwrap_or(base.cpu_time_per_audio_second),
            stall: self.stall.map_or(base.stall, |t| t.0),
            cpus: self.cpus.unwrap_or(base.cpus),
            cpu_weight: self.cpu_weight.unwrap_or(base.cpu_weight),
        }
    }
}

impl Limits {
    /// Check every rule that the types cannot express, for a model that is served in this mode.
    pub(super) fn check(&self, mode: Mode, budget: MemoryBudget, problems: &mut Problems) {
        if self.memory < MIN_JOB_MEMORY {
            problems.add("memory", format!("a job needs at least {MIN_JOB_MEMORY}"));
        }
        if let MemoryBudget::Size(budget) = budget
            && self.memory > budget
            && mode != Mode::Thread
        {
            let what = format!("{} is more than memory.budget, {budget}", self.memory);
            problems.add("memory", what);
        }
        if self.pids == 0 {
            problems.add("pids", "must be at least 1");
        }
        problems.time("max_audio", self.max_audio);
        problems.time("deadline", self.deadline);
        problems.time("cpu_time", self.cpu_time);
        problems.time("stall", self.stall);
        let factors = [
            ("deadline_per_audio_second", self.deadline_per_audio_second),
            ("cpu_time_per_audio_second", self.cpu_time_per_audio_second),
            ("cpus", self.cpus),
        ];
        for (key, factor) in factors {
            if !(0.0..=1000.0).contains(&factor) {
                problems.add(key, "must be between 0 and 1000");
            }
        }
        // Below 0.01 the quota in the kernel's period of 100 ms is less than the 1 ms that it
        // accepts.
        if self.cpus > 0.0 && self.cpus < 0.01 {
            problems.add("cpus", "must be 0 or at least 0.01");
        }
        if !(1..=10_000).contains(&self.cpu_weight) {
            problems.add("cpu_weight", "must be between 1 and 10000");
        }
    }

    /// The limits that the job's cgroup enforces.
    pub fn of_cgroup(&self) -> LeafLimits {
        LeafLimits::of_job(self.memory.bytes(), self.pids, self.cpu_weight, self.cpus)
    }
}
