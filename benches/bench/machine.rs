//! The machine that all this ran on, and what it lets one see.

use std::{fs, process::Command, thread};

use serde_json::{Value, json};

/// What figures depend on and nobody can tell from them.
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
        "load_at_start": read("/proc/loadavg"),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "version": stats["version"],
        "isolation": stats["isolation"],
    })
}

/// Load of the last minute for each CPU.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or(0.0);
    load / thread::available_parallelism().map_or(1.0, |count| usize::from(count) as f64)
}

/// Memory that can still be had, in bytes.
pub fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    words.unwrap_or(0) << 10
}

/// Whether a program can be run.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}
