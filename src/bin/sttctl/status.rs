//! `sttctl status`: one screen, with problems first.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use bytes::Bytes;
use crossterm::terminal;

use crate::{
    cli::Status,
    error::{Error, report},
    line::{self, Line, Style, wrap},
    problems,
    stats::{self, Activity, Bounds, Client, Model, Sessions, Stats},
    text::{Text, count, known, size, time},
};

/// Exit status if the service is not ready, as systemctl gives it for an inactive unit.
const NOT_READY: u8 = 3;

/// Prints the state of the service; the exit status says whether all is well.
pub async fn run(arguments: &Status) -> ExitCode {
    match show(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_READY),
        Err(error) => {
            report(None, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn show(arguments: &Status) -> Result<bool, Error> {
    let body = stats::ask(&arguments.server, |line| report(None, line)).await?;
    if arguments.json {
        // Print before parsing: the answer may have a schema that only other programs understand.
        print_raw(&body).map_err(Error::Write)?;
    }
    let stats = Stats::parse(&body)?;
    if !arguments.json {
        let terminal = io::stdout().is_terminal();
        let width = match terminal::size() {
            Ok((columns @ 1.., _)) if terminal => columns.into(),
            _ => usize::MAX,
        };
        line::print(&lines(&stats, width), terminal).map_err(Error::Write)?;
    }
    Ok(stats.is_ready())
}

fn print_raw(body: &Bytes) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(body)?;
    if !body.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// The screen, in lines of at most `width` columns.
fn lines(stats: &Stats, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for problem in problems::of(stats) {
        let alarm = |line: Line| line.styled(Style::Alarm);
        lines.extend(wrap("! ", &problem, width).into_iter().map(alarm));
    }
    if !lines.is_empty() {
        lines.push(Line::plain(""));
    }
    lines.extend(service(stats, width));
    for (name, model) in &stats.models {
        lines.push(Line::plain(""));
        lines.extend(one_model(name, model, width));
    }
    lines
}

fn service(stats: &Stats, width: usize) -> Vec<Line> {
    let uptime = known(stats.uptime_seconds, time);
    let title = format!("stt-isolated {}, up {uptime}", stats.version);
    let isolation = &stats.isolation;
    let confined = match isolation.confined {
        Some(true) => ", each job confined by a cgroup of its own",
        Some(false) => ", jobs not confined by cgroups",
        None => "",
    };
    let supervisor = &stats.supervisor;
    let mut fields = vec![
        ("isolation", format!("{}{confined}", isolation.mode)),
        (
            "supervisor",
            format!(
                "pid {}, {} of memory ({} its own), {} of CPU time, {}, {}, {}",
                known(supervisor.pid, |pid| pid.to_string()),
                known(supervisor.rss_bytes, size),
                known(supervisor.anon_bytes, size),
                known(supervisor.cpu_seconds, time),
                count(supervisor.threads, "thread"),
                count(supervisor.descriptors, "descriptor"),
                count(supervisor.connections, "connection"),
            ),
        ),
        ("jobs", jobs(&stats.total, &stats.bounds)),
        ("memory", memory(stats)),
    ];
    if supervisor.sessions.begun > 0 {
        fields.push(("sessions", sessions(&supervisor.sessions)));
    }
    fields.extend(requests(&stats.total));
    if !stats.clients.is_empty() {
        let clients: Vec<String> = stats.clients.iter().map(client).collect();
        fields.push(("clients", clients.join("; ")));
    }
    section(&title, Style::Strong, &fields, width)
}

fn sessions(sessions: &Sessions) -> String {
    format!(
        "{} open of {} since the start, {} in all",
        sessions.open,
        sessions.begun,
        count(Some(sessions.turns), "turn")
    )
}

fn one_model(name: &Text, model: &Model, width: usize) -> Vec<Line> {
    let (title, style) = if model.is_ready() {
        (format!("model {name}: ready"), Style::Strong)
    } else {
        (format!("model {name}: {}", model.health), Style::Alarm)
    };
    let limit = known(model.memory_limit_bytes, size);
    let engine = format!(
        "{}, mode {}, at most {limit} of memory for each job",
        model.engine, model.mode
    );
    let mut fields = vec![
        ("engine", engine),
        ("jobs", jobs(&model.activity, &Bounds::default())),
    ];
    fields.extend(model.zygotes.iter().map(|zygote| {
        let text = format!(
            "pid {}, {} of memory, {}, {} old",
            known(zygote.pid, |pid| pid.to_string()),
            known(zygote.rss_bytes.or(zygote.memory_bytes), size),
            count(zygote.forks, "fork"),
            known(zygote.age_seconds, time),
        );
        ("zygote", text)
    }));
    fields.extend(requests(&model.activity));
    section(&title, style, &fields, width)
}

fn section(title: &str, style: Style, fields: &[(&str, String)], width: usize) -> Vec<Line> {
    let title = wrap("", title, width);
    let mut lines: Vec<Line> = title.into_iter().map(|line| line.styled(style)).collect();
    for (name, text) in fields {
        lines.extend(wrap(&format!("  {name:<11}"), text, width));
    }
    lines
}

fn jobs(activity: &Activity, bounds: &Bounds) -> String {
    let of = |most: Option<u64>| most.map(|most| format!(" of {most}")).unwrap_or_default();
    format!(
        "{} running{}, {} queued{}, {}",
        activity.running,
        of(bounds.max_running),
        activity.queued,
        of(bounds.max_queued),
        count(activity.spares, "spare")
    )
}

fn memory(stats: &Stats) -> String {
    let committed = known(stats.total.memory_committed_bytes, size);
    match stats.bounds.memory_budget_bytes {
        Some(budget) => format!("{committed} committed of {}", size(budget)),
        None => format!("{committed} committed, no budget"),
    }
}

/// Numbers of requests by outcome, the most frequent first; outcomes that never happened are left
/// out.
fn requests(activity: &Activity) -> Vec<(&'static str, String)> {
    let happened = |counts: &BTreeMap<Text, u64>| {
        let mut counts: Vec<(&Text, &u64)> = counts.iter().collect();
        counts.retain(|(name, count)| **count > 0 && name.as_ref() != "accepted");
        counts.sort_by_key(|(_, count)| Reverse(**count));
        let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
        counts.collect::<Vec<String>>().join(", ")
    };
    let ended = happened(&activity.requests);
    let separator = if ended.is_empty() { "" } else { ": " };
    let accepted = activity.accepted();
    let mut fields = vec![("requests", format!("{accepted} accepted{separator}{ended}"))];
    if activity.refused() > 0 {
        fields.push(("refused", happened(&activity.refused)));
    }
    fields
}

fn client(client: &Client) -> String {
    let who = match (client.uid, &client.key) {
        (Some(uid), _) => format!("uid {uid}"),
        (None, Some(name)) => format!("key {name}"),
        (None, None) => "over TCP".into(),
    };
    let of = |most| match most {
        0 => String::new(),
        most => format!(" of {most}"),
    };
    let (running, queued) = (client.running, client.queued);
    let [most_running, most_queued] = [client.max_running, client.max_queued].map(of);
    format!("{who}: {running} running{most_running}, {queued} queued{most_queued}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_shown(sample: &str, expected: &str) {
        let stats = Stats::parse(sample.as_bytes()).unwrap();
        let lines: Vec<String> = lines(&stats, 80)
            .into_iter()
            .map(|line| line.text + "\n")
            .collect();
        assert_eq!(lines.concat(), expected);
    }

    #[test]
    fn a_service_that_is_well_fits_one_screen() {
        assert_shown(
            include_str!("samples/busy.json"),
            "\
stt-isolated 0.1.0, up 1d00h
  isolation  process, each job confined by a cgroup of its own
  supervisor pid 4711, 11.0M of memory (4.0M its own), 1.2s of CPU time, 2
             threads, 40 descriptors, 4 connections
  jobs       3 running of 4, 2 queued of 256, 1 spare
  memory     4.0G committed of 8.0G
  sessions   2 open of 5 since the start, 17 turns in all
  requests   24 accepted: 16 ok, 1 cancelled, 1 invalid_audio, 1 timeout
  refused    4 queue_full, 1 user_limit
  clients    uid 1000: 1 running of 2, 2 queued of 10; uid 65534: 1 running, 0
             queued; key phone: 1 running, 0 queued

model default: ready
  engine     pocketsphinx, mode process, at most 512M of memory for each job
  jobs       3 running, 2 queued, 1 spare
  zygote     pid 4712, 70.0M of memory, 21 forks, 1h00m old
  requests   24 accepted: 16 ok, 1 cancelled, 1 invalid_audio, 1 timeout
  refused    4 queue_full, 1 user_limit
",
        );
    }

    #[test]
    fn what_is_wrong_comes_first_and_what_is_not_known_is_a_dash() {
        assert_shown(
            include_str!("samples/broken.json"),
            "\
! model large\u{fffd}[2J is not ready (tripped): 10 of its jobs crashed in a \u{fffd}minute
! model new is not ready (starting)
! the queue is full (2 wait): further requests are refused
! no memory controller is delegated to the service: no job has a limit of its
  memory, and one that leaks takes the host's
! second
! third

stt-isolated 0.1.0, up 3.2s
  isolation  process, jobs not confined by cgroups
  supervisor pid 4711, - of memory (- its own), - of CPU time, - threads, -
             descriptors, - connections
  jobs       0 running of 4, 2 queued of 2, 0 spares
  memory     - committed, no budget
  requests   2 accepted

model large\u{fffd}[2J: tripped
  engine     fault, mode thread, at most - of memory for each job
  jobs       0 running, 0 queued, 0 spares
  requests   0 accepted

model new: starting
  engine     -, mode -, at most - of memory for each job
  jobs       0 running, 0 queued, 0 spares
  requests   0 accepted

model small: ready
  engine     -, mode -, at most - of memory for each job
  jobs       0 running, 0 queued, 0 spares
  requests   0 accepted
",
        );
        assert_shown(
            r#"{"schema": 2}"#,
            "\
! there is no model

stt-isolated -, up -
  isolation  -
  supervisor pid -, - of memory (- its own), - of CPU time, - threads, -
             descriptors, - connections
  jobs       0 running, 0 queued, 0 spares
  memory     - committed, no budget
  requests   0 accepted
",
        );
    }
}
