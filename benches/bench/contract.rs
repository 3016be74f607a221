//! The project's contract: every figure, its goal, and how to reproduce it. Goals are stated only
//! here.

/// Unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Microseconds,
    Milliseconds,
    Times,
    PerSecond,
    Bytes,
    Count,
}

/// The goal of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// No goal: the figure explains others.
    Told,
}

/// One figure of the contract.
#[derive(Debug)]
pub struct Figure {
    /// Its name in `report.json`.
    pub id: &'static str,
    pub what: &'static str,
    pub unit: Unit,
    pub goal: Goal,
    /// How to reproduce it without this benchmark, or other remarks.
    pub how: &'static str,
}

/// Time of a bare fork, exit and wait on the machine for which the goals were set, in microseconds.
pub const FORK_WHERE_SET: f64 = 95.0;

const MIB: f64 = 1_048_576.0;

use Goal::{AtLeast, AtMost, Told};
use Unit::{Bytes, Count, Microseconds, Milliseconds, PerSecond, Times};

const fn figure(
    id: &'static str,
    what: &'static str,
    unit: Unit,
    goal: Goal,
    how: &'static str,
) -> Figure {
    Figure {
        id,
        what,
        unit,
        goal,
        how,
    }
}

/// All figures, in the order of the table.
pub const CONTRACT: &[Figure] = &[
    figure(
        "floor_fork",
        "Floor: a bare fork, exit and wait, p50",
        Microseconds,
        Told,
        "",
    ),
    figure(
        "floor_byte",
        "Floor: a one-byte answer from a waiting child, p50",
        Microseconds,
        Told,
        "",
    ),
    figure(
        "added_p50",
        "Time that isolation adds to a request (warm spare), p50",
        Microseconds,
        AtMost(100.0),
        "`process` less `thread`, null engine, one client, a spare is ready",
    ),
    figure(
        "added_p99",
        "… p99",
        Microseconds,
        AtMost(300.0),
        "p99 less p99",
    ),
    figure(
        "added_busy_p50",
        "… one request right after the other, p50",
        Microseconds,
        AtMost(100.0),
        "as before, without a pause",
    ),
    figure("added_busy_p99", "… p99", Microseconds, AtMost(300.0), ""),
    figure(
        "added_idle_p50",
        "… after 100 ms of idleness, p50",
        Microseconds,
        AtMost(250.0),
        "",
    ),
    figure("added_idle_p99", "… p99", Microseconds, AtMost(500.0), ""),
    figure(
        "added_demand_p50",
        "… spares exhausted: a fork for each request, p50",
        Microseconds,
        AtMost(500.0),
        "`spares = { min = 0, max = 0 }`",
    ),
    figure(
        "added_demand_p99",
        "… p99",
        Microseconds,
        AtMost(1000.0),
        "",
    ),
    figure(
        "naive_spawn",
        "What multiprocessing `spawn` adds, over what this adds",
        Times,
        AtLeast(300.0),
        "p50 of each less p50 of the same server without a process",
    ),
    figure(
        "naive_forkserver",
        "… `forkserver`",
        Times,
        AtLeast(50.0),
        "",
    ),
    figure("naive_fork", "… `fork`", Times, AtLeast(10.0), ""),
    figure(
        "end_to_end",
        "Real engine, end to end: `process` over `thread`, p50",
        Times,
        AtMost(1.02),
        "pocketsphinx, goforward.raw",
    ),
    figure(
        "throughput",
        "Requests per second, a process each, null engine",
        PerSecond,
        AtLeast(3000.0),
        "best over the numbers of clients; the load generator uses the same CPUs",
    ),
    figure(
        "supervisor_memory",
        "Private memory of the supervisor",
        Bytes,
        AtMost(12.0 * MIB),
        "Private_* of smaps_rollup",
    ),
    figure(
        "supervisor_growth",
        "… its growth after request 1 000",
        Bytes,
        AtMost(MIB / 4.0),
        "to request 1 000 000: below, by `make endurance`",
    ),
    figure(
        "leak_answers",
        "Requests that each leak 260 MB and are not answered",
        Count,
        AtMost(0.0),
        "`tests/engines/modes.rs`; with memory limits: `tests/vm/cases/21-leaks`",
    ),
    figure(
        "leak_growth",
        "… growth of the supervisor",
        Bytes,
        AtMost(MIB / 4.0),
        "",
    ),
    figure(
        "live_latency",
        "Realtime session: end of speech → text, beyond the engine's own time, p95",
        Milliseconds,
        AtMost(150.0),
        "from `speech_stopped` to `completed`, pocketsphinx, goforward.raw",
    ),
    figure(
        "live_session",
        "… memory of the supervisor for each session in which nobody speaks",
        Bytes,
        AtMost(96.0 * 1024.0),
        "",
    ),
    figure(
        "live_delay",
        "… a request's time beside 200 of them, over its time without, p50",
        Times,
        AtMost(1.05),
        "null engine, a spare is ready; both in turns",
    ),
    figure(
        "live_growth",
        "… growth of the supervisor after sessions were opened and closed",
        Bytes,
        AtMost(MIB / 4.0),
        "10 000 of them (`make bench`)",
    ),
    figure(
        "live_leak_answers",
        "One session with an engine that leaks 30 MB with each second: turns not answered",
        Count,
        AtMost(0.0),
        "an hour of audio (`make bench`)",
    ),
    figure(
        "live_leak_growth",
        "… growth of the supervisor",
        Bytes,
        AtMost(MIB / 4.0),
        "",
    ),
    figure(
        "azure_answers",
        "Requests to the real Azure SDK, which releases nothing, that are not answered",
        Count,
        AtMost(0.0),
        "`tests/engines/azure.rs`; the service that it asks is the benchmark's own",
    ),
    figure(
        "azure_growth",
        "… growth of the supervisor",
        Bytes,
        AtMost(MIB / 4.0),
        "",
    ),
    figure(
        "model_memory",
        "Eight jobs at once: memory of all over model and the jobs' own",
        Times,
        AtMost(1.15),
        "(PSS of zygote and jobs − private memory of jobs) / PSS of a lone zygote",
    ),
    figure(
        "upload_heap",
        "Eight large uploads at once: growth of the supervisor's heap",
        Bytes,
        AtMost(2.0 * MIB),
        "1 GiB each (`make bench`)",
    ),
    figure(
        "upload_jobs",
        "… jobs held while bodies arrive",
        Count,
        AtMost(0.0),
        "",
    ),
    figure(
        "free_hang_up",
        "Client hangs up → slot free again, p99",
        Milliseconds,
        AtMost(5.0),
        "seen from outside; with cgroups, emulated: `tests/vm/cases/40-slots`",
    ),
    figure(
        "free_deadline",
        "Deadline passes → slot free again, p99",
        Milliseconds,
        AtMost(5.0),
        "the service's own clock, from its decision to kill",
    ),
    figure(
        "dying_cgroups",
        "Dying cgroups beyond the number of slots",
        Count,
        AtMost(0.0),
        "`tests/vm/cases/21-leaks`",
    ),
    figure(
        "cold_start",
        "Socket-activated cold start beyond loading the model, p50",
        Milliseconds,
        AtMost(50.0),
        "first byte of the first answer, less the time in which the engine loads, less the same request to the running service",
    ),
    figure(
        "neighbours",
        "Failures among neighbours while every kind of fault is injected",
        Count,
        AtMost(0.0),
        "`tests/engines/faults.rs`; under limits: `tests/vm/cases/30-faults`",
    ),
    figure(
        "stage_connect",
        "Stage: connecting and being accepted, p50",
        Microseconds,
        Told,
        "a new connection less a kept one",
    ),
    figure(
        "stage_http",
        "Stage: HTTP alone (`GET /healthz`), p50",
        Microseconds,
        Told,
        "",
    ),
    figure(
        "stage_upload",
        "Stage: spooling the recording, mean",
        Microseconds,
        Told,
        "`upload` in `/v1/stats`",
    ),
    figure(
        "stage_queue",
        "Stage: queue, mean",
        Microseconds,
        Told,
        "`queue`",
    ),
    figure(
        "stage_hand_over",
        "Stage: the way to the job and back, mean",
        Microseconds,
        Told,
        "`hand_over`",
    ),
    figure(
        "stage_decode",
        "Stage: decoding, mean",
        Microseconds,
        Told,
        "`decode`",
    ),
    figure(
        "stage_transcribe",
        "Stage: engine, mean",
        Microseconds,
        Told,
        "`transcribe`",
    ),
    figure(
        "stage_reply",
        "Stage: the rest (HTTP, reply, the client's wake-up), mean",
        Microseconds,
        Told,
        "the client's time less all the others",
    ),
    figure(
        "stage_exit",
        "Off the client's time: answer → job reaped and slot free, mean",
        Microseconds,
        Told,
        "`exit`",
    ),
    figure(
        "stage_start",
        "Off the client's time: a fork is asked for → spare ready, mean",
        Microseconds,
        Told,
        "`start`",
    ),
    figure(
        "supervisor_cpu",
        "CPU time of the supervisor for each request",
        Microseconds,
        Told,
        "`/proc/PID/schedstat`",
    ),
    figure(
        "supervisor_wakeups",
        "Times that the supervisor slept, for each request",
        Count,
        Told,
        "`voluntary_ctxt_switches`",
    ),
    figure(
        "supervisor_calls",
        "System calls of the supervisor for each request",
        Count,
        Told,
        "`strace -c`",
    ),
    figure(
        "job_calls",
        "System calls of zygote and job for each request",
        Count,
        Told,
        "`strace -c -f`",
    ),
    figure(
        "job_faults",
        "Page faults of zygote and job for each request",
        Count,
        Told,
        "`perf stat -e page-faults`",
    ),
    figure(
        "supervisor_instructions",
        "Instructions of the supervisor for each request",
        Count,
        Told,
        "`perf stat -e instructions`",
    ),
];

