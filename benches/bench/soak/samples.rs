//! Samples the service's resources every few seconds, and checks that none of them keeps growing.

use std::{fmt, fs, path::PathBuf, time::Duration};

use procfs::process::Process;

use crate::{
    common::{
        daemon::Daemon,
        process::{self, Seen, private_memory},
    },
    outcome::Outcome,
};

/// Growth of the supervisor's memory over the whole run that is still accepted, in bytes.
pub const MOST_MEMORY: f64 = 262_144.0;

/// The same for counted things, which rise and fall by a few under load.
const MOST_COUNT: f64 = 2.0;

/// The resources at one moment.
#[derive(Debug)]
pub struct Sample {
    pub at: Duration,
    /// Heap and stacks of the supervisor, in bytes.
    memory: u64,
    /// Heap and stacks of all zygotes, in bytes.
    zygotes: u64,
    descriptors: usize,
    threads: usize,
    children: usize,
    /// Number of cgroups; `None` if no cgroup confines the jobs.
    cgroups: Option<usize>,
    answers: u64,
}

impl Sample {
    pub fn of(daemon: &Daemon, at: Duration, answers: u64) -> Sample {
        let pid = daemon.pid();
        let children = daemon.children();
        let zygotes = children.iter().filter(|child| child.is_zygote());
        let memory = |seen: &Seen| {
            let status = Process::new(seen.pid).ok()?.status().ok()?;
            Some(status.rssanon? << 10)
        };
        Sample {
            at,
            memory: private_memory(pid),
            zygotes: zygotes.filter_map(memory).sum(),
            descriptors: process::descriptors(pid),
            threads: Process::new(pid).unwrap().tasks().unwrap().count(),
            children: children.len(),
            cgroups: cgroups(pid),
            answers,
        }
    }

    pub fn plot(samples: &[Sample], outcome: &mut Outcome) {
        let series = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
            let points = samples
                .iter()
                .map(|sample| (sample.at.as_secs_f64() / 60.0, value(sample)));
            points.collect()
        };
        outcome.plot(
            "soak_memory",
            "supervisor",
            series(&|sample| sample.memory as f64 / 1024.0),
        );
        outcome.plot(
            "soak_counts",
            "descriptors",
            series(&|sample| sample.descriptors as f64),
        );
        outcome.plot(
            "soak_counts",
            "processes below it",
            series(&|sample| sample.children as f64),
        );
        outcome.plot(
            "soak_counts",
            "threads",
            series(&|sample| sample.threads as f64),
        );
        if samples.iter().any(|sample| sample.cgroups.is_some()) {
            outcome.plot(
                "soak_counts",
                "cgroups",
                series(&|sample| sample.cgroups.unwrap_or(0) as f64),
            );
        }
        let rates = samples.windows(2).map(|pair| {
            let (one, other) = (&pair[0], &pair[1]);
            let seconds = (other.at - one.at).as_secs_f64();
            (
                other.at.as_secs_f64() / 60.0,
                (other.answers - one.answers) as f64 / seconds,
            )
        });
        outcome.plot("soak_answers", "all kinds", rates.collect());
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6.1} min: {} answers, supervisor {} KiB, zygotes {} KiB, {} descriptors, {} children, {} threads",
            self.at.as_secs_f64() / 60.0,
            self.answers,
            self.memory >> 10,
            self.zygotes >> 10,
            self.descriptors,
            self.children,
            self.threads
        )
    }
}

/// Number of cgroups below the service's own.
fn cgroups(pid: i32) -> Option<usize> {
    let groups = Process::new(pid).ok()?.cgroups().ok()?;
    let own = groups.0.into_iter().find(|group| group.hierarchy == 0)?;
    let path = PathBuf::from("/sys/fs/cgroup").join(own.pathname.trim_start_matches('/'));
    let jobs = fs::read_dir(path.parent()?).ok()?.filter(|entry| {
        entry
            .as_ref()
            .is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("job-"))
    });
    Some(jobs.count()).filter(|count| *count > 0)
}

/// One sentence for each resource that grows.
pub fn judge(samples: &[Sample]) -> Vec<String> {
    type Value = fn(&Sample) -> f64;
    let watched: [(&str, Value, f64); 6] = [
        (
            "bytes of the supervisor",
            |sample| sample.memory as f64,
            MOST_MEMORY,
        ),
        (
            "bytes of the zygotes",
            |sample| sample.zygotes as f64,
            4.0 * MOST_MEMORY,
        ),
        (
            "descriptors",
            |sample| sample.descriptors as f64,
            MOST_COUNT,
        ),
        ("threads", |sample| sample.threads as f64, MOST_COUNT),
        ("processes", |sample| sample.children as f64, MOST_COUNT),
        (
            "cgroups",
            |sample| sample.cgroups.unwrap_or(0) as f64,
            MOST_COUNT,
        ),
    ];
    let grown = watched.into_iter().filter_map(|(what, value, most)| {
        let points: Vec<(f64, f64)> = samples
            .iter()
            .map(|sample| (sample.at.as_secs_f64(), value(sample)))
            .collect();
        let growth = growth(&points);
        (growth > most).then(|| format!("{growth:.0} {what} more from the beginning to the end"))
    });
    grown.collect()
}

/// Rise of the straight line through these points over their whole length: the median of all slopes
/// (Theil and Sen), which single peaks do not move.
fn growth(points: &[(f64, f64)]) -> f64 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return 0.0;
    };
    let mut slopes = Vec::new();
    for (number, (x, y)) in points.iter().enumerate() {
        for (later_x, later_y) in &points[number + 1..] {
            slopes.push((later_y - y) / (later_x - x));
        }
    }
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.get(slopes.len() / 2).copied().unwrap_or(0.0);
    middle * (last.0 - first.0)
}
