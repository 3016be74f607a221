//! The stages of a request by the service's own clocks, and the rest for the client.

use std::time::Duration;

use serde_json::Value;

use crate::{
    client::{Client, get, request},
    common::daemon::Daemon,
    outcome::Outcome,
    sample::Samples,
    scale::Scale,
    service::{self, NULL_MODELS},
};

const PAUSE: Duration = Duration::from_millis(2);

/// Stages within the client's time, as `/v1/stats` names them.
const WITHIN: [&str; 5] = ["upload", "queue", "hand_over", "decode", "transcribe"];

/// Stages for which no client waits.
const BEYOND: [&str; 2] = ["exit", "start"];

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(NULL_MODELS);
    let bytes = request("process", &service::moment());
    let mut client = Client::connect(daemon.socket()).unwrap();
    for _ in 0..50 {
        client.time(&bytes);
    }
    service::settle(&daemon);
    let before = stats(&daemon);
    let (cpu, sleeps) = (service::cpu(daemon.pid()), service::sleeps(daemon.pid()));
    let mut total = Samples::default();
    let mut sum = 0.0;
    for _ in 0..scale.pairs {
        std::thread::sleep(PAUSE);
        let took = client.time(&bytes);
        sum += took.as_secs_f64() * 1e6;
        total.push(took);
    }
    let count = scale.pairs as f64;
    let mean = sum / count;
    let cpu = (service::cpu(daemon.pid()) - cpu) / 1000.0 / count;
    let sleeps = (service::sleeps(daemon.pid()) - sleeps) as f64 / count;
    service::settle(&daemon);
    let thread = request("thread", &service::moment());
    for _ in 0..scale.pairs {
        std::thread::sleep(PAUSE);
        client.time(&thread);
    }
    let after = stats(&daemon);
    let stage = |model: &str, name: &str| {
        let figure = |stats: &Value, what: &str| {
            stats["models"][model]["latency_seconds"][name][what]
                .as_f64()
                .unwrap()
        };
        let runs = figure(&after, "count") - figure(&before, "count");
        let seconds = figure(&after, "sum") - figure(&before, "sum");
        (seconds * 1e6 / runs.max(1.0), runs as usize)
    };
    let mut known = 0.0;
    for name in WITHIN.iter().chain(&BEYOND) {
        let (micros, runs) = stage("process", name);
        let remark = match stage("thread", name) {
            (_, 0) => String::new(),
            // A job takes longer for the same work because it is the first to touch its pages.
            (thread, _) => format!("{thread:.0} µs in mode `thread`"),
        };
        outcome.tell(&format!("stage_{name}"), micros, runs, remark);
        if WITHIN.contains(name) {
            known += micros;
            outcome.plot("stages", name, vec![(0.0, micros)]);
        }
    }
    let remark = format!("of {mean:.0} µs; p50 {:.0} µs", total.p50());
    outcome.tell("stage_reply", mean - known, total.len(), remark);
    outcome.plot("stages", "the rest", vec![(0.0, mean - known)]);
    outcome.tell(
        "supervisor_cpu",
        cpu,
        total.len(),
        "its forks and reaping included",
    );
    outcome.tell("supervisor_wakeups", sleeps, total.len(), "");

    let health = get("/healthz");
    let (mut kept, mut new) = (Samples::default(), Samples::default());
    for _ in 0..scale.pairs / 2 {
        std::thread::sleep(PAUSE);
        kept.push(client.time(&health));
        std::thread::sleep(PAUSE);
        let start = std::time::Instant::now();
        Client::connect(daemon.socket()).unwrap().time(&health);
        new.push(start.elapsed());
    }
    outcome.tell("stage_http", kept.p50(), kept.len(), "on a kept connection");
    outcome.tell("stage_connect", new.p50() - kept.p50(), new.len(), "");
}

fn stats(daemon: &Daemon) -> Value {
    daemon.get("/v1/stats").json()
}
