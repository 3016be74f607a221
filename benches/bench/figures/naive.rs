//! Time that the naive designs add: Python's ways to use a process per request, behind an HTTP
//! server in Python.

use std::time::Duration;

use crate::{
    interleave::{Competitor, Turns, take_turns},
    outcome::Outcome,
    peers::{MODES, Python},
    scale::Scale,
    service::{self, NULL_MODELS},
};

pub fn measure(scale: &Scale, outcome: &mut Outcome, python: &Python) {
    let daemon = service::start(NULL_MODELS);
    let recording = service::moment();
    let servers: Vec<_> = MODES.iter().map(|mode| python.serve(mode)).collect();
    let mut competitors: Vec<Competitor> = ["thread", "process"]
        .iter()
        .map(|model| Competitor::new(model, daemon.socket(), model, &recording))
        .collect();
    for server in &servers {
        let socket = server.socket();
        competitors.push(Competitor::new(server.mode, socket, "any", &recording));
    }
    let turns = Turns {
        rounds: scale.peer_rounds,
        block: scale.peer_block,
        warm: 1,
        pause: Duration::from_millis(2),
    };
    take_turns(&mut competitors, turns);
    let p50 = |name: &str| {
        let found = competitors
            .iter()
            .find(|competitor| competitor.name == name);
        found.unwrap().samples.p50()
    };
    let ours = p50("process") - p50("thread");
    let runs = competitors[0].samples.len();
    let others: Vec<(String, f64)> = ["pebble", "futures"]
        .iter()
        .map(|mode| {
            (
                format!("{mode} adds, ×"),
                (p50(mode) - p50("inline")) / ours,
            )
        })
        .collect();
    for mode in ["spawn", "forkserver", "fork"] {
        let theirs = p50(mode) - p50("inline");
        let remark = format!("{:.2} ms against {ours:.0} µs", theirs / 1000.0);
        let id = format!("naive_{mode}");
        outcome.tell_beside(&id, theirs / ours, runs, remark, others.clone());
    }
    for competitor in &competitors {
        if MODES.contains(&competitor.name.as_str()) {
            let name = format!("Python, {}", competitor.name);
            outcome.plot("latency", &name, competitor.samples.distribution(200));
        }
    }
}
