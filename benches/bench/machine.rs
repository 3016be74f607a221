//! Describes the machine of the benchmark, and its present load.

use std::{fs, process::Command, thread, time::Duration};

use serde_json::{Value, json};

/// Facts about the machine on which the figures depend.
pub fn describe(stats: &Value) -> Value {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(['=', ':']));
        value.map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let read = |path: &str| {
        fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .ok()
    };
    json!({
        "cpu": first("/proc/cpuinfo", "model name"),
        "cpus": thread::available_parallelism().map(usize::from).ok(),
        "hypervisor": fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" hypervisor")),
        "memory": first("/proc/meminfo", "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "system": first("/etc/os-release", "PRETTY_NAME"),
        "clock": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "version": stats["version"],
        "isolation": stats["isolation"],
    })
}

/// Time for which the load of other programs is observed.
const LOOK: Duration = Duration::from_secs(1);

/// The share of all CPUs that others use while this program sleeps. (The load average would not
/// help: this program has just been built, so it shows our own load.)
pub fn busy() -> f64 {
    let before = cpu_times();
    thread::sleep(LOOK);
    let after = cpu_times();
    let spent = |of: fn(&(f64, f64)) -> f64| of(&after) - of(&before);
    let (idle, all) = (spent(|times| times.0), spent(|times| times.1));
    1.0 - idle / all.max(1.0)
}

/// Idle time of all CPUs, and their total time, in ticks.
fn cpu_times() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        // A guest's time is also counted in the user's.
        .take(8)
        .collect();
    // The fourth and fifth fields: idle, and waiting for a disk.
    (ticks.iter().skip(3).take(2).sum(), ticks.iter().sum())
}

/// The machine in one line.
pub fn line(machine: &Value) -> String {
    let word = |name: &str| machine[name].as_str().unwrap_or("?").to_owned();
    format!(
        "{} × {}, {}, Linux {}, {}",
        machine["cpus"],
        word("cpu"),
        word("memory"),
        word("kernel"),
        word("system")
    )
}

/// Available memory, in bytes.
pub fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    words.unwrap_or(0) << 10
}

/// True if the program can be run.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}
