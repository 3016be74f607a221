//! The daemon under test: its configuration, its own figures, and the kernel's figures about it.

use std::{fs, thread, time::Duration};

use procfs::process::Process;
use serde_json::Value;

use crate::{
    client::{Client, get},
    common::{
        LONG,
        clips::wav,
        daemon::{Daemon, Setup},
        look::Look,
        wait_until,
    },
};

/// Switches off everything that could happen by itself during a measurement.
const CALM: &str = r#"
default_model = "process"
[service]
log_level = "error"
[health]
interval = "0s"
[breaker]
crashes = 0
[memory]
budget = "unlimited"
[zygote]
max_forks = 0
load_timeout = "5min"
[clients]
max_queued = 0
"#;

/// The recording for measurements that are not about the engine: a tenth of a second.
pub fn moment() -> Vec<u8> {
    wav(&[0; 3200])
}

/// The engine that does nothing, in every mode.
pub const NULL_MODELS: &str = r#"
[models.process]
engine = "null"
spares = { min = 2, max = 4 }
[models.hybrid]
engine = "null"
mode = "hybrid"
[models.thread]
engine = "null"
mode = "thread"
[models.demand]
engine = "null"
spares = { min = 0, max = 0 }
"#;

/// The configuration with these tables added.
pub fn config(more: &str) -> String {
    format!("{CALM}{more}")
}

/// Start the daemon with these models.
pub fn start(more: &str) -> Daemon {
    Setup::new(&config(more)).start()
}

/// Wait until the service is idle.
pub fn settle(daemon: &Daemon) {
    let mut client = Client::connect(daemon.socket()).unwrap();
    let request = get("/v1/stats");
    wait_until("the service is idle", LONG, || {
        let reply = client.exchange(&request).unwrap();
        let stats: Value = serde_json::from_slice(reply.body).unwrap();
        stats["total"]["running"] == 0 && stats["total"]["queued"] == 0
    });
    thread::sleep(Duration::from_millis(50));
}

/// The resources of an idle service, in words.
pub fn told(look: &Look) -> String {
    format!(
        "{} KiB of heap and stacks, {} descriptors, {} threads, {} processes below it",
        look.memory >> 10,
        look.descriptors,
        look.threads,
        look.children
    )
}

/// Resources that an idle service has now but did not have before; its memory has its own goal.
pub fn grown(first: &Look, last: &Look) -> Vec<String> {
    let counts = [
        ("descriptors", first.descriptors, last.descriptors),
        ("threads", first.threads, last.threads),
        ("children", first.children, last.children),
    ];
    let changed = counts
        .into_iter()
        .filter(|(_, before, after)| before != after);
    changed
        .map(|(what, before, after)| format!("{before} {what} when idle became {after}"))
        .collect()
}

/// Private memory of a process in bytes, including pages of files that no other process has mapped.
pub fn private(pid: i32) -> u64 {
    of_rollup(pid, &["Private_Clean", "Private_Dirty"])
}

/// Proportional share of all memory that a process uses, in bytes.
pub fn proportional(pid: i32) -> u64 {
    of_rollup(pid, &["Pss"])
}

fn of_rollup(pid: i32, names: &[&str]) -> u64 {
    let rollup = Process::new(pid).and_then(|process| process.smaps_rollup());
    let rollup = rollup.expect("only root may see how processes share memory");
    let map = &rollup.memory_map_rollup.0[0].extension.map;
    names.iter().map(|name| map[*name]).sum()
}

/// CPU time of a process's main thread in nanoseconds, with the scheduler's precision.
pub fn cpu(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// How often a process's main thread went to sleep.
pub fn sleeps(pid: i32) -> u64 {
    let status = Process::new(pid).unwrap().status().unwrap();
    status.voluntary_ctxt_switches.unwrap()
}
