//! System calls and processor events of a request, counted from outside with common tools.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    client::{Client, request},
    common::daemon::Daemon,
    machine,
    outcome::Outcome,
    scale::Scale,
    service,
};

const CONFIG: &str = "[models.process]\nengine = \"null\"\nspares = { min = 2, max = 2 }\n";

/// Number of system calls that are listed by name.
const SHOWN: usize = 12;

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(CONFIG);
    ask(&daemon, 50);
    match machine::has("strace") {
        true => calls(&daemon, scale, outcome),
        false => {
            outcome.not("supervisor_calls", "strace is not installed");
            outcome.not("job_calls", "strace is not installed");
        }
    }
    for (id, event, pid) in [
        ("supervisor_instructions", "instructions:u", daemon.pid()),
        ("job_faults", "page-faults", daemon.zygote().pid),
    ] {
        match events(&daemon, scale, event, pid) {
            Ok(count) => outcome.tell(id, count, scale.traced, ""),
            Err(why) => outcome.not(id, why),
        }
    }
}

/// Send one request after the other, each with a spare ready.
fn ask(daemon: &Daemon, count: usize) {
    let bytes = request("process", &service::moment());
    let mut client = Client::connect(daemon.socket()).unwrap();
    for _ in 0..count {
        std::thread::sleep(Duration::from_millis(5));
        client.time(&bytes);
    }
    drop(client);
    service::settle(daemon);
}

fn calls(daemon: &Daemon, scale: &Scale, outcome: &mut Outcome) {
    // The cost of the readings and the connection, which is in every count.
    for (id, pid) in [
        ("supervisor_calls", daemon.pid()),
        ("job_calls", daemon.zygote().pid),
    ] {
        let counted = |requests: usize| {
            let file = daemon.folder().join("strace");
            let trace = attach(pid, &file)?;
            ask(daemon, requests);
            detach(trace);
            Ok::<_, String>(counts(&fs::read_to_string(&file).unwrap_or_default()))
        };
        // Take the difference of two series: everything else is in both.
        let few = scale.traced / 10;
        match (counted(few), counted(few + scale.traced)) {
            (Ok(few), Ok(many)) => tell(outcome, id, &few, &many, scale.traced),
            (Err(why), _) | (_, Err(why)) => outcome.not(id, why),
        }
    }
}

fn tell(
    outcome: &mut Outcome,
    id: &str,
    few: &BTreeMap<String, u64>,
    many: &BTreeMap<String, u64>,
    requests: usize,
) {
    let each = many.iter().map(|(name, count)| {
        let beside = few.get(name).copied().unwrap_or(0);
        (count.saturating_sub(beside) as f64 / requests as f64, name)
    });
    let mut each: Vec<(f64, &String)> = each.collect();
    each.sort_by(|one, other| other.0.total_cmp(&one.0));
    let total: f64 = each.iter().map(|(count, _)| count).sum();
    let shown = each.iter().take(SHOWN).filter(|(count, _)| *count >= 0.1);
    let shown: Vec<String> = shown
        .map(|(count, name)| format!("{name} {count:.1}"))
        .collect();
    outcome.tell(id, total, requests, shown.join(", "));
}

/// Attach strace to a process and all its future children; returns once it is attached.
fn attach(pid: i32, file: &Path) -> Result<Child, String> {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-c", "-p", &pid.to_string(), "-o"])
        .arg(file);
    let mut trace = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(trace.stderr.take().unwrap());
    let mut line = String::new();
    let _ = lines.read_line(&mut line);
    // Read everything, so that strace never blocks while writing.
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    if line.contains("attached") {
        return Ok(trace);
    }
    detach(trace);
    Err(format!("strace: {}", line.trim()))
}

fn detach(mut trace: Child) {
    let _ = kill(Pid::from_raw(trace.id().cast_signed()), Signal::SIGINT);
    let _ = trace.wait();
}

/// Calls by name, from the table of `strace -c`.
fn counts(table: &str) -> BTreeMap<String, u64> {
    let rows = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (share, calls, name) = (columns.first()?, columns.get(3)?, columns.last()?);
        share.parse::<f64>().ok()?;
        Some(((*name).to_owned(), calls.parse().ok()?)).filter(|(name, _)| name != "total")
    });
    rows.collect()
}

/// How often `event` occurs per request in a process and all its children.
fn events(daemon: &Daemon, scale: &Scale, event: &str, pid: i32) -> Result<f64, String> {
    if !machine::has("perf") {
        return Err("perf is not installed".into());
    }
    let counted = |requests: usize| {
        let file = daemon.folder().join("perf");
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", event, "-p", &pid.to_string(), "-o"]);
        let perf = command.arg(&file).stderr(Stdio::null()).spawn();
        let perf = perf.map_err(|error| error.to_string())?;
        // perf does not say when it has begun.
        std::thread::sleep(Duration::from_millis(500));
        ask(daemon, requests);
        detach(perf);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let line = text.lines().find(|line| line.contains(event));
        let first = line.and_then(|line| line.split(',').next());
        let count: Result<f64, _> = first.unwrap_or_default().parse();
        count.map_err(|_| format!("this machine does not count `{event}` (perf stat)"))
    };
    let few = scale.traced / 10;
    let (less, more) = (counted(few)?, counted(few + scale.traced)?);
    Ok((more - less) / scale.traced as f64)
}