/// The figure with this id.
pub fn find(id: &str) -> &'static Figure {
    let found = CONTRACT.iter().find(|figure| figure.id == id);
    found.unwrap_or_else(|| panic!("the contract has no figure {id}"))
}

impl Goal {
    /// True if `value` reaches the goal; `None` if there is none.
    pub fn is_met(self, value: f64) -> Option<bool> {
        match self {
            AtMost(bound) => Some(value <= bound),
            AtLeast(bound) => Some(value >= bound),
            Told => None,
        }
    }

    pub fn text(self, unit: Unit) -> String {
        match self {
            AtMost(bound) => format!("≤ {}", unit.text(bound)),
            AtLeast(bound) => format!("≥ {}", unit.text(bound)),
            Told => "–".into(),
        }
    }
}

impl Unit {
    pub fn text(self, value: f64) -> String {
        match self {
            Microseconds if value.abs() >= 10_000.0 => format!("{:.1} ms", value / 1000.0),
            Microseconds => format!("{value:.0} µs"),
            Milliseconds => format!("{value:.1} ms"),
            Times if value.abs() >= 10.0 => format!("{value:.0}×"),
            Times => format!("{value:.3}×"),
            PerSecond => format!("{value:.0}/s"),
            Bytes if value.abs() >= MIB => format!("{:.1} MiB", value / MIB),
            Bytes => format!("{:.0} KiB", value / 1024.0),
            Count if value.fract() == 0.0 => format!("{value:.0}"),
            Count => format!("{value:.1}"),
        }
    }
}
