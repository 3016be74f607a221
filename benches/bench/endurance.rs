//! Any number of requests: nothing in the supervisor may grow with it.

use std::{fs, path::Path, process::ExitCode, time::Instant};

use serde_json::json;

use crate::{
    common::{daemon::Setup, look::Look},
    contract::find,
    figures::memory::{self, WARM},
    machine,
    outcome::Outcome,
    report::page,
    service,
};

/// All settings are the defaults, so zygotes are replaced meanwhile, too.
const CONFIG: &str = r#"
default_model = "process"
[service]
log_level = "error"
[models.process]
engine = "null"
"#;

const ZYGOTES: usize = 1;
const SPARES: usize = 2;

/// Number of memory readings.
const LOOKS: usize = 200;

/// Serve `requests` requests, write `endurance.html` and `endurance.json` into `folder`, and return
/// whether nothing grew.
pub fn run(requests: usize, folder: &Path) -> ExitCode {
    let daemon = Setup::new(CONFIG).start();
    let machine = machine::describe(&daemon.get("/v1/stats").json());
    let begin = Instant::now();
    let mut first = None;
    let looks = LOOKS.min(requests / WARM).max(1);
    let (points, growth) = memory::grow(&daemon, requests, looks, |done, memory| {
        let first = first.get_or_insert_with(|| Look::at(&daemon, ZYGOTES, SPARES));
        let rate = done as f64 / begin.elapsed().as_secs_f64();
        println!(
            "{done} requests, {rate:.0}/s: {} KiB, at first {} KiB",
            memory >> 10,
            first.memory >> 10
        );
    });
    let last = Look::at(&daemon, ZYGOTES, SPARES);
    let seconds = begin.elapsed().as_secs_f64();
    let done = points.last().map_or(0, |(requests, _)| *requests);

    let figure = find("supervisor_growth");
    let mut complaints = Vec::new();
    if figure.goal.is_met(growth) == Some(false) {
        complaints.push(format!(
            "the supervisor grew by {}",
            figure.unit.text(growth)
        ));
    }
    if let Some(first) = &first {
        complaints.extend(service::grown(first, &last));
    }
    let mut outcome = Outcome::default();
    memory::plot(&mut outcome, &points);
    let mut told = vec![
        format!(
            "{done} requests in {seconds:.0} s, half of them on a connection of their own, all answered"
        ),
        format!(
            "growth of the supervisor from request {WARM} to {done}: {} (goal: {})",
            figure.unit.text(growth),
            figure.goal.text(figure.unit)
        ),
    ];
    told.extend(first.map(|look| format!("idle after {WARM}: {}", service::told(&look))));
    told.push(format!("idle at the end: {}", service::told(&last)));
    let failures = complaints.iter().map(|what| format!("failed: {what}"));
    told.extend(failures);
    let title = format!("stt-isolated: {done} requests");
    let html = page::page(&title, &outcome, &machine, ("What came of it", &told));
    fs::write(folder.join("endurance.html"), html).unwrap();
    let json = json!({
        "requests": done,
        "seconds": seconds,
        "growth": growth,
        "machine": machine,
        "told": told,
        "complaints": complaints,
        "plots": outcome.json()["plots"],
    });
    let text = serde_json::to_string_pretty(&json).unwrap();
    fs::write(folder.join("endurance.json"), text + "\n").unwrap();
    for line in &told {
        println!("{line}");
    }
    println!("{}", folder.join("endurance.html").display());
    match complaints.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
